"""The log of events in the state file."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.stores.protocols import AppendResult, Logged
from recsys.types import Event
from serving.stores.sqlite.file import Database

_EVENT: Final = msgspec.msgpack.Decoder(Event)


class SqliteEvents:
    """`EventLog` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`."""
        rows = [(e.user_id, e.event_id, at, msgspec.msgpack.encode(e)) for e in events]

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE meta SET committed_at = max(committed_at, ?)", (at,))
            return connection.executemany(
                "INSERT INTO events (user_id, event_id, received_at, packed) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (user_id, event_id) DO NOTHING",
                rows,
            ).rowcount

        accepted = self._database.write(work) if rows else 0
        return AppendResult(accepted=accepted, duplicates=len(rows) - accepted)

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT seq, received_at, packed FROM events WHERE user_id = ? AND seq > ? ORDER BY seq", (user_id, seq)
            ).fetchall()
        return tuple(Logged(number, at, _EVENT.decode(packed)) for number, at, packed in rows)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT user_id FROM events WHERE received_at < ? ORDER BY user_id", (until,)
            ).fetchall()
        return tuple(user_id for (user_id,) in rows)
