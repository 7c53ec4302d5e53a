"""
What people reacted to, in the one form that every collaborative model reads: sparse rows, one for each person.

Entries are signed confidence (`recsys.user.feedback`): above zero wanted, below zero refused. `long` is everything
that is remembered; `recent` the same with the newest reactions counting most, for what comes next. Sets without times
have no `recent`: nothing may be read from an order that nobody recorded.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from recsys.errors import DataError
from recsys.types import Floats, History, Ids

RECENT_SHARE: Final = 0.7
"""In `recent` each reaction counts this much of the one that came after it."""

RECENT_LENGTH: Final = 20
"""Reactions that `recent` looks back on; the twenty-first would count less than a thousandth."""


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """
    Shapes: `long` and `recent` scipy CSR (q, n_items) float32; `recent` None when no times are known. `markets` (q,)
            rows of the popularity by market; None when there is only the world. `met` CSR (q, n_items), above zero
            where somebody is known to have met an item, reaction or not; None when reactions are all that is known.
    """

    long: Any
    recent: Any = None
    markets: Ids | None = None
    met: Any = None

    def __len__(self) -> int:
        return int(self.long.shape[0])

    def __getitem__(self, rows: Any) -> "Tastes":
        """The given people (a slice, or row numbers)."""
        more = (None if each is None else each[rows] for each in (self.recent, self.markets, self.met))
        return Tastes(self.long[rows], *more)

    @property
    def known(self) -> Any:
        """CSR (q, n_items): what nobody needs to be shown."""
        return self.long if self.met is None else self.met


def of_matrix(signed: Any) -> Tastes:
    """Tastes without times, from a sparse (q, n_items) matrix; repeated pairs add up, zeros are dropped."""
    return Tastes(cleaned(signed))


def of_history(history: History, n_items: int, market: int | None = None) -> Tastes:
    """One person's, from their reactions, oldest first."""
    markets = None if market is None else np.array([market], np.int32)
    return of_histories(np.array([0, len(history)]), history.items, history.weights, n_items, markets)


def of_histories(indptr: Any, items: Ids, weights: Floats, n_items: int, markets: Ids | None = None) -> Tastes:
    """
    Everybody's, from flat histories: of person u the slice `indptr[u]:indptr[u + 1]`, oldest first.

    Shapes: indptr (q + 1,); items and weights (n,).
    """
    shape = (len(indptr) - 1, n_items)
    counts = np.diff(indptr)
    back = np.repeat(indptr[1:], counts) - 1 - np.arange(len(items))  # 0 = the latest
    share = np.where(back < RECENT_LENGTH, RECENT_SHARE ** np.minimum(back, RECENT_LENGTH), 0.0)
    return Tastes(
        cleaned(sparse.csr_matrix((weights, items, indptr), shape)),
        cleaned(sparse.csr_matrix(((weights * share).astype(np.float32), items, indptr), shape)),
        markets,
    )


def cleaned(signed: Any) -> Any:
    """
    CSR float32 with sorted, single entries and no zeros. Raises DataError for an entry that is not finite.
    """
    matrix = sparse.csr_matrix(signed, dtype=np.float32, copy=True)
    if not np.all(np.isfinite(matrix.data)):
        raise DataError(
            "found reactions whose confidence is not finite, expected numbers; correct the step that builds the matrix"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def wanted(signed: Any) -> Any:
    """The entries above zero, as a matrix of its own."""
    positive = signed.copy()
    positive.data = np.maximum(positive.data, 0)
    positive.eliminate_zeros()
    return positive


def with_refusals(signed: Any, refusal: float) -> Any:
    """
    The matrix with every entry below zero multiplied by `refusal`; 0 leaves refusals out. A row of refusals alone is
    left empty: they say what is not wanted, not what is.
    """
    is_refused = signed.data < 0
    if not np.any(is_refused):
        return signed
    owner = np.repeat(np.arange(signed.shape[0]), np.diff(signed.indptr))
    has_wish = np.bincount(owner[~is_refused], minlength=signed.shape[0]) > 0
    scaled = signed.copy()
    scaled.data = np.where(is_refused, signed.data * np.float32(refusal) * has_wish[owner], signed.data)
    scaled.eliminate_zeros()
    return scaled
