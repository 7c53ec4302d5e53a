"""States of people in the state file, their deliveries, erasure, and the cut-offs for training."""

import hashlib
import hmac
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.stores.protocols import DecisionRecord, Forgotten, Read, Version
from recsys.stores.retention import ERASED, Expiry
from recsys.user.state import Delivery, Parts, UserState, pack, unpack, unpack_safety
from serving.stores.sqlite.decisions import ANSWER_COLUMNS, add_decision, answer_of
from serving.stores.sqlite.exposure import add_counts
from serving.stores.sqlite.file import Database
from serving.stores.sqlite.prune import prune_table

_DELIVERIES: Final = msgspec.msgpack.Decoder(tuple[Delivery, ...])
_READ: Final = f"""
    SELECT m.revision, u.version, u.person, u.safety, u.seen, u.interactions, t.version, t.safety,
           {", ".join(f"d.{column}" for column in ANSWER_COLUMNS)}
    FROM meta m LEFT JOIN users u ON u.user_id = ?1 LEFT JOIN tombstones t ON t.key = ?2
    LEFT JOIN decisions d ON d.user_id = ?1 AND d.request_id = ?3
"""
_REPLACE: Final = """
    UPDATE users SET version = (SELECT writes + 1 FROM meta), person = ?, safety = ?, seen = ?, interactions = ?
    WHERE user_id = ? AND version = ?
"""
_INSERT: Final = "INSERT INTO users VALUES (?, (SELECT writes + 1 FROM meta), ?, ?, ?, ?)"


class SqliteUsers:
    """`UserStore` in SQLite. `hash_key` is the file's key for the ids of people who were erased."""

    def __init__(self, database: Database, hash_key: bytes) -> None:
        self._database = database
        self._hash_key = hash_key

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`. One statement, so one snapshot."""
        with self._database.reading() as connection:
            row = connection.execute(_READ, (user_id, key_of(self._hash_key, user_id), request_id)).fetchone()
        try:
            state, version = _state_of(row[1:8])
        except msgspec.DecodeError as error:
            raise StoreError(
                f"the state of a user cannot be read ({error}); restore the last copy of the file"
            ) from error
        return Read(
            state=state, version=version, revision=row[0], answer=None if row[8] is None else answer_of(row[8:])
        )

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        parts, key = pack(state), key_of(self._hash_key, user_id)
        page = None if record is None else msgspec.msgpack.encode(record.deliveries)

        def work(connection: sqlite3.Connection) -> bool:
            if not _swap(connection, user_id, key, parts, version):
                return False
            at = 0 if record is None else record.answer.at
            connection.execute("UPDATE meta SET writes = writes + 1, committed_at = max(committed_at, ?)", (at,))
            if record is not None and page is not None:
                _add_deliveries(connection, user_id, record.deliveries, page)
                add_counts(connection, record.exposure)
                add_decision(connection, user_id, record.answer)
            return True

        return self._database.write(work)

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        with self._database.reading() as connection:
            pages = connection.execute(
                "SELECT packed FROM deliveries WHERE user_id = ? AND at >= ? ORDER BY seq", (user_id, since)
            ).fetchall()
        return tuple(d for (page,) in pages for d in _DELIVERIES.decode(page) if d.at >= since)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        with self._database.reading() as connection:
            committed_at: Millis = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
        return committed_at

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
        key = key_of(self._hash_key, user_id)

        def work(connection: sqlite3.Connection) -> dict[str, int] | None:
            if not _is_unchanged(connection, user_id, key, version, log_seq):
                return None
            return _erase(connection, user_id, key, at, tombstone)

        deleted = self._database.write(work)
        if deleted is not None:
            self._database.wipe()
        return deleted


class SqliteCutoffs:
    """`TrainingCutoffs` in SQLite."""

    def __init__(self, database: Database, hash_key: bytes) -> None:
        self._database = database
        self._hash_key = hash_key

    def forget(self, user_id: str, before: Millis) -> None:
        """See `TrainingCutoffs.forget`."""
        key = key_of(self._hash_key, user_id)
        self._database.write(lambda connection: _forget(connection, key, before))

    def forgotten(self) -> Forgotten:
        """See `TrainingCutoffs.forgotten`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT key, before, key IN (SELECT key FROM tombstones) FROM forgotten"
            ).fetchall()
        before = {key: at for key, at, _ in rows}
        return Forgotten(self._hash_key, before, frozenset(key for key, _, is_erased in rows if is_erased))


def key_of(hash_key: bytes, user_id: str) -> bytes:
    """The keyed hash under which an erased person is remembered."""
    return hmac.digest(hash_key, user_id.encode(), hashlib.sha256)


def _state_of(columns: Sequence[Any]) -> tuple[UserState, Version]:
    """State and version from the user's row, else from the tombstone, else afresh."""
    version, person, safety, seen, interactions, stone_version, stone = columns
    if version is not None:
        return unpack((person, safety, seen, interactions)), version
    if stone_version is not None:
        return UserState(safety=unpack_safety(stone)), stone_version
    return UserState(), 0


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


def _add_deliveries(
    connection: sqlite3.Connection, user_id: str, deliveries: Sequence[Delivery], packed: bytes
) -> None:
    if deliveries:
        connection.execute(
            "INSERT INTO deliveries (user_id, at, packed) VALUES (?, ?, ?)",
            (user_id, max(delivery.at for delivery in deliveries), packed),
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


def prune_users(database: Database, hash_key: bytes, expired: Expiry, people: Iterable[str]) -> dict[str, int]:
    """
    Delete pages of deliveries, tombstones and cut-offs that are past their retention; rows deleted per table.

    `people`: whom the model in service knows. Of an erased one among them the hash alone stays.
    """
    _empty_known_tombstones(database, hash_key, expired, people)
    return {
        "deliveries": prune_table(database, "deliveries", "at", expired.deliveries),
        "tombstones": prune_table(database, "tombstones", "at", expired.tombstones),
        "forgotten": prune_table(database, "forgotten", "before", expired.cutoffs),
    }


def _empty_known_tombstones(database: Database, hash_key: bytes, expired: Expiry, people: Iterable[str]) -> None:
    """Empty the old tombstones of people whom the model in service knows, and date them so that they stay."""
    with database.reading() as connection:
        rows = connection.execute("SELECT key FROM tombstones WHERE at < ?", (expired.tombstones,)).fetchall()
    old = {key for (key,) in rows}
    known = old.intersection(key_of(hash_key, user_id) for user_id in people) if old else set()
    if not known:
        return

    def work(connection: sqlite3.Connection) -> None:
        bare = pack(UserState(safety=ERASED))[1]
        connection.executemany(
            "UPDATE tombstones SET safety = ?, at = ? WHERE key = ?", [(bare, expired.tombstones, key) for key in known]
        )
        connection.executemany(
            "UPDATE forgotten SET before = max(before, ?) WHERE key = ?", [(expired.cutoffs, key) for key in known]
        )

    database.write(work)
