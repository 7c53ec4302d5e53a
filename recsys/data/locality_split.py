"""Users and items with places, and what users chose: what locality weights are tuned and evaluated on."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import sparse

from recsys.models.interactions import row_numbers
from recsys.types import Csr, Ids, Integers, Mask, Rows

UNKNOWN: Final = -1
LARGE_SHARE: Final = 0.2
"""A place with more than this share of the items with a place is large: being local there is no advantage."""

MIN_ITEMS: Final = 5
"""Items of a user in train, from which some can be held out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalitySplit:
    """
    Shapes: `train`, `test` (n_users, n_items) CSR of ones; `user_place` (n_users,), `item_place` (n_items,) positions
            in `places`, `UNKNOWN` where it is not known; `n_dropped` rows of files that name an unknown user or item.
    """

    train: Csr
    test: Csr
    user_place: Ids
    item_place: Ids
    places: tuple[str, ...]
    n_dropped: int

    def is_local(self, rows: Rows) -> Mask:
        """(len(rows), n_items) whether an item is from a user's place; an unknown place is local to nobody."""
        places = self.user_place[rows, None]
        return np.asarray((places == self.item_place[None, :]) & (places != UNKNOWN))

    def large_places(self) -> tuple[str, ...]:
        """The places with more than `LARGE_SHARE` of the items with a place."""
        known = self.item_place[self.item_place != UNKNOWN]
        shares = np.bincount(known, minlength=len(self.places)) / max(1, len(known))
        return tuple(place for place, share in zip(self.places, shares, strict=True) if share > LARGE_SHARE)


def hold_out_share(split: LocalitySplit, share: float, rng: np.random.Generator) -> LocalitySplit:
    """A validation part out of train: `share` of the items of each user with at least `MIN_ITEMS`."""
    train = split.train
    rows, counts = row_numbers(train), np.diff(train.indptr)
    order = np.lexsort((rng.random(train.nnz), rows))
    starts = np.cumsum(counts) - counts
    rank = np.empty(train.nnz, np.int64)
    rank[order] = np.arange(train.nnz) - starts[rows[order]]
    is_out = (counts[rows] >= MIN_ITEMS) & (rank < np.round(share * counts[rows]))
    parts = [binary_matrix(rows[part], train.indices[part], train.shape) for part in (~is_out, is_out)]
    return replace(split, train=parts[0], test=parts[1])


def binary_matrix(rows: Integers, columns: Integers, shape: tuple[int, int]) -> Csr:
    """A CSR matrix with a one at each pair, however often it is named."""
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.data[:] = 1.0
    return matrix
