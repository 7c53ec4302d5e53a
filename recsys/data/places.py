"""People and items with places, and what people chose: what favouring local items is tuned and judged on."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.types import Mask

UNKNOWN: Final = -1
LARGE: Final = 0.2
"""A place with more than this share of the items with a place is large: being local there is no advantage."""

Codes = NDArray[np.int32]
Matrix = Any  # scipy's sparse matrices have no types of their own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedSplit:
    """
    Shapes: `train`, `test` (n_users, n_items) CSR of ones; `user_place` (n_users,), `item_place` (n_items,) indexes
    into `places`, `UNKNOWN` where nobody said; `n_dropped` rows that name somebody or something unknown.
    """

    train: Matrix
    test: Matrix
    user_place: Codes
    item_place: Codes
    places: tuple[str, ...]
    n_dropped: int

    def is_local(self, rows: NDArray[np.integer[Any]]) -> Mask:
        """(len(rows), n_items) whether an item is from a person's place."""
        mine = self.user_place[rows, None]
        return np.asarray((mine == self.item_place[None, :]) & (mine != UNKNOWN))

    def large(self) -> tuple[str, ...]:
        """The places that hold more than `LARGE` of the items with a place."""
        known = self.item_place[self.item_place != UNKNOWN]
        shares = np.bincount(known, minlength=len(self.places)) / max(1, len(known))
        return tuple(place for place, share in zip(self.places, shares, strict=True) if share > LARGE)


def cut(split: PlacedSplit, share: float, rng: np.random.Generator) -> PlacedSplit:
    """A validation part out of train: `share` of each person's items, of people with five or more."""
    entries = split.train.tocoo()
    counts = np.bincount(entries.row, minlength=split.train.shape[0])
    order = np.lexsort((rng.random(entries.nnz), entries.row))
    starts = np.cumsum(counts) - counts
    rank = np.empty(entries.nnz, np.int64)
    rank[order] = np.arange(entries.nnz) - starts[entries.row[order]]
    of_user = counts[entries.row]
    is_out = (of_user >= 5) & (rank < np.round(share * of_user))
    parts = [ones(entries.row[kept], entries.col[kept], split.train.shape) for kept in (~is_out, is_out)]
    return replace(split, train=parts[0], test=parts[1])


def ones(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> Matrix:
    """A CSR matrix with a one at each pair, however often it is named."""
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.data[:] = 1.0
    return matrix
