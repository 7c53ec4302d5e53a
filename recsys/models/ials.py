"""
Implicit alternating least squares, with regularisation that grows with how much a user or an item is used.

Every pair of a user and an item has confidence `unobserved` in preference 0. An interaction adds its own confidence, in
preference 1 if it is positive and 0 if it is negative. A row with c confidence in all is regularised by reg * c **
power: power 0 is Hu, Koren and Volinsky 2008 (their alpha is 1 / unobserved), power 1 is Rendle et al. 2021, which
shrinks heavy rows as much as light ones. Each half step is exact (`recsys.models.solver`). The start is the leading
singular vectors, so a few epochs are enough.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.errors import DataError
from recsys.models.interactions import UserInteractions, clean_matrix, select_positive
from recsys.models.solver import diagonalise, solve_row, solve_rows
from recsys.models.spectral import singular_vectors
from recsys.progress import Progress, quiet
from recsys.sets import distinct
from recsys.types import Csr, Floats, History, Reals

_MIN_CONFIDENCE: Final = 1e-6
"""Confidence; dividing by less would leave the range of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IALSParams:
    """
    Size of the space; regularisation and how it grows with use; confidence in pairs without an interaction; weight of
    negative feedback against a positive interaction; number of passes.
    """

    embedding_size: int = 128
    reg: float = 0.003
    power: float = 1.0
    unobserved: float = 0.01
    negative_weight: float = 0.0
    epochs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorSpace:
    """
    A fitted factor model.

    Shapes: `item_vectors` (n_items, d), zeros for items without a positive interaction, in axes in which their products
            are diagonal; `scales` (d,) is `unobserved` times that diagonal, so that a user's vector costs only their
            own interactions.
    """

    item_vectors: Floats
    scales: Floats
    reg: float
    power: float
    unobserved: float
    negative_weight: float

    def embed_users(self, users: UserInteractions) -> Floats:
        """(q, d) each user's exact least-squares vector given the items; zeros without a positive interaction."""
        return _solve_half_step(self.item_vectors, self.scales, users.full, self)

    def fold_in(self, history: History) -> Floats:
        """(d,) the vector of one user. Several interactions with one item add up."""
        items = distinct(history.items)
        place = np.searchsorted(items, history.items)
        signed = np.bincount(place, history.weights, len(items)).astype(np.float32)
        is_read = signed != 0 if self.negative_weight > 0 else signed > 0
        items, signed = items[is_read], signed[is_read]
        if not np.any(signed > 0):
            return np.zeros(self.item_vectors.shape[1], np.float32)
        confidence, targets = _confidence(signed, self)
        reg = _regularisation(float(np.maximum(signed, 0).sum()), len(self.item_vectors), self)
        return solve_row(np.asarray(self.item_vectors)[items], self.scales, confidence, targets, reg)

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) inner products of users and items."""
        return self.embed_users(users) @ np.asarray(self.item_vectors).T


def fit(signed: Csr, params: IALSParams, rng: np.random.Generator, on_progress: Progress = quiet) -> FactorSpace:
    """
    Factors from signed confidence, CSR (n_users, n_items). Equal inputs and generators give equal factors.

    Empty:  without a positive interaction every vector is zero.
    Raises: DataError when the factors are not finite (reg too small for the data).
    """
    by_user = clean_matrix(signed)
    by_item = by_user.T.tocsr()
    d = max(1, min(params.embedding_size, min(by_user.shape)))
    vectors = _initial_vectors(by_user, d, rng)
    for epoch in range(params.epochs):
        for matrix in (by_user, by_item):
            vectors, products = diagonalise(vectors)
            vectors = _solve_half_step(vectors, np.float32(params.unobserved) * products, matrix, params)
        on_progress("ials", epoch + 1, params.epochs)
    if not np.all(np.isfinite(vectors)):
        raise DataError("found item factors that are not finite, expected numbers; raise reg")
    vectors, products = diagonalise(vectors)
    return FactorSpace(
        item_vectors=vectors,
        scales=np.float32(params.unobserved) * products,
        reg=params.reg,
        power=params.power,
        unobserved=params.unobserved,
        negative_weight=params.negative_weight,
    )


def _initial_vectors(by_user: Csr, d: int, rng: np.random.Generator) -> Floats:
    """(n_items, d) singular vectors times the square root of their values, as in a factorisation."""
    positive = select_positive(by_user)
    if not positive.nnz:
        return np.zeros((by_user.shape[1], d), np.float32)
    values, vectors = singular_vectors(positive, d, rng, passes=1)
    return np.ascontiguousarray(vectors * np.sqrt(values), np.float32)


def _solve_half_step(vectors: Floats, scales: Floats, signed: Csr, params: IALSParams | FactorSpace) -> Floats:
    """(n_rows, d) a vector for each row of `signed`; zeros for rows without a positive entry."""
    confidence = (signed if params.negative_weight > 0 else select_positive(signed)).copy()
    confidence.data, targets = _confidence(confidence.data, params)
    positive = np.asarray(select_positive(signed).sum(axis=1), np.float64).ravel()
    return solve_rows(
        vectors, scales, confidence, targets, np.asarray(_regularisation(positive, signed.shape[1], params))
    )


def _confidence(signed: Floats, params: IALSParams | FactorSpace) -> tuple[Floats, Floats]:
    """(n,) the confidence of entries in their preference, and the preferences that the solver is given."""
    is_positive = signed > 0
    negative = -params.negative_weight * signed
    confidence = np.maximum(np.where(is_positive, signed, negative), _MIN_CONFIDENCE).astype(np.float32)
    return confidence, np.where(is_positive, 1 + params.unobserved / confidence, 0).astype(np.float32)


def _regularisation(positive: Reals | float, n_items: int, params: IALSParams | FactorSpace) -> Floats:
    """The regularisation of rows by the sum of their positive confidence."""
    return np.asarray(params.reg * (positive + params.unobserved * n_items) ** params.power, np.float32)
