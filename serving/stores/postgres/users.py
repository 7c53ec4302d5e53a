"""States of people in the database, their deliveries, erasure, and the cut-offs for training."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.safety.loop.levels import HIGHEST_LEVEL
from recsys.stores.audit import LOCAL, AuditEntry, erased_name, erasure_entry
from recsys.stores.protocols import DecisionRecord, ExposureCount, Forgotten, Read, Version
from recsys.stores.retention import ERASED, SAFETY_RETENTION_MS, Expiry
from recsys.user.state import Delivery, LoopState, SafetyState, UserState, pack, unpack_safety
from serving.stores.postgres.audit import add_entries
from serving.stores.postgres.events import read_logged
from serving.stores.postgres.sealed import SealedRows, lock_of
from serving.stores.postgres.server import Connection
from serving.stores.sealing import (
    DECISIONS,
    DELIVERIES,
    EVENTS,
    NUMBER_BYTES,
    PARTS,
    Key,
    open_tombstone,
    read_answer,
    read_pages,
    read_state,
    seal_answer,
    seal_page,
    seal_parts,
    seal_tombstone,
)

_READ: Final = """
    SELECT m.revision, p.version, p.person, p.safety, p.seen, p.interactions, p.stone,
        d.sealed, e.seqs, e.times, e.sealed
    FROM sanad.meta m
    LEFT JOIN sanad.people p ON p.owner = %(owner)s
    LEFT JOIN LATERAL (
        SELECT sealed FROM sanad.decisions
        WHERE owner = %(owner)s AND request = %(request)s AND at >= m.decisions_since ORDER BY seq DESC LIMIT 1
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(seq ORDER BY seq) AS seqs, array_agg(received_at ORDER BY seq) AS times,
            array_agg(sealed ORDER BY seq) AS sealed
        FROM sanad.events
        WHERE owner = %(owner)s AND seq > coalesce(p.log_seq, 0) AND received_at >= m.events_since
    ) e ON true
