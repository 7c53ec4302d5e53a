"""
Copies on a page: no item stands on it after one that binds it (policy-spec 0, Copies).

The joins come as columns, so that a decision record holds them: `hash_no` and `creator_text_no` join rows of one
number, both ways; `duration_text_no` joins rows of one number to those of an earlier `arrival`, unless both have a
hash. 0 is no number.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from recsys.text.duplicates import Evidence
from recsys.types import Candidates, Columns

COLUMNS: Final = {
    "hash_no": "<i4", "creator_text_no": "<i4", "duration_text_no": "<i4", "arrival": "<i4", "is_hashed": "?",
}  # fmt: skip
"""The columns of the joins, with their types; see `recsys.catalogue.copies.copy_columns`."""


class _Joins(NamedTuple):
    """One row of the columns."""

    hash_no: int
    creator_text_no: int
    duration_text_no: int
    arrival: int
    is_hashed: bool


class PageCopies:
    """What stands on a page so far, and whether it binds another row."""

    def __init__(self, columns: Columns) -> None:
        self._rows = _joined_rows(columns)
        self._same: set[tuple[str, int]] = set()
        self._first: dict[tuple[int, bool], int] = {}  # earliest arrival, by duration_text_no and whether it has a hash

    def add(self, row: int) -> None:
        """Puts a row on the page."""
        joins = self._rows.get(row)
        if joins is None:
            return
        self._same |= {("hash", joins.hash_no), ("text", joins.creator_text_no)}
        if joins.duration_text_no:
            key = joins.duration_text_no, joins.is_hashed
            self._first[key] = min(joins.arrival, self._first.get(key, joins.arrival))

    def binds(self, row: int) -> bool:
        """Whether a row of the page, another one, binds this one."""
        joins = self._rows.get(row)
        if joins is None:
            return False
        if (joins.hash_no and ("hash", joins.hash_no) in self._same) or (
            joins.creator_text_no and ("text", joins.creator_text_no) in self._same
        ):
            return True
        earliest = [self._first.get((joins.duration_text_no, False), joins.arrival)]
        if not joins.is_hashed:  # of unlike hashes, equal words join nothing
            earliest.append(self._first.get((joins.duration_text_no, True), joins.arrival))
        return bool(joins.duration_text_no) and min(earliest) < joins.arrival


def _joined_rows(columns: Columns) -> Mapping[int, _Joins]:
    """The few rows that have anything in common with another."""
    rows = np.flatnonzero(columns["hash_no"] | columns["creator_text_no"] | columns["duration_text_no"])
    values = [columns[name][rows].tolist() for name in COLUMNS]
    return dict(zip(rows.tolist(), map(_Joins._make, zip(*values, strict=True)), strict=True))


def distinct(columns: Columns, rows: Iterable[int]) -> Iterator[int]:
    """The rows, in their order, without those that one before them binds."""
    page = PageCopies(columns)
    for row in rows:
        if not page.binds(row):
            page.add(row)
            yield row


def evidence(columns: Columns, row: int, other: int) -> Evidence | None:
    """By what another row binds a row; None when it does not. Asked of two rows alone, for who checks a page."""
    mine, theirs = (_Joins(*(columns[name][n].item() for name in COLUMNS)) for n in (row, other))
    if mine.hash_no and mine.hash_no == theirs.hash_no:
        return "hash"
    if mine.creator_text_no and mine.creator_text_no == theirs.creator_text_no:
        return "creator_text"
    is_same = mine.duration_text_no and mine.duration_text_no == theirs.duration_text_no
    is_open = not (mine.is_hashed and theirs.is_hashed)
    return "duration_text" if is_same and is_open and theirs.arrival < mine.arrival else None


def bound_pairs(candidates: Candidates, rows: Iterable[int]) -> frozenset[tuple[int, int]]:
    """Of some candidates the numbers of every item and one that binds it."""
    columns, numbers = candidates.columns, candidates.item_nos
    has_joins = _joined_rows(columns)
    joined = [row for row in rows if row in has_joins]
    return frozenset(
        (int(numbers[row]), int(numbers[other]))
        for row in joined
        for other in joined
        if row != other and evidence(columns, row, other)
    )
