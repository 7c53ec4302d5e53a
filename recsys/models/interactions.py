"""
Users' interactions as sparse rows: the one input of every collaborative model.

Entries are signed confidence (`recsys.user.feedback`): above zero for a positive interaction, below zero for negative
feedback. `full` is everything that is remembered. `recent` weighs the newest interactions most and is read by models of
the next item. Data without times have no `recent`: an order that nobody recorded must not be read.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.errors import DataError
from recsys.types import Csr, Floats, History, Ids, Rows

RECENT_DECAY: Final = 0.7
"""In `recent` each interaction counts this much of the one that came after it."""

RECENT_REACTIONS: Final = 20
"""How many interactions `recent` holds for a user; the twenty-first would count less than a thousandth."""


@dataclass(frozen=True, slots=True, eq=False)
class UserInteractions:
    """
    The interactions of q users.

    Shapes: `full` and `recent` CSR (q, n_items) float32; `recent` is None when no times are known. `markets` (q,) rows
            of the popularity by market; None when there is only the world. `exposed` CSR (q, n_items), above zero where
            a user is known to have met an item; None when interactions are all that is known.
    """

    full: Csr
    recent: Csr | None = None
    markets: Ids | None = None
    exposed: Csr | None = None

    def __len__(self) -> int:
        return int(self.full.shape[0])

    def __getitem__(self, rows: Rows | slice) -> "UserInteractions":
        """The given users (a slice, or row numbers)."""
        return UserInteractions(
            self.full[rows],
            None if self.recent is None else self.recent[rows],
            None if self.markets is None else self.markets[rows],
            None if self.exposed is None else self.exposed[rows],
        )

    @property
    def excluded(self) -> Csr:
        """CSR (q, n_items): above or below zero where an item must not be recommended again."""
        return self.full if self.exposed is None else self.exposed


def interactions_from_matrix(signed: Csr) -> UserInteractions:
    """
    Interactions without times, from a sparse (q, n_items) matrix of signed confidence.

    Repeated pairs add up; zeros are dropped. Raises DataError for an entry that is not finite.
    """
    return UserInteractions(clean_matrix(signed))


def interactions_from_history(history: History, n_items: int, market: int | None = None) -> UserInteractions:
    """The interactions of one user, from their history. `market` is a row of the popularity by market."""
    markets = None if market is None else np.array([market], np.int32)
    return interactions_from_histories(np.array([0, len(history)]), history.items, history.weights, n_items, markets)


def interactions_from_histories(
    indptr: NDArray[np.int64], items: Ids, weights: Floats, n_items: int, markets: Ids | None = None
) -> UserInteractions:
    """
    The interactions of q users, from flat histories: those of user u are `indptr[u]:indptr[u + 1]`, oldest first.

    Shapes: indptr (q + 1,); items and weights (n,); markets (q,).
    """
    shape = (len(indptr) - 1, n_items)
    counts = np.diff(indptr)
    age = np.repeat(indptr[1:], counts) - 1 - np.arange(len(items))  # 0 = the latest
    share = np.where(age < RECENT_REACTIONS, RECENT_DECAY ** np.minimum(age, RECENT_REACTIONS), 0.0)
    return UserInteractions(
        clean_matrix(sparse.csr_matrix((weights, items, indptr), shape)),
        clean_matrix(sparse.csr_matrix(((weights * share).astype(np.float32), items, indptr), shape)),
        markets,
    )


def clean_matrix(signed: Csr) -> Csr:
    """
    The matrix as CSR float32 with sorted columns, one entry for each pair and no zeros.

    Raises: DataError for an entry that is not finite.
    """
    matrix = sparse.csr_matrix(signed, dtype=np.float32, copy=True)
    if not np.all(np.isfinite(matrix.data)):
        raise DataError(
            "found interactions whose confidence is not finite, expected numbers; correct the step that builds the "
            "matrix"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def select_positive(signed: Csr) -> Csr:
    """A copy of the matrix with the entries above zero alone."""
    positive = signed.copy()
    positive.data = np.maximum(positive.data, 0)
    positive.eliminate_zeros()
    return positive


def scale_negatives(signed: Csr, negative_weight: float) -> Csr:
    """
    The matrix with every entry below zero multiplied by `negative_weight`; 0 leaves them out.

    A row without an entry above zero becomes empty: negative feedback alone does not say what a user likes.
    """
    is_negative = signed.data < 0
    if not np.any(is_negative):
        return signed
    rows = row_numbers(signed)
    has_positive = np.bincount(rows[~is_negative], minlength=signed.shape[0]) > 0
    scaled = signed.copy()
    scaled.data = np.where(is_negative, signed.data * np.float32(negative_weight) * has_positive[rows], signed.data)
    scaled.eliminate_zeros()
    return scaled


def row_numbers(matrix: Csr) -> Rows:
    """(nnz,) the row of each entry of a CSR matrix, in the order of its data."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def entries_at(matrix: Csr, columns: Rows) -> Floats:
    """(q, m) the entries of a CSR matrix (q, n) at columns (q, m) of each row; 0 where there is none."""
    picked: Any = matrix[np.arange(len(columns))[:, None], columns]
    return np.asarray(picked.todense(), np.float32)


def empty_matrix(n_items: int) -> Csr:
    """CSR (n_items, n_items) without entries."""
    make: Any = sparse.csr_matrix
    return cast(Csr, make((n_items, n_items), dtype=np.float32))
