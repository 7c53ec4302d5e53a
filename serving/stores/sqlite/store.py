"""
The state file: people, events and the live catalogue in one SQLite file, to the protocols of `recsys.stores.protocols`.

What is answered was flushed to disk. It survives the end of the process at any moment; it survives a power cut when
the disk keeps its promise to flush. How writing works: `serving.stores.sqlite.file`.
"""

import hashlib
import hmac
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from recsys.clock import DAY, Millis
from recsys.errors import StoreError
from recsys.stores.protocols import (
    EXPOSURE_DAYS_APART,
    RETENTION_MS,
    AppendResult,
    DecisionRecord,
    ExposureCount,
    Forgotten,
    Logged,
    Read,
    StoredAnswer,
    Version,
)
from recsys.types import Event
from recsys.user.state import Delivery, Parts, SafetyState, UserState, pack, unpack, unpack_safety
from serving.stores.sqlite import exposure as sqlite_tallies
from serving.stores.sqlite.catalogue import SqliteCatalogue
from serving.stores.sqlite.file import PATIENCE_S, Database
from serving.stores.sqlite.schema import create

_DELIVERIES: Final = msgspec.msgpack.Decoder(tuple[Delivery, ...])
_EVENT: Final = msgspec.msgpack.Decoder(Event)
_ANSWER: Final = "request_id, user_id, at, body_hash, answer, decision"
_PRUNED_AT_ONCE: Final = 500  # rows; feeds are served between two rounds

_READ: Final = """
    SELECT m.revision, u.version, u.person, u.counted, u.seen, u.taste, t.version, t.counted,
           d.request_id, d.user_id, d.at, d.body_hash, d.answer, d.decision
    FROM meta m LEFT JOIN users u ON u.user_id = ?1 LEFT JOIN tombstones t ON t.key = ?2
    LEFT JOIN decisions d ON d.user_id = ?1 AND d.request_id = ?3
"""
_REPLACE: Final = """
    UPDATE users SET version = (SELECT writes + 1 FROM meta), person = ?, counted = ?, seen = ?, taste = ?
    WHERE user_id = ? AND version = ?
"""
_INSERT: Final = "INSERT INTO users VALUES (?, (SELECT writes + 1 FROM meta), ?, ?, ?, ?)"


def _stored(columns: Sequence[Any]) -> StoredAnswer:
    request_id, user_id, at, body_hash, answer, decision = columns
    return StoredAnswer(
        request_id=request_id, user_id=user_id, at=at, body_hash=body_hash, answer=answer, decision=decision
    )


