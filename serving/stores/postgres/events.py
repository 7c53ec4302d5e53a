"""The log of events in the database, sealed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from recsys.clock import Millis
from recsys.stores.protocols import AppendResult, Logged
from recsys.types import Event
from serving.stores.postgres.sealed import SealedRows, lock_of
from serving.stores.sealing import EVENTS, Key, read_event, seal_event

_AT_ONCE: Final = 1_000  # rows read at once
_PEOPLE_AT_ONCE: Final = 200  # of one transaction: each takes a lock
_APPEND: Final = "SELECT sanad.append(%s::bigint[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s)"
_DEAD: Final = -1
_SEEN: Final = (
    "place < ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT places_ahead FROM sanad.meta)) << 20)"
)
"""Places of transactions that no other one can come before any more: what is seen later has a higher place."""


class PostgresEvents:
    """`EventLog` in PostgreSQL."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows: Final = rows

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`: in one transaction, or in several where a batch is of very many people."""
        by_person: dict[str, list[Event]] = {}
        for event in events:
            by_person.setdefault(event.user_id, []).append(event)
        people = list(by_person)
        if len(people) <= _PEOPLE_AT_ONCE:
            accepted = self._append(events, at) if events else 0
        else:
            batches = (people[start : start + _PEOPLE_AT_ONCE] for start in range(0, len(people), _PEOPLE_AT_ONCE))
            accepted = sum(self._append([e for user in batch for e in by_person[user]], at) for batch in batches)
        return AppendResult(accepted=accepted, duplicates=len(events) - accepted)

    def _append(self, events: Sequence[Event], at: Millis) -> int:
        """Append events of which the first of each id counts; how many were new."""
        vault = self._rows.vault
        fresh = {(vault.hide(event.user_id), vault.hide(event.event_id)): event for event in reversed(events)}
        listed = list(reversed(fresh.items()))
        locks = sorted({lock_of(owner) for owner, _ in fresh})

        def work(keys: Mapping[str, Key]) -> int | None:
            sealed = [seal_event(event, keys[event.user_id], owner) for (owner, _), event in listed]
            values: list[object] = [
                locks, [key.number for key in keys.values()], [owner for (owner, _), _ in listed],
                [event_id for (_, event_id), _ in listed], sealed, at,
            ]  # fmt: skip
            [(accepted,)] = self._rows.insert(_APPEND, values, [at])
            return None if accepted == _DEAD else int(accepted)

        return self._rows.write([event.user_id for event in events], work)

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        owner = self._rows.vault.hide(user_id)
        rows = self._rows.database.read(
            "SELECT seq, received_at, sealed FROM sanad.events WHERE owner = %s AND seq > %s "
            "AND received_at >= (SELECT events_since FROM sanad.meta) ORDER BY seq",
            (owner, seq),
        )
        opened = self._rows.open(owner, *((sealed, EVENTS) for _, _, sealed in rows)) if rows else []
        return read_logged([row[0] for row in rows], [row[1] for row in rows], opened)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        rows = self._rows.database.read(
            "SELECT DISTINCT ON (owner) owner, sealed FROM sanad.events WHERE received_at < %s "
            "AND received_at >= (SELECT events_since FROM sanad.meta) ORDER BY owner, seq DESC",
            (until,),
        )
        opened = (self._rows.open(owner, (sealed, EVENTS))[0] for owner, sealed in rows)
        return tuple(sorted(read_event(event).user_id for event in opened if event is not None))

    def last_seq(self, behind: int = 0) -> int:
        """See `EventLog.last_seq`."""
        rows = self._rows.database.read(
            f"SELECT place FROM sanad.events WHERE {_SEEN} ORDER BY place DESC OFFSET %s LIMIT 1", (behind,)
        )
        return int(rows[0][0]) if rows else 0

    def received_since(self, at: Millis, after: int = 0) -> Iterator[Logged]:
        """See `EventLog.received_since`."""
        last = after
        while True:
            rows = self._rows.database.read(
                "SELECT place, owner, received_at, sealed FROM sanad.events WHERE place > %s "
                f"AND received_at >= greatest(%s, (SELECT events_since FROM sanad.meta)) AND {_SEEN} "
                f"ORDER BY place LIMIT {_AT_ONCE}",
                (last, at),
            )
            for place, owner, received_at, sealed in rows:
                [packed] = self._rows.open(owner, (sealed, EVENTS))
                if packed is not None:
                    yield Logged(place, received_at, read_event(packed))
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0]


def read_logged(seqs: Sequence[Any], times: Sequence[Any], opened: Sequence[bytes | None]) -> tuple[Logged, ...]:
    """Opened entries of one person, in order, without those whose key was destroyed."""
    rows = zip(seqs, times, opened, strict=True)
    return tuple(Logged(seq, at, read_event(event)) for seq, at, event in rows if event is not None)
