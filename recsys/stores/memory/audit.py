"""The audit log in memory."""

from collections.abc import Sequence
from itertools import islice

from recsys.clock import Millis
from recsys.stores.audit import Audited, AuditEntry
from recsys.stores.memory.tables import Tables


class MemoryAudit:
    """`AuditLog` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """See `AuditLog.append`."""
        with self._tables.lock:
            add_entries(self._tables, entries)

    def page(self, since: Millis, after: int, n: int) -> tuple[Audited, ...]:
        """See `AuditLog.page`."""
        with self._tables.lock:
            later = (audited for audited in self._tables.audit if audited.seq > after and audited.entry.at >= since)
            return tuple(islice(later, n))


def add_entries(tables: Tables, entries: Sequence[AuditEntry]) -> None:
    """Append within whatever else is written."""
    for entry in entries:
        tables.last_audit += 1
        tables.audit.append(Audited(tables.last_audit, entry))


def prune_audit(tables: Tables, oldest: Millis) -> int:
    """Delete entries from before an instant; rows deleted."""
    fresh = [audited for audited in tables.audit if audited.entry.at >= oldest]
    deleted = len(tables.audit) - len(fresh)
    tables.audit = fresh
    return deleted
