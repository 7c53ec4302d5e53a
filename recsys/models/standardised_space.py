"""
A space whose scores can be compared between users: they are in standard deviations over the whole catalogue.
"""

import mmap
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.models.index import VectorIndex, search
from recsys.types import Floats, Ids, Mask, Space

_ROWS_AT_ONCE: Final = 65_536  # of vectors that lie in a file: a copy of all of them would not fit into memory


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedSpace:
    """
    A space, its index, and the mean and covariance of its item vectors.

    With them the mean and spread of any user's scores over the whole catalogue are known without computing the scores,
    so a standardised score depends on the user and the item only, not on the other candidates.

    Shapes: `is_known` (n_rows,) whether the space knows something about an item; `mean` (d,); `covariance` (d, d).
    """

    space: Space
    index: VectorIndex | None
    is_known: Mask
    mean: Floats
    covariance: Floats

    def scores(self, vector: Floats, rows: Ids) -> Floats:
        """
        (n,) standardised scores of artifact rows; NaN for rows below 0 (not in the artifact) and for items about which
        the space knows nothing. Zeros for a user about whom it knows nothing.
        """
        if not np.any(vector):
            return np.zeros(len(rows), np.float32)
        centre = float(self.mean @ vector)
        spread = max(float(vector @ self.covariance @ vector), 1e-12) ** 0.5
        at = np.maximum(rows, 0).astype(np.intp)  # NumPy takes rows of its own kind faster
        scores = (np.asarray(self.space.item_vectors).take(at, axis=0) @ vector - centre) / spread
        scores[(rows < 0) | ~self.is_known[at]] = np.nan
        return np.asarray(scores, np.float32)

    def nearest(self, vector: Floats, k: int, allowed: Mask) -> Ids:
        """
        Up to k artifact rows, best first, among the allowed (n_rows,). A space without an index retrieves nothing.
        """
        if self.index is None:
            return np.empty(0, np.int32)
        rows, _ = search(self.index, vector, k, allowed)
        return rows.astype(np.int32)


def standardise_space(space: Space, index: VectorIndex | None = None) -> StandardisedSpace:
    """A space with its statistics; without an index it scores but retrieves nothing."""
    vectors = np.asarray(space.item_vectors)
    n, d = vectors.shape
    is_known = np.zeros(n, np.bool_)
    total, products = np.zeros(d), np.zeros((d, d), np.float32)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        is_known[rows] = np.any(vectors[rows], axis=1)
        known = vectors[rows][is_known[rows]]
        total += known.sum(axis=0, dtype=np.float64)
        products += known.T @ known
    _leave(space.item_vectors)
    n_known = int(np.count_nonzero(is_known))
    if n_known < 2:
        return StandardisedSpace(space, index, is_known, np.zeros(d, np.float32), np.zeros((d, d), np.float32))
    mean = total / n_known
    covariance = (products / np.float32(n_known) - np.outer(mean, mean)).astype(np.float32)
    return StandardisedSpace(space, index, is_known, mean.astype(np.float32), covariance)


def _leave(vectors: Floats) -> None:
    """Takes the pages of mapped vectors out of this process's memory: a request reads a few rows of them."""
    base: object = vectors.base
    if sys.platform == "linux" and isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
