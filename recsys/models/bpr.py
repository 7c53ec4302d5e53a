"""
Bayesian personalised ranking (Rendle et al. 2009) by the library `implicit`: factors that rank what was wanted above
what was not. People are placed among its items by ridge regression, like everyone who came after the fit.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from recsys.models.ials import FactorSpace
from recsys.models.interactions import cleaned, wanted
from recsys.models.solver import turned

_UNOBSERVED: Final = 0.01
"""Confidence in what a person did not react to, where they are placed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BPRParams:
    """Size of the space, step, regularisation, passes; `place_reg` holds back a person's place among the items."""

    embedding_size: int = 64
    learning_rate: float = 0.05
    reg: float = 0.01
    epochs: int = 50
    place_reg: float = 1.0


def fit(signed: Any, params: BPRParams, rng: np.random.Generator) -> FactorSpace:
    """
    Factors from a sparse (n_users, n_items) matrix; refusals are not read.

    Empty: without a wish every vector is zero.
    """
    positive = wanted(cleaned(signed))
    vectors = np.zeros((positive.shape[1], params.embedding_size + 1), np.float32)
    seed = int(rng.integers(2**31))
    if positive.nnz:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=params.embedding_size,
            learning_rate=params.learning_rate,
            regularization=params.reg,
            iterations=params.epochs,
            num_threads=1,
            random_state=seed,
        )
        model.fit(sparse.csr_matrix(positive), show_progress=False)
        vectors = np.ascontiguousarray(model.item_factors, np.float32)
    vectors, products = turned(vectors)
    return FactorSpace(
        item_vectors=vectors,
        scales=np.float32(_UNOBSERVED) * products,
        reg=params.place_reg,
        power=0.0,
        unobserved=_UNOBSERVED,
        refusal=0.0,
    )
