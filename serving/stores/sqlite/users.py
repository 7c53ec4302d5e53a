"""States of people in the state file, their deliveries, erasure, and the cut-offs for training."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.safety.loop.levels import HIGHEST_LEVEL
from recsys.stores.audit import LOCAL, AuditEntry, erased_name, erasure_entry
from recsys.stores.protocols import DecisionRecord, Forgotten, Read, Version
from recsys.stores.retention import ERASED, Expiry
from recsys.user.state import Delivery, LoopState, SafetyState, UserState, pack, unpack_safety
from serving.stores.sealing import (
    DELIVERIES,
    NUMBER_BYTES,
    PARTS,
    Key,
    open_tombstone,
    read_pages,
    read_state,
    seal_answer,
    seal_page,
    seal_parts,
    seal_tombstone,
)
from serving.stores.sqlite.audit import add_entries
from serving.stores.sqlite.decisions import add_decision, open_answer
from serving.stores.sqlite.events import logged_since
from serving.stores.sqlite.exposure import CountsOfGroup
from serving.stores.sqlite.prune import prune_table
from serving.stores.sqlite.sealed import SealedRows, note_shred

_READ: Final = """
    SELECT m.revision, u.version, u.person, u.safety, u.seen, u.interactions, t.version, t.safety, d.sealed
    FROM meta m LEFT JOIN users u ON u.owner = ?1 LEFT JOIN tombstones t ON t.key = ?1
    LEFT JOIN decisions d ON d.owner = ?1 AND d.request = ?2
"""
_REPLACE: Final = """
    UPDATE users SET version = (SELECT writes + 1 FROM meta), person = ?, safety = ?, seen = ?, interactions = ?
    WHERE owner = ? AND version = ?
