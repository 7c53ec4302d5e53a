"""
Bayesian personalised ranking (Rendle et al. 2009) by the library `implicit`: factors that rank positive items above the
others. User vectors are computed by ridge regression, also for users who came after the fit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from recsys.models.ials import FactorSpace
from recsys.models.interactions import clean_matrix, select_positive
from recsys.models.solver import diagonalise
from recsys.types import Csr

_UNOBSERVED_CONFIDENCE: Final = 0.01
"""Confidence in pairs without an interaction, where user vectors are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BPRParams:
    """Size of the space, learning rate, regularisation, passes; `fold_in_reg` regularises user vectors."""

    embedding_size: int = 64
    learning_rate: float = 0.05
    reg: float = 0.01
    epochs: int = 50
    fold_in_reg: float = 1.0


def fit(signed: Csr, params: BPRParams, rng: np.random.Generator) -> FactorSpace:
    """
    Factors from signed confidence, CSR (n_users, n_items); negative feedback is not read.

    Empty: without a positive interaction every vector is zero.
    """
    positive = select_positive(clean_matrix(signed))
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
    vectors, products = diagonalise(vectors)
    return FactorSpace(
        item_vectors=vectors,
        scales=np.float32(_UNOBSERVED_CONFIDENCE) * products,
        reg=params.fold_in_reg,
        power=0.0,
        unobserved=_UNOBSERVED_CONFIDENCE,
        negative_weight=0.0,
    )
