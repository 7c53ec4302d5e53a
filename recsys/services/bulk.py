"""
Many rows of one table at once, as a platform loads its catalogue, its people and its past.

Each row is checked by itself, as in a single call: what breaks the contract is rejected with its line and a sentence,
and all others are written. An answer means that they are durable; a call that is repeated changes nothing.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

import msgspec

from recsys.clock import Millis
from recsys.columns import CREATORS, USERS
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.services.creators import put_creator
from recsys.services.events import MAX_EVENTS, accept_events
from recsys.services.fields import check_id, check_row
from recsys.services.items import put_items
from recsys.services.profiles import replace_profile
from recsys.stores.audit import LOCAL
from recsys.types import Fields

Bulk = Literal["items", "creators", "users", "events"]

MAX_LINES: Final = 200_000
"""Of a call: 10 MB of the shortest events are fewer. Every line may be refused with a sentence, all in one answer."""

_WRITERS: Final = 8
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class RejectedLine(msgspec.Struct, frozen=True):
    """A line that was not written, counted from 1, and why."""

    line: int
    reason: str


class BulkReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows. `duplicates`: events that were in the log already."""

    accepted: int
    duplicates: int = 0
    rejected: tuple[RejectedLine, ...]


_Line = tuple[int, Fields]


def write_bulk(
    engine: Engine, table: Bulk, body: bytes, at: Millis, who: str = LOCAL, *, is_history: bool = False
) -> BulkReceipt:
    """
    Write the rows of a body in JSON Lines. `is_history`: see `accept_events`.

    Raises DataError for more than MAX_LINES lines, of which none is written. Raises StoreError when a store does not
    answer: then some rows may have been written, and all can be sent again.
    """
    n_lines = body.count(b"\n")
    if n_lines > MAX_LINES:
        raise DataError(
            f"lines: found {n_lines:,}, expected at most {MAX_LINES:,}; nothing was written, send several calls"
        )
    lines, unreadable = _read(body)
    refused: list[RejectedLine] = []
    n_duplicates = 0
    for part in (lines[start : start + MAX_EVENTS] for start in range(0, len(lines), MAX_EVENTS)):
        rows = [fields for _, fields in part]
        if table == "events":
            receipt = accept_events(engine, rows, at, is_history=is_history)
            n_duplicates += receipt.duplicates
            problems: Mapping[int, str] = {told.index: told.reason for told in receipt.rejected}
        elif table == "items":
            problems = put_items(engine.resources.catalogue_cache.catalogue, rows, at, who)
        else:
            problems = _put_each(engine, table, rows, at, who)
        refused += [RejectedLine(part[index][0], reason) for index, reason in sorted(problems.items())]
    rejected = sorted([*unreadable, *refused], key=lambda told: told.line)
    return BulkReceipt(
        accepted=len(lines) - len(refused) - n_duplicates, duplicates=n_duplicates, rejected=tuple(rejected)
    )


def _read(body: bytes) -> tuple[list[_Line], list[RejectedLine]]:
    """The objects of a body with their lines; blank lines are skipped."""
    lines: list[_Line] = []
    rejected: list[RejectedLine] = []
    for number, text in enumerate(body.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1):
        if text.strip():
            try:
                lines.append((number, msgspec.json.decode(text, type=dict[str, Any])))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                rejected.append(RejectedLine(number, f"found a line that is no JSON object in UTF-8 ({error})"))
    return lines, rejected


def _put_each(
    engine: Engine, table: Literal["creators", "users"], rows: Sequence[Fields], at: Millis, who: str
) -> Mapping[int, str]:
    """
    Creators or users, several at once, so that they share a flush of the disk; rows of one id in their order. Problems
    by the place of the row.
    """
    key = CREATORS.key if table == "creators" else USERS.key
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault(str(row.get(key)), []).append(index)

    def put(row: Fields) -> str | None:
        fields = {name: value for name, value in row.items() if name != key}
        try:
            row_id = check_id(key, row.get(key))
            if table == "creators":
                put_creator(engine.resources.catalogue_cache.catalogue, row_id, fields, at, who)
            else:
                check_row(USERS, row)
                replace_profile(engine, row_id, fields)
        except DataError as error:
            return str(error)
        return None

    def put_in_order(of_one: Sequence[int]) -> list[tuple[int, str | None]]:
        return [(index, put(rows[index])) for index in of_one]

    with ThreadPoolExecutor(_WRITERS) as pool:
        told = [problem for of_one in pool.map(put_in_order, places.values()) for problem in of_one]
        return {index: problem for index, problem in told if problem is not None}