"""
_ALONE: Final = "SELECT sanad.write_state(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_PAGE: Final = (
    "SELECT sanad.write_page(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::int, %s, %s, %s, %s::text::jsonb)"
)
_ERASE: Final = "SELECT * FROM sanad.erase(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_KINDS: Final = ("users", "deliveries", "decisions", "events")
_WRITTEN, _DEAD = 1, 2


class PostgresUsers:
    """`UserStore` in PostgreSQL, sealed."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows: Final = rows
        self._database: Final = rows.database
        self._vault: Final = rows.vault

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`. One statement, so one snapshot and one round trip."""
        owner = self._vault.hide(user_id)
        request = None if request_id is None else self._vault.hide(request_id)
        [row] = self._database.read(_READ, {"owner": owner, "request": request})
        revision, version, *parts, stone, answer, seqs, times, events = row
        sealed = [
            *(zip(parts, PARTS, strict=True) if parts[0] is not None else ()),
            *([(answer, DECISIONS)] if answer is not None else ()),
            *((event, EVENTS) for event in events or ()),
        ]
        opened = iter(self._rows.open(owner, *sealed) if sealed else ())
        try:
            state = self._state_of(owner, None if parts[0] is None else [*islice(opened, len(parts))], stone)
        except msgspec.DecodeError as error:
            raise StoreError(f"the state of a user cannot be read ({error}); restore the last copy") from error
        found = None if answer is None else next(opened)
        return Read(
            state=state,
            version=version or 0,
            revision=revision,
            answer=None if found is None else read_answer(found),
            logged=read_logged(seqs or (), times or (), [*opened]),
        )

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`. One call of a function on the server, so one round trip."""
        parts, owner, log_seq = pack(state), self._vault.hide(user_id), state.interactions.log_seq

        def work(keys: Mapping[str, Key]) -> bool | None:
            key = keys[user_id]
            sealed = seal_parts(parts, key, owner)
            values: list[object] = [lock_of(owner), owner, version, log_seq, key.number, *sealed]
            if record is None:
                [(outcome,)] = self._database.write(_ALONE, values)
            else:
                more, instants = self._page(record, key, owner), _instants(record)
                [(outcome,)] = self._rows.insert(_PAGE, values + more, instants)
            return None if outcome == _DEAD else outcome == _WRITTEN

        return self._rows.write([user_id], work)

    def _page(self, record: DecisionRecord, key: Key, owner: bytes) -> list[object]:
        """What a page adds to the state: the values of `sanad.write_page` from `_at` on."""
        page, answer = record.deliveries, record.answer
        return [
            answer.at,
            max((delivery.at for delivery in page), default=0),
            len(page),
            seal_page(page, key, owner) if page else None,
            self._vault.hide(answer.request_id),
            seal_answer(answer, key, owner),
            _counts(record.exposure),
        ]

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        owner = self._vault.hide(user_id)
        pages = self._database.read(
            "SELECT sealed FROM sanad.deliveries WHERE owner = %s "
            "AND at >= greatest(%s, (SELECT deliveries_since FROM sanad.meta)) ORDER BY seq",
            (owner, since),
        )
        return read_pages(self._rows.open(owner, *((page, DELIVERIES) for (page,) in pages)) if pages else (), since)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`."""
        [(at,)] = self._database.read("SELECT coalesce(max(at), 0) FROM sanad.written")
        return int(at)

    def commit_time(self, at: Millis) -> None:
        """See `UserStore.commit_time`. Asks for the keys too: without them nothing of a new person can be written."""
        self._database.write("SELECT sanad.commit_time(%s)", (at,))
        self._vault.check()

    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None:
        """See `UserStore.set_time`. Whatever is being committed ends first."""

        def work(connection: Connection) -> None:
            connection.execute("LOCK TABLE sanad.written IN EXCLUSIVE MODE")
            connection.execute("DELETE FROM sanad.written")
            connection.execute("SELECT sanad.commit_time(%s)", (at,))
            add_entries(connection, audit)

        self._database.transact(work)

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
        self._vault.forget([owner])
        key = self._vault.find(owner)
        entry = erasure_entry(at, who, self._vault.hide(erased_name(user_id)))
        stone = None if tombstone is None else seal_tombstone(self._vault, tombstone, owner)
        number = None if key is None else key.number
        rows = self._database.write(
            _ERASE, (lock_of(owner), owner, at, stone, version, log_seq, number, entry.who, entry.what)
        )
        if not rows:
            return None
        self._vault.note_erased({owner: at})
        if key is not None:
            self._rows.shred(key.number)
        return dict(zip(_KINDS, rows[0], strict=True))

    def _state_of(self, owner: bytes, opened: Sequence[bytes | None] | None, stone: bytes | None) -> UserState:
        """The state from its parts, else from the tombstone, else afresh."""
        if opened is not None:
            return read_state(opened)
        return UserState() if stone is None else UserState(safety=open_tombstone(self._vault, stone, owner))


class PostgresCutoffs:
    """`TrainingCutoffs` in PostgreSQL."""

    def __init__(self, rows: SealedRows) -> None:
        self._database: Final = rows.database
        self._vault: Final = rows.vault

    def forget(self, user_id: str, before: Millis) -> None:
        """See `TrainingCutoffs.forget`."""
        self._database.write(
            "INSERT INTO sanad.forgotten VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET before = greatest(sanad.forgotten.before, excluded.before)",
            (self._vault.hide(user_id), before),
        )

    def forgotten(self) -> Forgotten:
        """See `TrainingCutoffs.forgotten`."""
        rows = self._database.read(
            "SELECT key, before, stone IS NOT NULL FROM sanad.forgotten LEFT JOIN sanad.people ON owner = key"
        )
        before = {key: at for key, at, _ in rows}
        return Forgotten(self._vault.index_key, before, frozenset(key for key, _, is_erased in rows if is_erased))


def _instants(record: DecisionRecord) -> list[Millis]:
    return [record.answer.at, *(delivery.at for delivery in record.deliveries)]


def _counts(exposure: Sequence[ExposureCount]) -> str | None:
    """What a page counts, as the outbox holds it."""
    if not exposure:
        return None
    rows = [(c.creator_id.encode().hex(), c.day, c.country, c.region, c.attribution, c.is_local, c.n) for c in exposure]
    return msgspec.json.encode(rows).decode()


