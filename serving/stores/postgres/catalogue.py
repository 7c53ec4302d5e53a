"""
The catalogue in the database. `recsys.stores.catalogue_write` decides what a write does; here it is carried out. Writes
take turns by the row of the revision; pages only read it.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.stores import catalogue_write
from recsys.stores.audit import AuditEntry
from recsys.stores.protocols import CatalogueDelta, CreatorChange, CreatorRow, ItemChange, ItemRow
from serving.stores.postgres.audit import add_entries
from serving.stores.postgres.server import BULK_WAIT_S, WAIT_S, Connection, Database

_ITEM: Final = "i.item_no, i.revision, i.peak_tier, i.is_edited, i.packed, i.memory"
_SOURCE: Final = b"items of artifact"  # the name of the note among the small records
_AT_ONCE: Final = 5_000  # rows in one statement
_FEW: Final = 500  # changes that are written within the usual time
_PUT: Final = (
    "INSERT INTO sanad.items SELECT * FROM unnest(%s::int[], %s::bytea[], %s::bigint[], %s::int[], %s::boolean[], "
    "%s::bytea[], %s::bytea[]) ON CONFLICT (item_no) DO UPDATE SET revision = excluded.revision, "
    "peak_tier = excluded.peak_tier, is_edited = excluded.is_edited, packed = excluded.packed, memory = excluded.memory"
)


class PostgresCatalogue:
    """`Catalogue` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def since(self, revision: int) -> CatalogueDelta:
        """See `Catalogue.since`. All in one snapshot."""

        def work(connection: Connection) -> CatalogueDelta:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            [(newest, raised)] = _rows(connection, "SELECT revision, newest_raise FROM sanad.meta")
            items = _rows(
                connection, f"SELECT {_ITEM} FROM sanad.items i WHERE revision > %s ORDER BY item_no", revision
            )
            creators = _rows(
                connection,
                "SELECT revision, is_edited, packed FROM sanad.creators WHERE revision > %s ORDER BY creator_id",
                revision,
            )
            return CatalogueDelta(
                revision=newest,
                newest_raise=raised,
                rows=catalogue_write.PackedRows(items),
                creators=tuple(map(_creator, creators)),
            )

        return self._database.transact(work, BULK_WAIT_S)

    def put(
        self, changes: Sequence[ItemChange], at: Millis, audit: Sequence[AuditEntry] = (), source: str | None = None
    ) -> int:
        """See `Catalogue.put`. Raises DataError on a change that is no item."""
        prepared = catalogue_write.prepare(changes)

        def look(connection: Connection) -> int | None:
            """The revision, where nothing would change: loading the same artifact again costs no write."""
            if source == _source(connection) or (source is None and not catalogue_write.is_artifact(prepared)):
                known = _known(connection, prepared, "")
                if not catalogue_write.write(known, prepared):
                    return known.revision
            return None

        wait_s = WAIT_S if len(prepared) <= _FEW else BULK_WAIT_S
        settled = self._database.transact(look, wait_s)
        if settled is not None:
            return settled
        return self._database.transact(lambda connection: _put(connection, prepared, at, audit, source), wait_s)

    def source(self) -> str | None:
        """See `Catalogue.source`."""
        return self._database.transact(_source)

    def get(self, item_id: str) -> ItemRow | None:
        """See `Catalogue.get`."""
        rows = self._database.read(f"SELECT {_ITEM} FROM sanad.items i WHERE i.item_id = %s", (item_id.encode(),))
        return catalogue_write.unpack_row(_packed(rows[0])) if rows else None

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry] = ()) -> int:
        """See `Catalogue.put_creators`."""
        wait_s = WAIT_S if len(changes) <= _FEW else BULK_WAIT_S

        def look(connection: Connection) -> int | None:
            known, revision = _known_creators(connection, changes, "")
            return None if catalogue_write.write_creators(known, revision, changes) else revision

        settled = self._database.transact(look, wait_s)
        if settled is not None:
            return settled
        return self._database.transact(lambda connection: _put_creators(connection, changes, at, audit), wait_s)

    def renew(self, at: Millis) -> int:
        """See `Catalogue.renew`."""

        def work(connection: Connection) -> int:
            [(revision,)] = _rows(connection, "UPDATE sanad.meta SET revision = revision + 1 RETURNING revision")
            _commit(connection, at)
            return int(revision)

        return self._database.transact(work)

    def creator(self, creator_id: str) -> CreatorRow | None:
        """See `Catalogue.creator`."""
        rows = self._database.read(
            "SELECT revision, is_edited, packed FROM sanad.creators WHERE creator_id = %s", (creator_id.encode(),)
        )
        return _creator(rows[0]) if rows else None


def _rows(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode(), values, binary=True).fetchall()


