"""The log of events in the state file, sealed."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from recsys.clock import Millis
from recsys.stores.protocols import AppendResult, Logged
from recsys.types import Event
from serving.stores.sealing import EVENTS, Key, read_event, seal_event
from serving.stores.sqlite.sealed import SealedRows
from serving.stores.sqlite.vault import Vault

_AT_ONCE: Final = 1_000  # rows read at once


class SqliteEvents:
    """`EventLog` in SQLite."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows = rows

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`."""
        vault = self._rows.vault

        def work(connection: sqlite3.Connection, keys: Mapping[str, Key]) -> int:
            connection.execute("UPDATE meta SET committed_at = max(committed_at, ?)", (at,))
            return connection.executemany(
                "INSERT INTO events (owner, event, received_at, sealed) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (owner, event) DO NOTHING",
                [event_row(vault, event, at, keys[event.user_id]) for event in events],
            ).rowcount

        accepted = self._rows.write((event.user_id for event in events), work) if events else 0
        return AppendResult(accepted=accepted, duplicates=len(events) - accepted)

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        owner = self._rows.vault.hide(user_id)
        with self._rows.database.reading() as connection:
            return logged_since(self._rows, connection, owner, seq)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        with self._rows.database.reading() as connection:
            rows = connection.execute(
                "SELECT owner, sealed, max(seq) FROM events WHERE received_at < ? GROUP BY owner", (until,)
            ).fetchall()
        events = (self._rows.open(owner, (sealed, EVENTS))[0] for owner, sealed, _ in rows)
        return tuple(sorted(read_event(event).user_id for event in events if event is not None))

    def last_seq(self, behind: int = 0) -> int:
        """See `EventLog.last_seq`."""
        with self._rows.database.reading() as connection:
            [seq] = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        return int(seq) - behind

    def received_since(self, at: Millis, after: int = 0) -> Iterator[Logged]:
        """See `EventLog.received_since`."""
        last = after
        while True:
            with self._rows.database.reading() as connection:
                rows = connection.execute(
                    "SELECT seq, owner, received_at, sealed FROM events WHERE seq > ? AND received_at >= ? "
                    f"ORDER BY seq LIMIT {_AT_ONCE}",
                    (last, at),
                ).fetchall()
            for seq, owner, received_at, sealed in rows:
                [packed] = self._rows.open(owner, (sealed, EVENTS))
                if packed is not None:
                    yield Logged(seq, received_at, read_event(packed))
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0]


def logged_since(rows: SealedRows, connection: sqlite3.Connection, owner: bytes, seq: int) -> tuple[Logged, ...]:
    """A person's entries with a higher `seq`, in order."""
    found = connection.execute(
        "SELECT seq, received_at, sealed FROM events WHERE owner = ? AND seq > ? ORDER BY seq", (owner, seq)
    ).fetchall()
    packed = rows.open(owner, *((sealed, EVENTS) for _, _, sealed in found)) if found else []
    return tuple(
        Logged(number, received_at, read_event(event))
        for (number, received_at, _), event in zip(found, packed, strict=True)
        if event is not None
    )


def event_row(vault: Vault, event: Event, at: Millis, key: Key) -> tuple[bytes, bytes, Millis, bytes]:
    """One event as it stands in the file: owner, hidden id, when it came, and itself, sealed."""
    owner = vault.hide(event.user_id)
    return owner, vault.hide(event.event_id), at, seal_event(event, key, owner)