def erase_again(rows: SealedRows, at: Millis) -> Mapping[str, int]:
    """
    Erase whoever was erased after a restored copy was made: the keys have noted it, and what they sealed is unreadable.
    So is somebody erased of whom the copy has events alone, or nothing: the next model must not know them. What the
    ledger knew of them is gone too, so that their level is the highest for as long as an erasure leaves anything.
    Deleted rows by table.
    """
    noted = rows.vault.erased()
    sealed: dict[bytes, bytes | None] = dict(
        rows.database.read(
            "SELECT owner, substr(safety, 1, %s) FROM sanad.people WHERE owner = ANY (%s::bytea[]) "
            "AND safety IS NOT NULL",
            (NUMBER_BYTES, list(noted)),
        )
    )
    again = {owner: number for owner, number in sealed.items() if number and rows.vault.is_destroyed(number)}
    cutoffs: dict[bytes, Millis] = dict(
        rows.database.read("SELECT key, before FROM sanad.forgotten WHERE key = ANY (%s::bytea[])", (list(noted),))
    )
    unknown = [o for o, then in noted.items() if then >= at - SAFETY_RETENTION_MS and cutoffs.get(o, -1) < then]
    found: dict[bytes, bytes | None] = {**dict.fromkeys(unknown), **again}
    loop = LoopState(level=HIGHEST_LEVEL, raised_at=at, clean_since=at)
    packed = pack(UserState(safety=SafetyState(loop=loop, is_erased=True)))[1]
    deleted = dict.fromkeys(_KINDS, 0)
    for owner, number in found.items():
        stone = seal_tombstone(rows.vault, packed, owner)
        [counts] = rows.database.write(_ERASE, (lock_of(owner), owner, at, stone, None, None, number, None, None))
        deleted = {kind: deleted[kind] + n for kind, n in zip(_KINDS, counts, strict=True)}
    return deleted


def note_tombstones(rows: SealedRows) -> None:
    """Note with the keys who was erased lately; a crash may have come before the note."""
    rows.vault.note_erased(
        dict(rows.database.read("SELECT owner, erased_at FROM sanad.people WHERE stone IS NOT NULL"))
    )


def prune_people(rows: SealedRows, expired: Expiry, people: Iterable[str]) -> dict[str, int]:
    """
    Delete tombstones and cut-offs that are past their retention; rows deleted per table.

    `people`: whom the model in service knows. Of an erased one among them the hash alone stays.
    """
    database = rows.database
    _empty_known_tombstones(rows, expired, people)
    database.write("DELETE FROM sanad.shreds WHERE at < %s AND is_done", (expired.tombstones,))
    stones = "DELETE FROM sanad.people WHERE stone IS NOT NULL AND erased_at < %s RETURNING 1"
    return {
        "tombstones": len(database.write(stones, (expired.tombstones,))),
        "forgotten": len(
            database.write("DELETE FROM sanad.forgotten WHERE before < %s RETURNING 1", (expired.cutoffs,))
        ),
    }


def _empty_known_tombstones(rows: SealedRows, expired: Expiry, people: Iterable[str]) -> None:
    """Empty the old tombstones of people whom the model in service knows, and date them so that they stay."""
    stones = rows.database.read(
        "SELECT owner FROM sanad.people WHERE stone IS NOT NULL AND erased_at < %s", (expired.tombstones,)
    )
    old = {owner for (owner,) in stones}
    known = sorted(old.intersection(map(rows.vault.hide, people))) if old else []
    bare = pack(UserState(safety=ERASED))[1]
    for owner in known:
        values: tuple[Any, ...] = (seal_tombstone(rows.vault, bare, owner), expired.tombstones, owner)
        rows.database.write(
            "UPDATE sanad.people SET stone = %s, erased_at = %s WHERE owner = %s AND stone IS NOT NULL", values
        )
        rows.database.write(
            "UPDATE sanad.forgotten SET before = greatest(before, %s) WHERE key = %s", (expired.cutoffs, owner)
        )