def _commit(connection: Connection, at: Millis) -> None:
    connection.execute("SELECT sanad.commit_time(%s)", (at,))


def _source(connection: Connection) -> str | None:
    rows = _rows(connection, "SELECT packed FROM sanad.controllers WHERE market = %s", _SOURCE)
    return bytes(rows[0][0]).decode() if rows else None


def _note_source(connection: Connection, source: str | None) -> None:
    connection.execute("DELETE FROM sanad.controllers WHERE market = %s", (_SOURCE,))
    if source is not None:
        connection.execute("INSERT INTO sanad.controllers VALUES (%s, %s)", (_SOURCE, source.encode()))


def _creator(columns: tuple[Any, ...]) -> CreatorRow:
    revision, is_edited, packed = columns
    return CreatorRow(revision=revision, is_edited=is_edited, fields=msgspec.msgpack.decode(packed))


def _packed(columns: tuple[Any, ...]) -> catalogue_write.PackedRow:
    item_no, revision, peak_tier, is_edited, packed, memory = columns
    return item_no, revision, peak_tier, is_edited, packed, memory


def _known(
    connection: Connection, changes: Sequence[catalogue_write.Prepared], lock: str
) -> catalogue_write.StoredCatalogue:
    """The items that the changes touch; with `lock` nobody else writes the catalogue until the transaction ends."""
    [(revision, raised, last_no)] = _rows(connection, f"SELECT revision, newest_raise, last_no FROM sanad.meta {lock}")
    known = catalogue_write.StoredCatalogue(last_no=last_no, revision=revision, newest_raise=raised)
    ids = [change.item_id.encode() for change in changes] if last_no else []
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        for row in _rows(
            connection, f"SELECT {_ITEM}, i.item_id FROM sanad.items i WHERE item_id = ANY (%s::bytea[])", some
        ):
            item_no, revision_of, peak_tier, is_edited, packed, memory, item_id = row
            known.items[item_id.decode()] = catalogue_write.StoredItem(
                item_no=item_no, revision=revision_of, peak_tier=peak_tier, is_edited=is_edited, packed=packed,
                memory=memory,
            )  # fmt: skip
    return known


def _put(
    connection: Connection,
    changes: Sequence[catalogue_write.Prepared],
    at: Millis,
    audit: Sequence[AuditEntry],
    source: str | None,
) -> int:
    known = _known(connection, changes, "FOR UPDATE")
    touched = catalogue_write.write(known, changes)
    if source is not None or catalogue_write.is_artifact(changes):
        _note_source(connection, source)
    items = sorted((known.items[key].item_no, key.encode(), known.items[key]) for key in touched)
    for start in range(0, len(items), _AT_ONCE):
        some = items[start : start + _AT_ONCE]
        connection.execute(
            _PUT,
            (
                [no for no, _, _ in some], [key for _, key, _ in some], [i.revision for _, _, i in some],
                [i.peak_tier for _, _, i in some], [i.is_edited for _, _, i in some], [i.packed for _, _, i in some],
                [i.memory for _, _, i in some],
            ),
        )  # fmt: skip
    if touched:
        connection.execute(
            "UPDATE sanad.meta SET revision = %s, newest_raise = %s, last_no = %s",
            (known.revision, known.newest_raise, known.last_no),
        )
        _commit(connection, at)
        add_entries(connection, audit)
    return known.revision


def _known_creators(
    connection: Connection, changes: Sequence[CreatorChange], lock: str
) -> tuple[dict[str, CreatorRow], int]:
    """The creators that the changes touch, and the revision."""
    [(revision,)] = _rows(connection, f"SELECT revision FROM sanad.meta {lock}")
    ids = sorted({str(change.fields.get("creator_id")).encode() for change in changes})
    rows = _rows(
        connection,
        "SELECT creator_id, revision, is_edited, packed FROM sanad.creators WHERE creator_id = ANY (%s::bytea[])",
        ids,
    )
    return {row[0].decode(): _creator(row[1:]) for row in rows}, revision


def _put_creators(
    connection: Connection, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry]
) -> int:
    known, revision = _known_creators(connection, changes, "FOR UPDATE")
    written = catalogue_write.write_creators(known, revision, changes)
    if not written:
        return revision
    for creator_id, row in sorted(written.items()):
        connection.execute(
            "INSERT INTO sanad.creators VALUES (%s, %s, %s, %s) ON CONFLICT (creator_id) DO UPDATE SET "
            "revision = excluded.revision, is_edited = excluded.is_edited, packed = excluded.packed",
            (creator_id.encode(), row.revision, row.is_edited, msgspec.msgpack.encode(dict(row.fields))),
        )
    connection.execute("UPDATE sanad.meta SET revision = revision + 1")
    _commit(connection, at)
    add_entries(connection, audit)
    return revision + 1
