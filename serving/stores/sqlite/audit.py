"""The audit log in the state file. It names no person, so nothing in it is sealed."""

import sqlite3
from collections.abc import Sequence

from recsys.clock import Millis
from recsys.stores.audit import Audited, AuditEntry
from serving.stores.sqlite.file import Database


class SqliteAudit:
    """`AuditLog` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """See `AuditLog.append`."""
        self._database.write(lambda connection: add_entries(connection, entries))

    def page(self, since: Millis, after: int, n: int) -> tuple[Audited, ...]:
        """See `AuditLog.page`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT seq, at, who, what FROM audit WHERE seq > ? AND at >= ? ORDER BY seq LIMIT ?", (after, since, n)
            ).fetchall()
        return tuple(Audited(seq, AuditEntry(at, who, what)) for seq, at, who, what in rows)


def add_entries(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> None:
    """Append within a transaction that writes what the entries tell."""
    connection.executemany(
        "INSERT INTO audit (at, who, what) VALUES (?, ?, ?)", [(entry.at, entry.who, entry.what) for entry in entries]
    )