class SqliteUsers:
    """`UserStore` in SQLite."""

    def __init__(self, database: Database, hash_key: bytes) -> None:
        self._database = database
        self._hash_key = hash_key

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`. One statement, so one snapshot."""
        with self._database.reading() as connection:
            row = connection.execute(_READ, (user_id, self.key_of(user_id), request_id)).fetchone()
        try:
            state, version = _state(row[1:8])
        except msgspec.DecodeError as error:
            raise StoreError(
                f"the state of a user cannot be read ({error}); restore the last copy of the file"
            ) from error
        return Read(
            state=state, version=version, revision=row[0], answer=None if row[8] is None else _stored(row[8:14])
        )

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        parts, key = pack(state), self.key_of(user_id)
        page = None if record is None else msgspec.msgpack.encode(record.deliveries)

        def work(connection: sqlite3.Connection) -> bool:
            if not _swap(connection, user_id, key, parts, version):
                return False
            at = 0 if record is None else record.answer.at
            connection.execute("UPDATE meta SET writes = writes + 1, committed_at = max(committed_at, ?)", (at,))
            if record is not None and page is not None:
                _record(connection, user_id, record, page)
            return True

        return self._database.write(work)

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        with self._database.reading() as connection:
            pages = connection.execute(
                "SELECT packed FROM deliveries WHERE user_id = ? AND at >= ? ORDER BY seq", (user_id, since)
            ).fetchall()
        return tuple(d for (page,) in pages for d in _DELIVERIES.decode(page) if d.at >= since)

    def decision(self, request_id: str) -> StoredAnswer | None:
        """See `UserStore.decision`. Two users may use one request id: the newest is returned."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_ANSWER} FROM decisions WHERE request_id = ? ORDER BY seq DESC LIMIT 1", (request_id,)
            ).fetchone()
        return None if row is None else _stored(row)

    def decisions(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `UserStore.decisions`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_ANSWER} FROM decisions WHERE user_id = ? ORDER BY seq", (user_id,)
            ).fetchall()
        return tuple(_stored(row) for row in rows)

    def tallies(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `UserStore.tallies`."""
        return sqlite_tallies.tallies(self._database, creator_id)

    def reach(self) -> Mapping[str, int]:
        """See `UserStore.reach`."""
        return sqlite_tallies.reach(self._database)

    def local_share(self, country: str, since_day: int) -> tuple[int, int]:
        """See `UserStore.local_share`."""
        return sqlite_tallies.local_share(self._database, country, since_day)

    def steering(self, market: str) -> bytes | None:
        """See `UserStore.steering`."""
        return sqlite_tallies.steering(self._database, market)

    def steer(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `UserStore.steer`."""
        return sqlite_tallies.steer(self._database, market, before, after)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        with self._database.reading() as connection:
            committed_at: Millis = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
        return committed_at

    def latest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `UserStore.latest`."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_ANSWER} FROM decisions ORDER BY seq DESC LIMIT ?", (n,)).fetchall()
        return tuple(_stored(row) for row in rows)

    def forget(self, user_id: str, before: Millis) -> None:
        """See `UserStore.forget`."""
        key = self.key_of(user_id)
        self._database.write(lambda connection: _forget(connection, key, before))

    def forgotten(self) -> Forgotten:
        """See `UserStore.forgotten`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT key, before, key IN (SELECT key FROM tombstones) FROM forgotten"
            ).fetchall()
        before = {key: at for key, at, _ in rows}
        return Forgotten(self._hash_key, before, frozenset(key for key, _, is_erased in rows if is_erased))

    def erase(
        self,
        user_id: str,
        at: Millis,
        tombstone: bytes | None,
        version: Version | None = None,
        log_seq: int | None = None,
    ) -> Mapping[str, int] | None:
        """See `UserStore.erase`. In a file above 64 MB, stale copies inside pages wait for `SqliteStore.compact`."""
        if tombstone is not None:
            unpack_safety(tombstone)
        key = self.key_of(user_id)

        def work(connection: sqlite3.Connection) -> dict[str, int] | None:
            if not _is_unchanged(connection, user_id, key, version, log_seq):
                return None
            return _erase(connection, user_id, key, at, tombstone)

        deleted = self._database.write(work)
        if deleted is not None:
            self._database.wipe()
        return deleted

    def key_of(self, user_id: str) -> bytes:
        """The keyed hash under which an erased person is remembered."""
        return hmac.digest(self._hash_key, user_id.encode(), hashlib.sha256)


def _state(columns: Sequence[Any]) -> tuple[UserState, Version]:
    """State and version from the user's row, else from the tombstone, else afresh."""
    version, person, counted, seen, taste, stone_version, stone = columns
    if version is not None:
        return unpack((person, counted, seen, taste)), version
    if stone_version is not None:
        return UserState(safety=unpack_safety(stone)), stone_version
    return UserState(safety=SafetyState()), 0


def _swap(connection: sqlite3.Connection, user_id: str, key: bytes, parts: Parts, version: Version) -> bool:
    """Compare and swap: False, with nothing written, when the user's version is another."""
    if connection.execute(_REPLACE, (*parts, user_id, version)).rowcount == 1:
        return True
    if connection.execute("SELECT 1 FROM users WHERE user_id = ?", (user_id,)).fetchone() is not None:
        return False
    stone = connection.execute("SELECT version FROM tombstones WHERE key = ?", (key,)).fetchone()
    if version != (0 if stone is None else stone[0]):
        return False
    connection.execute(_INSERT, (user_id, *parts))
    connection.execute("DELETE FROM tombstones WHERE key = ?", (key,))
    return True


def _record(connection: sqlite3.Connection, user_id: str, record: DecisionRecord, page: bytes) -> None:
    """The deliveries and the answer of one page."""
    if record.deliveries:
        connection.execute(
            "INSERT INTO deliveries (user_id, at, packed) VALUES (?, ?, ?)",
            (user_id, max(d.at for d in record.deliveries), page),
        )
    sqlite_tallies.count(connection, record.tallies)
    answer = record.answer
    connection.execute(
        f"INSERT OR REPLACE INTO decisions ({_ANSWER}) VALUES (?, ?, ?, ?, ?, ?)",
        (answer.request_id, user_id, answer.at, answer.body_hash, answer.answer, answer.decision),
    )


def _is_unchanged(
    connection: sqlite3.Connection, user_id: str, key: bytes, version: Version | None, log_seq: int | None
) -> bool:
    """Whether the user is still at a version, and nothing was logged after an entry; None = whatever."""
    row = connection.execute(
        "SELECT coalesce((SELECT version FROM users WHERE user_id = ?1), (SELECT version FROM tombstones "
        "WHERE key = ?2), 0), coalesce((SELECT max(seq) FROM events WHERE user_id = ?1), 0)",
        (user_id, key),
    ).fetchone()
    return (version is None or row[0] == version) and (log_seq is None or row[1] <= log_seq)


def _erase(
    connection: sqlite3.Connection, user_id: str, key: bytes, at: Millis, tombstone: bytes | None
) -> dict[str, int]:
    pages = connection.execute("SELECT packed FROM deliveries WHERE user_id = ?", (user_id,)).fetchall()
    deleted = {
        table: connection.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,)).rowcount
        for table in ("users", "deliveries", "decisions", "events")
    }
    deleted["deliveries"] = sum(len(_DELIVERIES.decode(page)) for (page,) in pages)
    connection.execute("DELETE FROM tombstones WHERE key = ?", (key,))
    connection.execute("UPDATE meta SET writes = writes + 1, committed_at = max(committed_at, ?)", (at,))
    _forget(connection, key, at)
    if tombstone is not None:
        connection.execute("INSERT INTO tombstones VALUES (?, (SELECT writes FROM meta), ?, ?)", (key, at, tombstone))
    return deleted


def _forget(connection: sqlite3.Connection, key: bytes, before: Millis) -> None:
    connection.execute(
        "INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET before = max(before, excluded.before)",
        (key, before),
    )


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


class SqliteStore:
    """
    The three stores over one file. `kept` is how long decisions and events stay, in milliseconds (8 days at least).

    Raises StoreError when the file is locked, damaged, not writable, of another program or of another format.
    """

    def __init__(self, path: Path, kept: Millis = 30 * DAY, patience_s: float = PATIENCE_S) -> None:
        self._database: Final = Database(path, create, patience_s)
        self._kept = max(kept, RETENTION_MS)
        with self._database.reading() as connection:
            hash_key = connection.execute("SELECT hash_key FROM meta").fetchone()[0]
        self.users: Final = SqliteUsers(self._database, hash_key)
        self.events: Final = SqliteEvents(self._database)
        self.catalogue: Final = SqliteCatalogue(self._database)

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def lets_go(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return at - self._kept

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`, a few rows (whole pages of deliveries) at a time; rows deleted.

        `people` are those whom the model in service knows: of an erased one among them the hash alone stays.
        """
        self._keep_hashes(at - RETENTION_MS, people)
        return {
            "deliveries": self._prune("deliveries", "at", at - RETENTION_MS),
            "decisions": self._prune("decisions", "at", at - self._kept),
            "events": self._prune("events", "received_at", at - self._kept),
            "tombstones": self._prune("tombstones", "at", at - RETENTION_MS),
            "tallies": sqlite_tallies.join_old_days(self._database, at // DAY - EXPOSURE_DAYS_APART),
            "forgotten": self._prune("forgotten", "before", at - RETENTION_MS),
        }

    def _keep_hashes(self, oldest: Millis, people: Iterable[str]) -> None:
        """Empty the old tombstones of people whom the model in service knows, and date them so that they stay."""
        with self._database.reading() as connection:
            old = {key for (key,) in connection.execute("SELECT key FROM tombstones WHERE at < ?", (oldest,))}
        known = [(oldest, key) for key in old.intersection(map(self.users.key_of, people))] if old else []
        if not known:
            return

        def work(connection: sqlite3.Connection) -> None:
            bare = pack(UserState(safety=SafetyState(is_erased=True)))[1]
            connection.executemany(
                "UPDATE tombstones SET counted = ?, at = ? WHERE key = ?", [(bare, *k) for k in known]
            )
            connection.executemany("UPDATE forgotten SET before = max(before, ?) WHERE key = ?", known)

        self._database.write(work)

    def _prune(self, table: str, column: str, oldest: Millis) -> int:
        rows = f"SELECT rowid FROM {table} WHERE {column} < ? LIMIT {_PRUNED_AT_ONCE}"
        deleted = 0
        while True:
            n = self._database.write(
                lambda connection: (
                    connection.execute(f"DELETE FROM {table} WHERE rowid IN ({rows})", (oldest,)).rowcount
                )
            )
            deleted += n
            if n < _PRUNED_AT_ONCE:
                return deleted

    def compact(self) -> None:
        """Rewrite the file without deleted content; writers wait. For a quiet hour. Raises StoreError."""
        self._database.compact()

    def close(self) -> None:
        """Write what is queued, then close the file. Later calls raise StoreError."""
        self._database.close()
