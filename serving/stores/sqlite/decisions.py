"""Records of pages in the state file, sealed."""

import re
import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.stores.protocols import StoredAnswer
from serving.stores.sqlite.sealed import SealedRows
from serving.stores.sqlite.vault import Key

TABLE: Final = b"decisions"
_RECORD: Final = msgspec.msgpack.Decoder(StoredAnswer)
_NAMES: Final = ("request_id", "user_id", "at", "body_hash", "answer", "decision")  # in the order of a packed record
_MAP: Final = 0x80  # how msgpack starts a small map: versions before wrote records by the names of their fields
_SHA256: Final = re.compile("[0-9a-f]{64}")  # half as long as bytes
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
    [packed] = rows.open(owner, (sealed, TABLE))
    if packed is None:
        return None
    if packed[0] & 0xF0 == _MAP:
        return _RECORD.decode(packed)
    fields = dict(zip(_NAMES, msgspec.msgpack.decode(packed), strict=True))
    if isinstance(fields["body_hash"], bytes):
        fields["body_hash"] = fields["body_hash"].hex()
    return msgspec.convert(fields, StoredAnswer)


def seal_answer(answer: StoredAnswer, key: Key, owner: bytes) -> bytes:
    """A record, sealed for its person."""
    fields = {name: getattr(answer, name) for name in _NAMES}
    if _SHA256.fullmatch(answer.body_hash):
        fields["body_hash"] = bytes.fromhex(answer.body_hash)
    return key.seal(msgspec.msgpack.encode(list(fields.values())), TABLE + owner)


def add_decision(connection: sqlite3.Connection, owner: bytes, request: bytes, at: int, sealed: bytes) -> None:
    """The record of a page, in place of an earlier one under the same request id."""
    connection.execute(
        "INSERT OR REPLACE INTO decisions (owner, request, at, sealed) VALUES (?, ?, ?, ?)",
        (owner, request, at, sealed),
    )