"""
_INSERT: Final = "INSERT INTO users VALUES (?, (SELECT writes + 1 FROM meta), ?, ?, ?, ?)"
_SEALED: Final = (("users", "safety"), ("deliveries", "sealed"), ("decisions", "sealed"), ("events", "sealed"))
"""Tables of people, each with a column that their own key sealed."""


class SqliteUsers:
    """`UserStore` in SQLite, sealed."""

    def __init__(self, rows: SealedRows, counts: CountsOfGroup) -> None:
        self._rows = rows
        self._vault: Final = rows.vault
        self._counts = counts

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`. State and answer in one statement, so one snapshot; the events after it."""
        owner = self._vault.hide(user_id)
        request = None if request_id is None else self._vault.hide(request_id)
        with self._rows.database.reading() as connection:
            row = connection.execute(_READ, (owner, request)).fetchone()
            try:
                state, version = self._state_of(owner, row[1:8])
            except msgspec.DecodeError as error:
                raise StoreError(
                    f"the state of a user cannot be read ({error}); restore the last copy of the file"
                ) from error
            logged = logged_since(self._rows, connection, owner, state.interactions.log_seq)
        answer = None if row[8] is None else open_answer(self._rows, owner, row[8])
        return Read(state=state, version=version, revision=row[0], answer=answer, logged=logged)

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`."""
        parts, owner = pack(state), self._vault.hide(user_id)

        def work(connection: sqlite3.Connection, keys: Mapping[str, Key]) -> bool:
            key = keys[user_id]
            if not _swap(connection, owner, seal_parts(parts, key, owner), version):
                return False
            at = 0 if record is None else record.answer.at
            connection.execute("UPDATE meta SET writes = writes + 1, committed_at = max(committed_at, ?)", (at,))
            if record is not None:
                _add_deliveries(connection, owner, record.deliveries, key)
                self._counts.add(record.exposure)
                request = self._vault.hide(record.answer.request_id)
                add_decision(connection, owner, request, record.answer.at, seal_answer(record.answer, key, owner))
            return True

        return self._rows.write([user_id], work)

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        owner = self._vault.hide(user_id)
        with self._rows.database.reading() as connection:
            pages = connection.execute(
                "SELECT sealed FROM deliveries WHERE owner = ? AND at >= ? ORDER BY seq", (owner, since)
            ).fetchall()
        packed = self._rows.open(owner, *((page, DELIVERIES) for (page,) in pages)) if pages else []
        return read_pages(packed, since)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        with self._rows.database.reading() as connection:
            committed_at: Millis = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
        return committed_at

    def commit_time(self, at: Millis) -> None:
        """See `UserStore.commit_time`. Asks the file of keys too: without it nothing of a new person can be written."""
        self._rows.database.write(
            lambda connection: connection.execute("UPDATE meta SET committed_at = max(committed_at, ?)", (at,))
        )
        self._vault.check()

    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None:
        """See `UserStore.set_time`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE meta SET committed_at = ?", (at,))
            add_entries(connection, audit)

        self._rows.database.write(work)

    def erase(
        self,
        user_id: str,
        at: Millis,
        tombstone: bytes | None,
        version: Version | None = None,
        log_seq: int | None = None,
        who: str = LOCAL,
    ) -> Mapping[str, int] | None:
        """
        See `UserStore.erase`. The rows go and the key's end is noted in one transaction; then the key is destroyed, and
        with it every copy of the values, wherever it is.
        """
        if tombstone is not None:
            unpack_safety(tombstone)
        owner = self._vault.hide(user_id)
        key = self._vault.find(owner)
        entry = erasure_entry(at, who, self._vault.hide(erased_name(user_id)))

        def work(connection: sqlite3.Connection) -> dict[str, int] | None:
            if not _is_unchanged(connection, owner, version, log_seq):
                return None
            stone = None if tombstone is None else seal_tombstone(self._vault, tombstone, owner)
            if key is not None:
                note_shred(connection, key.number, at)
            add_entries(connection, [entry])
            return _erase(connection, owner, at, stone)

        deleted = self._rows.database.write(work)
        if deleted is not None:
            self._vault.note_erased({owner: at})
            if key is not None:
                self._rows.shred(key.number)
        return deleted

    def _state_of(self, owner: bytes, columns: Sequence[Any]) -> tuple[UserState, Version]:
        """State and version from the user's row, else from the tombstone, else afresh."""
        version, *parts, stone_version, stone = columns
        if version is not None:
            return read_state(self._rows.open(owner, *zip(parts, PARTS, strict=True))), version
        if stone_version is not None:
            return UserState(safety=open_tombstone(self._vault, stone, owner)), stone_version
        return UserState(), 0


class SqliteCutoffs:
    """`TrainingCutoffs` in SQLite."""

    def __init__(self, rows: SealedRows) -> None:
        self._database = rows.database
        self._vault = rows.vault

    def forget(self, user_id: str, before: Millis) -> None:
        """See `TrainingCutoffs.forget`."""
        key = self._vault.hide(user_id)
        self._database.write(lambda connection: _forget(connection, key, before))

    def forgotten(self) -> Forgotten:
        """See `TrainingCutoffs.forgotten`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT key, before, key IN (SELECT key FROM tombstones) FROM forgotten"
            ).fetchall()
        before = {key: at for key, at, _ in rows}
        return Forgotten(self._vault.index_key, before, frozenset(key for key, _, is_erased in rows if is_erased))


def _swap(connection: sqlite3.Connection, owner: bytes, parts: Sequence[bytes], version: Version) -> bool:
    """Compare and swap: False, with nothing written, when the user's version is another."""
    if connection.execute(_REPLACE, (*parts, owner, version)).rowcount == 1:
        return True
    if connection.execute("SELECT 1 FROM users WHERE owner = ?", (owner,)).fetchone() is not None:
        return False
    stone = connection.execute("SELECT version FROM tombstones WHERE key = ?", (owner,)).fetchone()
    if version != (0 if stone is None else stone[0]):
        return False
    connection.execute(_INSERT, (owner, *parts))
    connection.execute("DELETE FROM tombstones WHERE key = ?", (owner,))
    return True


def _add_deliveries(connection: sqlite3.Connection, owner: bytes, deliveries: Sequence[Delivery], key: Key) -> None:
    if deliveries:
        newest = max(delivery.at for delivery in deliveries)
        connection.execute(
            "INSERT INTO deliveries (owner, at, n, sealed) VALUES (?, ?, ?, ?)",
            (owner, newest, len(deliveries), seal_page(deliveries, key, owner)),
        )


def _is_unchanged(connection: sqlite3.Connection, owner: bytes, version: Version | None, log_seq: int | None) -> bool:
    """Whether the user is still at a version, and nothing was logged after an entry; None = whatever."""
    row = connection.execute(
        "SELECT coalesce((SELECT version FROM users WHERE owner = ?1), (SELECT version FROM tombstones "
        "WHERE key = ?1), 0), coalesce((SELECT max(seq) FROM events WHERE owner = ?1), 0)",
        (owner,),
    ).fetchone()
    return (version is None or row[0] == version) and (log_seq is None or row[1] <= log_seq)


def _erase(connection: sqlite3.Connection, owner: bytes, at: Millis, tombstone: bytes | None) -> dict[str, int]:
    n_delivered = connection.execute("SELECT coalesce(sum(n), 0) FROM deliveries WHERE owner = ?", (owner,))
    deleted = {"users": 0, "deliveries": n_delivered.fetchone()[0], "decisions": 0, "events": 0}
    for table in deleted:
        n_rows = connection.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,)).rowcount
        deleted[table] = deleted[table] if table == "deliveries" else n_rows
    connection.execute("DELETE FROM tombstones WHERE key = ?", (owner,))
    connection.execute("UPDATE meta SET writes = writes + 1, committed_at = max(committed_at, ?)", (at,))
    _forget(connection, owner, at)
    if tombstone is not None:
        connection.execute("INSERT INTO tombstones VALUES (?, (SELECT writes FROM meta), ?, ?)", (owner, at, tombstone))
    return deleted


def erase_again(rows: SealedRows, at: Millis) -> dict[str, int]:
    """
    Erase whoever was erased after a restored copy was made: their keys are gone, or the file of keys has noted it. What
    the ledger knew of them is gone too, so that their level is the highest for as long as an erasure leaves anything.
    Deleted rows by table.
    """
    numbers = (f"SELECT owner, substr({column}, 1, {NUMBER_BYTES}) FROM {table}" for table, column in _SEALED)
    with rows.database.reading() as connection:
        sealed = connection.execute(" UNION ".join(numbers)).fetchall()
        committed_at: Millis = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
    unreadable = {owner for owner, number in sealed if rows.vault.is_destroyed(number)}
    owners = unreadable | rows.vault.erased_since(committed_at)
    loop = LoopState(level=HIGHEST_LEVEL, raised_at=at, clean_since=at)
    packed = pack(UserState(safety=SafetyState(loop=loop, is_erased=True)))[1]

    def work(connection: sqlite3.Connection) -> dict[str, int]:
        stones = {owner: seal_tombstone(rows.vault, packed, owner) for owner in owners}
        deleted = [_erase(connection, owner, at, stone) for owner, stone in stones.items()]
        connection.execute("UPDATE meta SET committed_at = ?", (committed_at,))  # nobody has looked at the clock yet
        return {table: sum(of_one[table] for of_one in deleted) for table, _ in _SEALED}

    return rows.database.write(work)


def note_tombstones(rows: SealedRows) -> None:
    """Note in the file of keys who was erased lately; a crash may have come before the note."""
    with rows.database.reading() as connection:
        rows.vault.note_erased(dict(connection.execute("SELECT key, at FROM tombstones").fetchall()))


def _forget(connection: sqlite3.Connection, key: bytes, before: Millis) -> None:
    connection.execute(
        "INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET before = max(before, excluded.before)",
        (key, before),
    )


def prune_users(rows: SealedRows, expired: Expiry, people: Iterable[str]) -> dict[str, int]:
    """
    Delete pages of deliveries, tombstones and cut-offs that are past their retention; rows deleted per table.

    `people`: whom the model in service knows. Of an erased one among them the hash alone stays.
    """
    database = rows.database
    _empty_known_tombstones(rows, expired, people)
    prune_table(database, "shreds", "at", expired.tombstones, key="number")
    return {
        "deliveries": prune_table(database, "deliveries", "at", expired.deliveries),
        "tombstones": prune_table(database, "tombstones", "at", expired.tombstones),
        "forgotten": prune_table(database, "forgotten", "before", expired.cutoffs),
    }


def _empty_known_tombstones(rows: SealedRows, expired: Expiry, people: Iterable[str]) -> None:
    """Empty the old tombstones of people whom the model in service knows, and date them so that they stay."""
    with rows.database.reading() as connection:
        stones = connection.execute("SELECT key FROM tombstones WHERE at < ?", (expired.tombstones,)).fetchall()
    old = {key for (key,) in stones}
    known = old.intersection(map(rows.vault.hide, people)) if old else set()
    if not known:
        return

    def work(connection: sqlite3.Connection) -> None:
        bare = pack(UserState(safety=ERASED))[1]
        connection.executemany(
            "UPDATE tombstones SET safety = ?, at = ? WHERE key = ?",
            [(seal_tombstone(rows.vault, bare, key), expired.tombstones, key) for key in known],
        )
        connection.executemany(
            "UPDATE forgotten SET before = max(before, ?) WHERE key = ?", [(expired.cutoffs, key) for key in known]
        )

    rows.database.write(work)
