"""
The stores in memory: for simulations, tests and a feed without a service. Safe between threads, gone with the
process. They keep the same promises as a file, except the one about power cuts.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from threading import RLock
from typing import Final

from recsys.clock import DAY, Millis
from recsys.stores import catalogue_write as live
from recsys.stores.protocols import (
    EXPOSURE_DAYS_APART,
    RETENTION_MS,
    AppendResult,
    CatalogueDelta,
    CreatorChange,
    CreatorRow,
    DecisionRecord,
    ExposureCount,
    Forgotten,
    ItemChange,
    ItemRow,
    Logged,
    Read,
    StoredAnswer,
    Version,
)
from recsys.types import Event
from recsys.user.state import Delivery, SafetyState, UserState, unpack_safety

_Page = tuple[Millis, tuple[Delivery, ...]]  # the time of its newest delivery, and the deliveries


class _Tables:
    """Everything the three stores hold, under one lock."""

    def __init__(self) -> None:
        self.lock: Final = RLock()
        self.users: dict[str, tuple[UserState, Version]] = {}
        self.tombstones: dict[str, tuple[SafetyState, Version, Millis]] = {}
        self.pages: dict[str, list[_Page]] = {}
        self.decisions: dict[tuple[str, str], StoredAnswer] = {}  # in commit order
        self.events: dict[str, dict[str, Logged]] = {}  # user_id -> event_id -> entry
        self.known: Final = live.StoredCatalogue()
        self.creators: dict[str, CreatorRow] = {}
        self.tallies: Counter[tuple[str, int, str, str, str, bool]] = Counter()
        self.steering: dict[str, bytes] = {}
        self.hash_key: Final = b"memory"
        self.forgotten: dict[bytes, Millis] = {}
        self.writes = 0
        self.seq = 0
        self.committed_at: Millis = 0

    def version_of(self, user_id: str) -> Version:
        """The version that the next write of a user must name."""
        if user_id in self.users:
            return self.users[user_id][1]
        return self.tombstones[user_id][1] if user_id in self.tombstones else 0

    def commit(self, at: Millis) -> None:
        """Remember the latest time that something was written at."""
        self.committed_at = max(self.committed_at, at)


class MemoryUsers:
    """`UserStore` in memory."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`."""
        tables = self._tables
        with tables.lock:
            if user_id in tables.users:
                state = tables.users[user_id][0]
            elif user_id in tables.tombstones:
                state = UserState(safety=tables.tombstones[user_id][0])
            else:
                state = UserState()
            return Read(
                state=state,
                version=tables.version_of(user_id),
                revision=tables.known.revision,
                answer=None if request_id is None else tables.decisions.get((user_id, request_id)),
            )

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        tables = self._tables
        with tables.lock:
            if tables.version_of(user_id) != version:
                return False
            tables.writes += 1
            tables.users[user_id] = (state, tables.writes)
            tables.tombstones.pop(user_id, None)
            if record is not None:
                self._keep(user_id, record)
            return True

    def _keep(self, user_id: str, record: DecisionRecord) -> None:
        tables, key = self._tables, (user_id, record.answer.request_id)
        if record.deliveries:
            newest = max(d.at for d in record.deliveries)
            tables.pages.setdefault(user_id, []).append((newest, record.deliveries))
        tables.decisions.pop(key, None)  # so that the dictionary stays in commit order
        tables.decisions[key] = record.answer
        for t in record.tallies:
            tables.tallies[t.creator_id, t.day, t.country, t.region, t.way, t.is_local] += t.n
        tables.commit(record.answer.at)

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        with self._tables.lock:
            pages = tuple(self._tables.pages.get(user_id, ()))
        return tuple(d for newest, page in pages if newest >= since for d in page if d.at >= since)

    def decision(self, request_id: str) -> StoredAnswer | None:
        """See `UserStore.decision`."""
        with self._tables.lock:
            newest_first = reversed(self._tables.decisions.values())
            return next((a for a in newest_first if a.request_id == request_id), None)

    def decisions(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `UserStore.decisions`."""
        with self._tables.lock:
            return tuple(answer for (owner, _), answer in self._tables.decisions.items() if owner == user_id)

    def latest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `UserStore.latest`."""
        with self._tables.lock:
            return tuple(islice(reversed(self._tables.decisions.values()), n))

    def tallies(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `UserStore.tallies`."""
        with self._tables.lock:
            found = sorted((*key, n) for key, n in self._tables.tallies.items() if creator_id in (None, key[0]))
        return tuple(
            ExposureCount(creator_id=creator, day=day, country=country, region=region, way=way, is_local=is_local, n=n)
            for creator, day, country, region, way, is_local, n in found
        )

    def reach(self) -> Mapping[str, int]:
        """See `UserStore.reach`."""
        found: Counter[str] = Counter()
        with self._tables.lock:
            for key, n in self._tables.tallies.items():
                found[key[0]] += n
        return found

    def local_share(self, country: str, since_day: int) -> tuple[int, int]:
        """See `UserStore.local_share`."""
        with self._tables.lock:
            late = [(key[5], n) for key, n in self._tables.tallies.items() if key[2] == country and key[1] >= since_day]
        return sum(n for is_local, n in late if is_local), sum(n for _, n in late)

    def steering(self, market: str) -> bytes | None:
        """See `UserStore.steering`."""
        return self._tables.steering.get(market)

    def steer(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `UserStore.steer`."""
        with self._tables.lock:
            if self._tables.steering.get(market) != before:
                return False
            self._tables.steering[market] = after
            return True

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        return self._tables.committed_at

    def forget(self, user_id: str, before: Millis) -> None:
        """See `UserStore.forget`."""
        tables, key = self._tables, self.key_of(user_id)
        with tables.lock:
            tables.forgotten[key] = max(before, tables.forgotten.get(key, 0))

    def forgotten(self) -> Forgotten:
        """See `UserStore.forgotten`."""
        with self._tables.lock:
            tables = self._tables
            erased = frozenset(self.key_of(user_id) for user_id in tables.tombstones)
            return Forgotten(tables.hash_key, dict(tables.forgotten), erased & tables.forgotten.keys())

    def key_of(self, user_id: str) -> bytes:
        """The keyed hash under which an erased person is remembered."""
        return hmac.digest(self._tables.hash_key, user_id.encode(), hashlib.sha256)

    def erase(
        self,
        user_id: str,
        at: Millis,
        tombstone: bytes | None,
        version: Version | None = None,
        log_seq: int | None = None,
    ) -> Mapping[str, int] | None:
        """See `UserStore.erase`."""
        counted = None if tombstone is None else unpack_safety(tombstone)
        tables = self._tables
        with tables.lock:
            newest = max((entry.seq for entry in tables.events.get(user_id, {}).values()), default=0)
            if version not in (None, tables.version_of(user_id)) or (log_seq is not None and newest > log_seq):
                return None
            mine = [key for key in tables.decisions if key[0] == user_id]
            for key in mine:
                del tables.decisions[key]
            deleted = {
                "users": 0 if tables.users.pop(user_id, None) is None else 1,
                "deliveries": sum(len(page) for _, page in tables.pages.pop(user_id, [])),
                "decisions": len(mine),
                "events": len(tables.events.pop(user_id, {})),
            }
            tables.tombstones.pop(user_id, None)
            self.forget(user_id, at)
            tables.writes += 1
            if counted is not None:
                tables.tombstones[user_id] = (counted, tables.writes, at)
            tables.commit(at)
            return deleted


class MemoryEvents:
    """`EventLog` in memory."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`."""
        tables, accepted = self._tables, 0
        with tables.lock:
            for event in events:
                mine = tables.events.setdefault(event.user_id, {})
                if event.event_id not in mine:
                    tables.seq += 1
                    accepted += 1
                    mine[event.event_id] = Logged(tables.seq, at, event)
            if events:
                tables.commit(at)
        return AppendResult(accepted=accepted, duplicates=len(events) - accepted)

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        with self._tables.lock:
            return tuple(entry for entry in self._tables.events.get(user_id, {}).values() if entry.seq > seq)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        with self._tables.lock:
            logs = self._tables.events.items()
            return tuple(sorted(u for u, mine in logs if any(e.received_at < until for e in mine.values())))


class MemoryCatalogue:
    """`Catalogue` in memory."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def since(self, revision: int) -> CatalogueDelta:
        """See `Catalogue.since`."""
        with self._tables.lock:
            known = self._tables.known
            newer = [i for i in known.items.values() if i.revision > revision] if known.revision > revision else []
            rows = tuple(self._row(i) for i in sorted(newer, key=lambda i: i.item_no))
            creators = tuple(c for c in self._tables.creators.values() if c.revision > revision)
            return CatalogueDelta(
                revision=known.revision, newest_raise=known.newest_raise, rows=rows, creators=creators
            )

    def put(self, changes: Sequence[ItemChange], at: Millis) -> int:
        """See `Catalogue.put`. Raises DataError on a change that is no item."""
        prepared = live.prepare(changes)
        with self._tables.lock:
            if live.write(self._tables.known, prepared).items:
                self._tables.commit(at)
            return self._tables.known.revision

    def get(self, item_id: str) -> ItemRow | None:
        """See `Catalogue.get`."""
        with self._tables.lock:
            item = self._tables.known.items.get(item_id)
            return None if item is None else self._row(item)

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis) -> int:
        """See `Catalogue.put_creators`."""
        tables = self._tables
        with tables.lock:
            written = live.write_creators(tables.creators, tables.known.revision, changes)
            if written:
                tables.creators |= written
                tables.known.revision += 1
                tables.commit(at)
            return tables.known.revision

    def creator(self, creator_id: str) -> CreatorRow | None:
        """See `Catalogue.creator`."""
        return self._tables.creators.get(creator_id)

    def _row(self, item: live.StoredItem) -> ItemRow:
        return live.row(item, self._tables.known.clusters[item.cluster_id])


class MemoryStore:
    """The three stores over the same memory. `kept` is how long decisions and events stay, in milliseconds."""

    def __init__(self, kept: Millis = 30 * DAY) -> None:
        self._tables = _Tables()
        self._kept = max(kept, RETENTION_MS)
        self.users: Final = MemoryUsers(self._tables)
        self.events: Final = MemoryEvents(self._tables)
        self.catalogue: Final = MemoryCatalogue(self._tables)

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def lets_go(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return at - self._kept

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`; rows (whole pages of deliveries) deleted per table.

        `people` are those whom the model in service knows: of an erased one among them the hash alone stays.
        """
        tables = self._tables
        with tables.lock:
            erased = set(tables.tombstones).intersection(people)
            return {
                "deliveries": self._prune_pages(at - RETENTION_MS),
                "decisions": self._prune_decisions(at - self._kept),
                "events": self._prune_events(at - self._kept),
                "tombstones": self._prune_tombstones(at - RETENTION_MS, erased),
                "tallies": self._join_tallies(at // DAY - EXPOSURE_DAYS_APART),
                "forgotten": self._prune_forgotten(
                    at - RETENTION_MS, {self.users.key_of(user_id) for user_id in erased}
                ),
            }

    def _prune_pages(self, oldest: Millis) -> int:
        deleted = 0
        for user_id, pages in tuple(self._tables.pages.items()):
            fresh = [page for page in pages if page[0] >= oldest]
            deleted += len(pages) - len(fresh)
            self._tables.pages[user_id] = fresh
        return deleted

    def _prune_decisions(self, oldest: Millis) -> int:
        old = [key for key, answer in self._tables.decisions.items() if answer.at < oldest]
        for key in old:
            del self._tables.decisions[key]
        return len(old)

    def _prune_events(self, oldest: Millis) -> int:
        deleted = 0
        for mine in self._tables.events.values():
            old = [event_id for event_id, entry in mine.items() if entry.received_at < oldest]
            deleted += len(old)
            for event_id in old:
                del mine[event_id]
        return deleted

    def _join_tallies(self, oldest: int) -> int:
        """Days before `oldest` become day 0."""
        tallies = self._tables.tallies
        old = [key for key in tallies if 0 < key[1] < oldest]
        for key in old:
            tallies[key[0], 0, *key[2:]] += tallies.pop(key)
        return len(old)

    def _prune_tombstones(self, oldest: Millis, known: Set[str]) -> int:
        old = [user_id for user_id, stone in self._tables.tombstones.items() if stone[2] < oldest]
        for user_id in old:
            _, version, at = self._tables.tombstones.pop(user_id)
            if user_id in known:
                self._tables.tombstones[user_id] = (SafetyState(is_erased=True), version, at)
        return len(set(old) - known)

    def _prune_forgotten(self, oldest: Millis, known: Set[bytes]) -> int:
        old = [key for key, before in self._tables.forgotten.items() if before < oldest and key not in known]
        for key in old:
            del self._tables.forgotten[key]
        return len(old)

    def close(self) -> None:
        """Nothing to do; a file needs it."""
