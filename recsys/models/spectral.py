"""
The low-pass filter of the graph of people and items: keep what varies slowly along it, drop the rest.

The matrix is normalised by how much people and items occur, R~ = Du^-user_power R Di^-item_power; its leading right
singular vectors V are the slow waves over items. A person is the sum of their items' rows of V, an item is its row of
V, the one divided and the other multiplied by how much the item occurs. Sources: GF-CF (Shen et al. 2021: all powers
.5), BSPM (Choi et al. 2023) and ChebyCF (Kim et al. 2025), which shape the pass and the powers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from recsys.models.base import LinearSpace
from recsys.models.interactions import cleaned, wanted
from recsys.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LowPassParams:
    """
    Waves kept, powers of the normalisation, how much a frequent item adds to a person (less with `in_power`) and
    gains from one (more with `out_power`), and what is left of a wave of half the strength of the first: .5 ** tilt.
    """

    embedding_size: int = 128
    user_power: float = 0.4
    item_power: float = 0.4
    in_power: float = 0.25
    out_power: float = 0.25
    tilt: float = 0.0
    refusal: float = 0.0


def fit(signed: Any, params: LowPassParams, rng: np.random.Generator) -> LinearSpace:
    """
    The space of a sparse (n_users, n_items) matrix of signed confidence.

    Empty: where nobody wants anything every vector is zero.
    """
    positive = wanted(cleaned(signed))
    n_items = positive.shape[1]
    d = max(1, min(params.embedding_size, min(positive.shape)))
    if not positive.nnz:
        return LinearSpace(np.zeros((n_items, d), np.float32), np.zeros(n_items, np.float32), params.refusal)
    waves = singular_vectors(normalised(positive, params.user_power, params.item_power), d, rng)
    return shaped(waves, occurrence(positive), params)


def shaped(waves: tuple[Floats, Floats], use: Floats, params: LowPassParams) -> LinearSpace:
    """
    The space from singular values (k,) and vectors (n_items, k), of which the first `embedding_size` are kept, and
    how much each item occurs (n_items,).
    """
    values, vectors = waves[0][: params.embedding_size], waves[1][:, : params.embedding_size]
    kept = (values / max(float(values[0]), 1e-12)) ** (params.tilt / 2)  # once for the person, once for the item
    weighted = np.ascontiguousarray(vectors * kept * powers(use, params.out_power)[:, None], np.float32)
    return LinearSpace(weighted, powers(use, -params.in_power - params.out_power), params.refusal)


def occurrence(positive: Any, axis: int = 0) -> Floats:
    """How much confidence every item (axis 0) or person (axis 1) gathers."""
    return np.asarray(positive.sum(axis=axis), np.float32).ravel()


def powers(use: Floats, power: float) -> Floats:
    """use ** power, 0 where there is no use."""
    return np.where(use > 0, np.maximum(use, 1e-12) ** power, 0).astype(np.float32)


def normalised(positive: Any, user_power: float, item_power: float) -> Any:
    """Du^-user_power R Di^-item_power, CSR."""
    people = sparse.diags(powers(occurrence(positive, 1), -user_power))
    items = sparse.diags(powers(occurrence(positive), -item_power))
    return sparse.csr_matrix(people @ positive @ items, dtype=np.float32)


def singular_vectors(matrix: Any, k: int, rng: np.random.Generator, passes: int = 3) -> tuple[Floats, Floats]:
    """
    The k leading singular values (k,) and right singular vectors (n, k) of a sparse (m, n) matrix.

    Randomised subspace iteration (Halko, Martinsson and Tropp 2011): `passes` applications of the matrix and its
    transpose, orthonormal after each. Exact when k is all there is.
    """
    n = min(k + 16, *matrix.shape)
    back = matrix.T.tocsr()
    basis = rng.standard_normal((matrix.shape[1], n), dtype=np.float32)
    for _ in range(passes + 1):
        basis = _orthonormal(back @ (matrix @ basis))
    image = matrix @ basis
    squares, turn = np.linalg.eigh((image.T @ image).astype(np.float64))
    first = np.argsort(-squares, kind="stable")[:k]
    return (
        np.sqrt(np.maximum(squares[first], 0)).astype(np.float32),
        np.ascontiguousarray(basis @ turn[:, first].astype(np.float32)),
    )


def _orthonormal(columns: Floats) -> Floats:
    """
    An orthonormal basis of what (n, k) columns span: by the eigenvectors of their k x k products, which costs a third
    of a QR decomposition; the next pass mends what rounding loses in the weakest directions.
    """
    squares, turn = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    scale = 1 / np.sqrt(np.maximum(squares, max(float(squares[-1]) * 1e-12, 1e-30)))
    return np.asarray(columns @ (turn * scale).astype(np.float32))
