"""
Implicit alternating least squares with regularisation that grows with how often someone or something occurs.

Every pair of a person and an item has confidence `unobserved` in preference 0; a reaction adds its own confidence in
preference 1 (wanted) or 0 (refused). A row with c confidence in all is held back by reg * c ** power: at power 0 this
is Hu, Koren and Volinsky 2008 (their alpha is 1 / unobserved), at 1 that of Rendle et al. 2021, which shrinks heavy
rows as much as light ones. Each half step is exact (`recsys.models.solver`); the start is the leading singular vectors,
so that a few epochs are enough.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recsys.errors import DataError
from recsys.models.interactions import Tastes, cleaned, of_history, wanted
from recsys.models.solver import solve_rows, turned
from recsys.models.spectral import singular_vectors
from recsys.progress import Progress, quiet
from recsys.types import Floats, History

_LEAST: Final = 1e-6  # confidence; less would leave the range of float32 when divided by


@dataclass(frozen=True, slots=True, kw_only=True)
class IALSParams:
    """
    Size of the space; strength of regularisation and how it grows with use; confidence in what nobody reacted to;
    weight of a refusal against a wish; passes.
    """

    embedding_size: int = 128
    reg: float = 0.003
    power: float = 1.0
    unobserved: float = 0.01
    refusal: float = 0.0
    epochs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorSpace:
    """
    A fitted factor model. `item_vectors` (n_items, d), zeros for items that nobody wanted, in axes in which their
    products are diagonal: `scales` (d,) is unobserved times those, so that placing a person costs only their own
    reactions.
    """

    item_vectors: Floats
    scales: Floats
    reg: float
    power: float
    unobserved: float
    refusal: float

    def place(self, tastes: Tastes) -> Floats:
        """(q, d) everyone's exact least-squares vector given the items; zeros where nothing is wanted."""
        return _solved(self.item_vectors, self.scales, tastes.long, self)

    def fold_in(self, history: History) -> Floats:
        """(d,) one person's vector. Several reactions to one item add up."""
        return np.asarray(self.place(of_history(history, len(self.item_vectors)))[0])

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items)."""
        return self.place(tastes) @ np.asarray(self.item_vectors).T


def fit(signed: Any, params: IALSParams, rng: np.random.Generator, on_progress: Progress = quiet) -> FactorSpace:
    """
    Factors from signed confidence, a sparse (n_users, n_items) matrix. Equal inputs and generators give equal factors.

    Empty:  where nobody wants anything every vector is zero.
    Raises: DataError when the factors are not finite (reg too small for the data).
    """
    people = cleaned(signed)
    items = people.T.tocsr()
    d = max(1, min(params.embedding_size, min(people.shape)))
    vectors = _start(people, d, rng)
    for epoch in range(params.epochs):
        for matrix in (people, items):
            vectors, products = turned(vectors)
            vectors = _solved(vectors, np.float32(params.unobserved) * products, matrix, params)
        on_progress("ials", epoch + 1, params.epochs)
    if not np.all(np.isfinite(vectors)):
        raise DataError("found item factors that are not finite, expected numbers; raise reg")
    vectors, products = turned(vectors)
    return FactorSpace(
        item_vectors=vectors,
        scales=np.float32(params.unobserved) * products,
        reg=params.reg,
        power=params.power,
        unobserved=params.unobserved,
        refusal=params.refusal,
    )


def _start(people: Any, d: int, rng: np.random.Generator) -> Floats:
    """Singular vectors, weighted by the square root of their values as a factorisation would be."""
    positive = wanted(people)
    if not positive.nnz:
        return np.zeros((people.shape[1], d), np.float32)
    values, vectors = singular_vectors(positive, d, rng, passes=1)
    return np.ascontiguousarray(vectors * np.sqrt(values), np.float32)


def _solved(vectors: Floats, scales: Floats, signed: Any, params: "IALSParams | FactorSpace") -> Floats:
    """One half step: a row for each row of `signed`; zeros for rows in which nothing is wanted."""
    confidence = signed if params.refusal > 0 else wanted(signed)
    is_wanted = confidence.data > 0
    confidence = confidence.copy()
    confidence.data = np.maximum(np.where(is_wanted, confidence.data, -params.refusal * confidence.data), _LEAST)
    targets = np.where(is_wanted, 1 + params.unobserved / confidence.data, 0).astype(np.float32)
    use = np.asarray(wanted(signed).sum(axis=1), np.float64).ravel() + params.unobserved * signed.shape[1]
    reg = (params.reg * use**params.power).astype(np.float32)
    return solve_rows(vectors, scales, confidence, targets, reg)
