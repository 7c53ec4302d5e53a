"""The log of events in memory."""

from collections.abc import Iterator, Sequence

from recsys.clock import Millis
from recsys.stores.memory.tables import Tables
from recsys.stores.protocols import AppendResult, Logged
from recsys.types import Event


class MemoryEvents:
    """`EventLog` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`."""
        tables, accepted = self._tables, 0
        with tables.lock:
            for event in events:
                of_user = tables.events.setdefault(event.user_id, {})
                if event.event_id not in of_user:
                    tables.last_seq += 1
                    accepted += 1
                    of_user[event.event_id] = Logged(tables.last_seq, at, event)
            if events:
                tables.commit(at)
        return AppendResult(accepted=accepted, duplicates=len(events) - accepted)

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        with self._tables.lock:
            return logged_since(self._tables, user_id, seq)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        with self._tables.lock:
            logs = self._tables.events.items()
            return tuple(sorted(user for user, log in logs if any(e.received_at < until for e in log.values())))

    def received_since(self, at: Millis, after: int = 0) -> Iterator[Logged]:
        """See `EventLog.received_since`."""
        with self._tables.lock:
            entries = [entry for log in self._tables.events.values() for entry in log.values()]
        wanted = (entry for entry in entries if entry.received_at >= at and entry.seq > after)
        return iter(sorted(wanted, key=lambda entry: entry.seq))

    def last_seq(self, behind: int = 0) -> int:
        """See `EventLog.last_seq`."""
        with self._tables.lock:
            entries = (entry.seq for log in self._tables.events.values() for entry in log.values())
            return max(entries, default=0) - behind


def logged_since(tables: Tables, user_id: str, seq: int) -> tuple[Logged, ...]:
    """A user's entries with a higher `seq`, in order."""
    return tuple(entry for entry in tables.events.get(user_id, {}).values() if entry.seq > seq)


def prune_events(tables: Tables, oldest: Millis) -> int:
    """Delete events that were received before an instant; rows deleted."""
    deleted = 0
    for log in tables.events.values():
        old = [event_id for event_id, entry in log.items() if entry.received_at < oldest]
        deleted += len(old)
        for event_id in old:
            del log[event_id]
    return deleted
