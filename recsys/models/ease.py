"""
EASE: the linear model that best rebuilds every user's items from their other items, in closed form (Steck 2019).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from recsys.errors import ConfigError
from recsys.models.base import ItemItemModel
from recsys.models.interactions import clean_matrix, scale_negatives
from recsys.models.spectral import power_or_zero, sum_confidence
from recsys.types import Csr, Floats

MAX_ITEMS: Final = 5_000
"""Items. The dense matrix of 5,000 takes 100 MB, and ten times as much work for every doubling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EASEParams:
    """Regularisation, power of the normalisation of users, weight of negative feedback in what is fitted."""

    reg: float = 300.0
    user_power: float = 0.0
    negative_weight: float = 0.0


def fit(signed: Csr, params: EASEParams) -> ItemItemModel:
    """
    Dense weights (n_items, n_items) with a diagonal of zeros, from signed confidence, CSR (n_users, n_items).

    Raises: ConfigError for a catalogue above `MAX_ITEMS`, and where reg is too small for the data.
    """
    scaled = scale_negatives(clean_matrix(signed), params.negative_weight)
    n_items = scaled.shape[1]
    if n_items > MAX_ITEMS:
        raise ConfigError(
            f"found {n_items:,} items, expected at most {MAX_ITEMS:,} for EASE, whose matrix is dense; leave it out"
        )
    by_user = sparse.diags(power_or_zero(sum_confidence(abs(scaled), 1), -params.user_power))
    scaled = sparse.csr_matrix(by_user @ scaled, dtype=np.float32)
    gram = np.asarray((scaled.T @ scaled).toarray(), np.float32)
    steps = np.arange(n_items)
    gram[steps, steps] += np.float32(params.reg)
    weights = _invert(gram)
    weights /= -np.diagonal(weights).copy()
    weights[steps, steps] = 0
    weights[:, sum_confidence(abs(scaled)) == 0] = 0
    return ItemItemModel(weights, params.negative_weight)


def _invert(gram: Floats) -> Floats:
    """The inverse of a positive definite matrix, in its own place: half the work and memory of a general inverse."""
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)  # .T: LAPACK's order of columns, without a copy
    if failed:
        raise ConfigError("found a matrix of items that is not positive definite, expected reg above 0; raise reg")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T, np.float32)
