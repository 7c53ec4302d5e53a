"""Records of pages in the state file, sealed."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from recsys.clock import Millis
from recsys.stores.protocols import StoredAnswer
from serving.stores.sealing import DECISIONS, read_answer
from serving.stores.sqlite.sealed import SealedRows

_AT_ONCE: Final = 100  # rows read at once


class SqliteDecisions:
    """`DecisionLog` in SQLite."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """See `DecisionLog.of_request`."""
        hidden = self._rows.vault.hide(request_id)
        return next(self._select("WHERE request = ? ORDER BY seq DESC", hidden), None)

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.of_user`."""
        return tuple(self._select("WHERE owner = ? ORDER BY seq", self._rows.vault.hide(user_id)))

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.newest`."""
        records = self._select("ORDER BY seq DESC")
        return tuple(record for _, record in zip(range(n), records, strict=False))

    def since(self, at: Millis) -> Iterator[StoredAnswer]:
        """See `DecisionLog.since`."""
        last = 0
        while True:
            with self._rows.database.reading() as connection:
                rows = connection.execute(
                    f"SELECT seq, owner, sealed FROM decisions WHERE seq > ? AND at >= ? ORDER BY seq LIMIT {_AT_ONCE}",
                    (last, at),
                ).fetchall()
            opened = (open_answer(self._rows, owner, sealed) for _, owner, sealed in rows)
            yield from (record for record in opened if record is not None)
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0]

    def _select(self, which: str, *values: bytes) -> Iterator[StoredAnswer]:
        """The readable records, a few rows at a time."""
        offset = 0
        while True:
            statement = f"SELECT owner, sealed FROM decisions {which} LIMIT {_AT_ONCE} OFFSET {offset}"
            with self._rows.database.reading() as connection:
                rows = connection.execute(statement, values).fetchall()
            for owner, sealed in rows:
                if (record := open_answer(self._rows, owner, sealed)) is not None:
                    yield record
            if len(rows) < _AT_ONCE:
                return
            offset += _AT_ONCE


def open_answer(rows: SealedRows, owner: bytes, sealed: bytes) -> StoredAnswer | None:
    """A record; None when the key of its person is gone."""
    [packed] = rows.open(owner, (sealed, DECISIONS))
    return None if packed is None else read_answer(packed)


def add_decision(connection: sqlite3.Connection, owner: bytes, request: bytes, at: int, sealed: bytes) -> None:
    """The record of a page, in place of an earlier one under the same request id."""
    connection.execute(
        "INSERT OR REPLACE INTO decisions (owner, request, at, sealed) VALUES (?, ?, ?, ?)",
        (owner, request, at, sealed),
    )
