"""
The kinds of preference model. Each scores the whole catalogue for a block of users.

A *space* computes a vector for each user (`embed_users`) and scores by inner product. An *item-item model* adds up the
rows of the items that a user interacted with. *Popularity* scores alike for all users of a market. All of them read
`UserInteractions` and nothing else, so a user who arrived a minute ago is scored like everyone.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.models.interactions import UserInteractions, interactions_from_history, scale_negatives
from recsys.types import Csr, Floats, History


class PreferenceModel(Protocol):
    """A fitted base model of the blend. The score of an item depends on one user and that item only."""

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items); zeros for a user about whom the model knows nothing."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearSpace:
    """
    A space in which a user's vector is the weighted sum of the vectors of their items.

    Shapes: `item_vectors` (n_items, d); `fold_in_weights` (n_items,) by which an item's vector is multiplied in the
            sum. Negative feedback counts `negative_weight` times as much as a positive interaction of the same size.
    """

    item_vectors: Floats
    fold_in_weights: Floats
    negative_weight: float

    def embed_users(self, users: UserInteractions) -> Floats:
        """(q, d) a vector for each user."""
        weighted = scale_negatives(users.full, self.negative_weight).copy()
        weighted.data = weighted.data * self.fold_in_weights[weighted.indices]
        return np.asarray(weighted @ self.item_vectors, np.float32)

    def fold_in(self, history: History) -> Floats:
        """(d,) the vector of one user."""
        return np.asarray(self.embed_users(interactions_from_history(history, len(self.item_vectors)))[0])

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) inner products of users and items."""
        return self.embed_users(users) @ np.asarray(self.item_vectors).T


@dataclass(frozen=True, slots=True, eq=False)
class ItemItemModel:
    """
    Weights from item to item: row i says what an interaction with item i adds to the score of every other item.

    Shapes: `weights` (n_items, n_items), CSR or dense. `reads_recent`: reads `UserInteractions.recent` instead of
            `full`. Negative feedback is multiplied by `negative_weight`.
    """

    weights: Csr | Floats
    negative_weight: float
    reads_recent: bool = False

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) sums over the items of each user; zeros where `recent` is read and unknown."""
        matrix = users.recent if self.reads_recent else users.full
        if matrix is None:
            return np.zeros(users.full.shape, np.float32)
        scaled = scale_negatives(matrix, self.negative_weight)
        if sparse.issparse(self.weights):
            return np.asarray((scaled @ self.weights).toarray(), np.float32)
        return np.asarray(scaled @ self.weights, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PopularityModel:
    """Equal scores for all users of a market: `by_market` (n_markets + 1, n_items), the last row for the world."""

    by_market: Floats

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) the row of each user's market; the world's where no market is known."""
        rows: NDArray[np.integer] = np.full(len(users), -1) if users.markets is None else users.markets
        return np.asarray(self.by_market[rows], np.float32)
