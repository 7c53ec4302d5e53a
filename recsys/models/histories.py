"""The histories of users as an artifact holds them: what they interacted with, and what they have seen."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.clock import Millis
from recsys.types import History, Ids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserHistories(Mapping[str, History]):
    """
    user_id -> History, as slices of one flat history: of user row u the slice `indptr[u]:indptr[u + 1]`.

    Shapes: `indptr` (n_users + 1,); `flat` n_events, oldest first for each user; `rows` user_id -> row, in order.
    """

    rows: Mapping[str, int]
    indptr: NDArray[np.int64]
    flat: History

    def __getitem__(self, user_id: str) -> History:
        row = self.rows[user_id]
        entries = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        return History(self.flat.items[entries], self.flat.weights[entries], self.flat.at[entries])

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenInLog(Mapping[str, Ids]):
    """
    user_id -> rows of items that the training log says this user has seen, oldest first; `until` is the log's last
    instant. Shapes: `indptr` (n_users + 1,), `item_rows` (n,); users as in the histories.
    """

    rows: Mapping[str, int]
    indptr: NDArray[np.int64]
    item_rows: Ids
    until: Millis

    def __getitem__(self, user_id: str) -> Ids:
        row = self.rows[user_id]
        return self.item_rows[int(self.indptr[row]) : int(self.indptr[row + 1])]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


NOTHING_SEEN: Final = SeenInLog(rows={}, indptr=np.zeros(1, np.int64), item_rows=np.zeros(0, np.int32), until=0)


def row_numbers(ids: Iterable[str]) -> dict[str, int]:
    """id -> its row."""
    return {id_: row for row, id_ in enumerate(ids)}
