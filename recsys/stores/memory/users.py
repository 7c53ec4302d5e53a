"""States of people in memory, their deliveries, erasure, and the cut-offs for training."""

from collections.abc import Mapping, Sequence, Set

from recsys.clock import Millis
from recsys.stores.audit import LOCAL, AuditEntry, erased_name, erasure_entry
from recsys.stores.memory.audit import add_entries
from recsys.stores.memory.decisions import add_decision
from recsys.stores.memory.events import logged_since
from recsys.stores.memory.exposure import add_counts
from recsys.stores.memory.tables import Tables
from recsys.stores.protocols import DecisionRecord, Forgotten, Read, Version
from recsys.stores.retention import ERASED, Expiry
from recsys.user.state import Delivery, UserState, unpack_safety


class MemoryUsers:
    """`UserStore` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`."""
        tables = self._tables
        with tables.lock:
            state = _state_of(tables, user_id)
            return Read(
                state=state,
                version=tables.version_of(user_id),
                revision=tables.catalogue.revision,
                answer=None if request_id is None else tables.decisions.get((user_id, request_id)),
                logged=logged_since(tables, user_id, state.interactions.log_seq),
            )

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        tables = self._tables
        with tables.lock:
            if tables.version_of(user_id) != version:
                return False
            tables.n_writes += 1
            tables.users[user_id] = (state, tables.n_writes)
            tables.tombstones.pop(user_id, None)
            if record is not None:
                _add_deliveries(tables, user_id, record.deliveries)
                add_decision(tables, user_id, record.answer)
                add_counts(tables, record.exposure)
                tables.commit(record.answer.at)
            return True

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        with self._tables.lock:
            pages = tuple(self._tables.pages.get(user_id, ()))
        return tuple(d for newest, page in pages if newest >= since for d in page if d.at >= since)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        return self._tables.committed_at

    def commit_time(self, at: Millis) -> None:
        """See `UserStore.commit_time`."""
        with self._tables.lock:
            self._tables.commit(at)

    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None:
        """See `UserStore.set_time`."""
        with self._tables.lock:
            self._tables.committed_at = at
            add_entries(self._tables, audit)

    def erase(
        self,
        user_id: str,
        at: Millis,
        tombstone: bytes | None,
        version: Version | None = None,
        log_seq: int | None = None,
        who: str = LOCAL,
    ) -> Mapping[str, int] | None:
        """See `UserStore.erase`."""
        safety = None if tombstone is None else unpack_safety(tombstone)
        tables = self._tables
        with tables.lock:
            if not _is_unchanged(tables, user_id, version, log_seq):
                return None
            deleted = _delete(tables, user_id)
            _forget(tables, user_id, at)
            tables.n_writes += 1
            if safety is not None:
                tables.tombstones[user_id] = (safety, tables.n_writes, at)
            add_entries(tables, [erasure_entry(at, who, tables.key_of(erased_name(user_id)))])
            tables.commit(at)
            return deleted


class MemoryCutoffs:
    """`TrainingCutoffs` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def forget(self, user_id: str, before: Millis) -> None:
        """See `TrainingCutoffs.forget`."""
        with self._tables.lock:
            _forget(self._tables, user_id, before)

    def forgotten(self) -> Forgotten:
        """See `TrainingCutoffs.forgotten`."""
        tables = self._tables
        with tables.lock:
            erased = frozenset(map(tables.key_of, tables.tombstones))
            return Forgotten(tables.hash_key, dict(tables.cutoffs), erased & tables.cutoffs.keys())


def _state_of(tables: Tables, user_id: str) -> UserState:
    if user_id in tables.users:
        return tables.users[user_id][0]
    if user_id in tables.tombstones:
        return UserState(safety=tables.tombstones[user_id][0])
    return UserState()


def _add_deliveries(tables: Tables, user_id: str, page: tuple[Delivery, ...]) -> None:
    if page:
        tables.pages.setdefault(user_id, []).append((max(delivery.at for delivery in page), page))


def _is_unchanged(tables: Tables, user_id: str, version: Version | None, log_seq: int | None) -> bool:
    """Whether the user is still at a version, and nothing was logged after an entry; None = whatever."""
    newest = max((entry.seq for entry in tables.events.get(user_id, {}).values()), default=0)
    return version in (None, tables.version_of(user_id)) and (log_seq is None or newest <= log_seq)


def _delete(tables: Tables, user_id: str) -> dict[str, int]:
    """Everything of a user but what names nobody; rows deleted per table."""
    decisions = [key for key in tables.decisions if key[0] == user_id]
    for key in decisions:
        del tables.decisions[key]
    tables.tombstones.pop(user_id, None)
    return {
        "users": 0 if tables.users.pop(user_id, None) is None else 1,
        "deliveries": sum(len(page) for _, page in tables.pages.pop(user_id, [])),
        "decisions": len(decisions),
        "events": len(tables.events.pop(user_id, {})),
    }


def _forget(tables: Tables, user_id: str, before: Millis) -> None:
    key = tables.key_of(user_id)
    tables.cutoffs[key] = max(before, tables.cutoffs.get(key, 0))


def prune_users(tables: Tables, expired: Expiry, known: Set[str]) -> dict[str, int]:
    """
    Delete pages of deliveries, tombstones and cut-offs that are past their retention; rows deleted per table.

    `known`: erased people whom the model in service knows.
    """
    return {
        "deliveries": _prune_pages(tables, expired.deliveries),
        "tombstones": _prune_tombstones(tables, expired.tombstones, known),
        "forgotten": _prune_cutoffs(tables, expired.cutoffs, {tables.key_of(user_id) for user_id in known}),
    }


def _prune_pages(tables: Tables, oldest: Millis) -> int:
    deleted = 0
    for user_id, pages in tuple(tables.pages.items()):
        fresh = [page for page in pages if page[0] >= oldest]
        deleted += len(pages) - len(fresh)
        tables.pages[user_id] = fresh
    return deleted


def _prune_tombstones(tables: Tables, oldest: Millis, known: Set[str]) -> int:
    old = [user_id for user_id, (_, _, at) in tables.tombstones.items() if at < oldest]
    for user_id in old:
        _, version, at = tables.tombstones.pop(user_id)
        if user_id in known:
            tables.tombstones[user_id] = (ERASED, version, at)
    return len(set(old) - known)


def _prune_cutoffs(tables: Tables, oldest: Millis, known: Set[bytes]) -> int:
    old = [key for key, before in tables.cutoffs.items() if before < oldest and key not in known]
    for key in old:
        del tables.cutoffs[key]
    return len(old)
