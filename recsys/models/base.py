"""
The two kinds of collaborative model, and popularity as a third: each scores the whole catalogue for a block of people.

A *space* places people among items (`place`) and scores by inner product; an *item-item* model adds up the rows of what
was reacted to. Both read `Tastes` and nothing else, so that a person who arrived a minute ago is scored like everyone.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from recsys.models.interactions import Tastes, of_history, with_refusals
from recsys.types import Floats, History


class Part(Protocol):
    """A fitted model of taste. The score of an item depends on one person and the item only."""

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items); zeros for a person about whom it knows nothing."""
        ...


class SpacePart(Part, Protocol):
    """A part that is a space: the scores are `place(tastes) @ item_vectors.T`."""

    @property
    def item_vectors(self) -> Floats:
        """(n_items, d)."""
        ...

    def place(self, tastes: Tastes) -> Floats:
        """(q, d)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LinearSpace:
    """
    A space in which a person is the sum of what they reacted to.

    Shapes: `item_vectors` (n_items, d); `shares` (n_items,) how much of its vector an item adds to a person. A refusal
    counts `refusal` times as much as a wish of the same size, against the item.
    """

    item_vectors: Floats
    shares: Floats
    refusal: float

    def place(self, tastes: Tastes) -> Floats:
        """(q, d)."""
        added = with_refusals(tastes.long, self.refusal).copy()
        added.data = added.data * self.shares[added.indices]
        return np.asarray(added @ self.item_vectors, np.float32)

    def fold_in(self, history: History) -> Floats:
        """(d,) one person's vector."""
        return np.asarray(self.place(of_history(history, len(self.item_vectors)))[0])

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items)."""
        return self.place(tastes) @ np.asarray(self.item_vectors).T


@dataclass(frozen=True, slots=True, eq=False)
class ItemItem:
    """
    Weights from item to item: row i is what a reaction to item i says about every other item.

    Shapes: `weights` (n_items, n_items), scipy CSR or dense. `is_recent`: reads `Tastes.recent`.
    """

    weights: Any
    refusal: float
    is_recent: bool = False

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items)."""
        read = tastes.recent if self.is_recent else tastes.long
        if read is None:
            return np.zeros(tastes.long.shape, np.float32)
        found: Any = with_refusals(read, self.refusal) @ self.weights
        return np.asarray(found.toarray() if sparse.issparse(self.weights) else found, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Popular:
    """The same scores for everybody of a market: `by_market` (n_markets + 1, n_items), the last row for the world."""

    by_market: Floats

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items); the world's where no market is known."""
        rows = np.full(len(tastes), -1) if tastes.markets is None else tastes.markets
        return np.asarray(self.by_market[rows], np.float32)
