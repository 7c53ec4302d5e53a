"""The audit log in the database. It names no person, so nothing in it is sealed."""

from collections.abc import Sequence
from typing import Final

from recsys.clock import Millis
from recsys.stores.audit import Audited, AuditEntry
from serving.stores.postgres.server import Connection, Database


class PostgresAudit:
    """`AuditLog` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """See `AuditLog.append`."""
        self._database.transact(lambda connection: add_entries(connection, entries))

    def page(self, since: Millis, after: int, n: int) -> tuple[Audited, ...]:
        """See `AuditLog.page`."""
        rows = self._database.read(
            "SELECT seq, at, who, what FROM sanad.audit WHERE seq > %s AND at >= %s ORDER BY seq LIMIT %s",
            (after, since, n),
        )
        return tuple(Audited(seq, AuditEntry(at, who, what)) for seq, at, who, what in rows)


def add_entries(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Append within a transaction that writes what the entries tell. Appends take turns, so that none comes late."""
    if entries:
        connection.execute("LOCK TABLE sanad.audit IN SHARE ROW EXCLUSIVE MODE")
    for entry in entries:
        connection.execute(
            "INSERT INTO sanad.audit (at, who, what) VALUES (%s, %s, %s)", (entry.at, entry.who, entry.what)
        )
