"""
The catalogue in the state file. `recsys.stores.catalogue_write` decides what a write does; here it is carried out.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from recsys.clock import Millis
from recsys.stores import catalogue_write
from recsys.stores.audit import AuditEntry
from recsys.stores.protocols import CatalogueDelta, CreatorChange, CreatorRow, ItemChange, ItemRow
from serving.stores.sqlite.audit import add_entries
from serving.stores.sqlite.file import Database

_ITEM = "i.item_no, i.revision, i.peak_tier, i.is_edited, i.packed, i.memory"
_SOURCE = "items of artifact"  # the name of the note among the small records
_MAX_KEYS = 500  # ids in one statement


def _item(columns: catalogue_write.PackedRow) -> catalogue_write.StoredItem:
    item_no, revision, peak_tier, is_edited, packed, memory = columns
    return catalogue_write.StoredItem(
        item_no=item_no,
        revision=revision,
        peak_tier=peak_tier,
        is_edited=bool(is_edited),
        packed=packed,
        memory=memory,
    )


class SqliteCatalogue:
    """`Catalogue` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, revision: int) -> CatalogueDelta:
        """See `Catalogue.since`. Items in one statement, so one snapshot; no items are one row without one."""
        with self._database.reading() as connection:
            joined = connection.execute(
                f"SELECT m.revision, m.newest_raise, {_ITEM} FROM meta m "
                "LEFT JOIN items i ON i.revision > ? ORDER BY i.item_no",
                (revision,),
            ).fetchall()
            # read after the revision: a creator that was written in between comes now and again next time
            newer = connection.execute(
                "SELECT revision, is_edited, packed FROM creators WHERE revision > ? ORDER BY creator_id", (revision,)
            ).fetchall()
        rows = catalogue_write.PackedRows([row[2:] for row in joined if row[2] is not None])
        creators = tuple(map(_creator, newer))
        return CatalogueDelta(revision=joined[0][0], newest_raise=joined[0][1], rows=rows, creators=creators)

    def put(
        self, changes: Sequence[ItemChange], at: Millis, audit: Sequence[AuditEntry] = (), source: str | None = None
    ) -> int:
        """See `Catalogue.put`. Raises DataError on a change that is no item."""
        prepared = catalogue_write.prepare(changes)
        with self._database.reading() as connection:
            noted = _source(connection)
            if source == noted or (source is None and not catalogue_write.is_artifact(prepared)):
                known = _known(connection, prepared)
                if not catalogue_write.write(known, prepared):
                    return known.revision  # loading the same artifact again costs no write
        return self._database.write(lambda connection: _put(connection, prepared, at, audit, source))

    def source(self) -> str | None:
        """See `Catalogue.source`."""
        with self._database.reading() as connection:
            return _source(connection)

    def get(self, item_id: str) -> ItemRow | None:
        """See `Catalogue.get`."""
        with self._database.reading() as connection:
            row = connection.execute(f"SELECT {_ITEM} FROM items i WHERE i.item_id = ?", (item_id,)).fetchone()
        return None if row is None else catalogue_write.unpack_row(row)

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry] = ()) -> int:
        """See `Catalogue.put_creators`."""
        with self._database.reading() as connection:
            known, revision = _known_creators(connection, changes)
        if not catalogue_write.write_creators(known, revision, changes):
            return revision
        return self._database.write(lambda connection: _put_creators(connection, changes, at, audit))

    def renew(self, at: Millis) -> int:
        """See `Catalogue.renew`."""
        return self._database.write(lambda connection: _renew(connection, at))

    def creator(self, creator_id: str) -> CreatorRow | None:
        """See `Catalogue.creator`."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT revision, is_edited, packed FROM creators WHERE creator_id = ?", (creator_id,)
            ).fetchone()
        return None if row is None else _creator(row)


def _source(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT packed FROM controllers WHERE market = ?", (_SOURCE,)).fetchone()
    return None if row is None else bytes(row[0]).decode()


def _note_source(connection: sqlite3.Connection, source: str | None) -> None:
    connection.execute("DELETE FROM controllers WHERE market = ?", (_SOURCE,))
    if source is not None:
        connection.execute("INSERT INTO controllers VALUES (?, ?)", (_SOURCE, source.encode()))


def _renew(connection: sqlite3.Connection, at: Millis) -> int:
    connection.execute("UPDATE meta SET revision = revision + 1, committed_at = max(committed_at, ?)", (at,))
    revision: int = connection.execute("SELECT revision FROM meta").fetchone()[0]
    return revision


def _creator(columns: tuple[int, int, bytes]) -> CreatorRow:
    revision, is_edited, packed = columns
    return CreatorRow(revision=revision, is_edited=bool(is_edited), fields=msgspec.msgpack.decode(packed))


def _known_creators(
    connection: sqlite3.Connection, changes: Sequence[CreatorChange]
) -> tuple[dict[str, CreatorRow], int]:
    """The creators that the changes touch, and the revision."""
    known = {}
    for creator_id in {str(change.fields.get("creator_id")) for change in changes}:
        row = connection.execute(
            "SELECT revision, is_edited, packed FROM creators WHERE creator_id = ?", (creator_id,)
        ).fetchone()
        if row is not None:
            known[creator_id] = _creator(row)
    revision: int = connection.execute("SELECT revision FROM meta").fetchone()[0]
    return known, revision


def _put_creators(
    connection: sqlite3.Connection, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry]
) -> int:
    known, revision = _known_creators(connection, changes)
    written = catalogue_write.write_creators(known, revision, changes)
    connection.executemany(
        "INSERT OR REPLACE INTO creators VALUES (?, ?, ?, ?)",
        [(key, c.revision, c.is_edited, msgspec.msgpack.encode(dict(c.fields))) for key, c in written.items()],
    )
    if written:
        connection.execute("UPDATE meta SET revision = revision + 1, committed_at = max(committed_at, ?)", (at,))
        add_entries(connection, audit)
    return revision + bool(written)


def _known(
    connection: sqlite3.Connection, changes: Sequence[catalogue_write.Prepared]
) -> catalogue_write.StoredCatalogue:
    """The items that the changes touch."""
    revision, newest_raise, last_no = connection.execute("SELECT revision, newest_raise, last_no FROM meta").fetchone()
    known = catalogue_write.StoredCatalogue(last_no=last_no, revision=revision, newest_raise=newest_raise)
    if last_no:
        ids = [change.item_id for change in changes]
        for start in range(0, len(ids), _MAX_KEYS):
            some = ids[start : start + _MAX_KEYS]
            rows = connection.execute(
                f"SELECT {_ITEM}, i.item_id FROM items i WHERE item_id IN ({','.join('?' * len(some))})", some
            ).fetchall()
            known.items.update((row[-1], _item(row[:-1])) for row in rows)
    return known


def _put(
    connection: sqlite3.Connection,
    changes: Sequence[catalogue_write.Prepared],
    at: Millis,
    audit: Sequence[AuditEntry],
    source: str | None,
) -> int:
    known = _known(connection, changes)
    touched = catalogue_write.write(known, changes)
    if source is not None or catalogue_write.is_artifact(changes):
        _note_source(connection, source)
    items = [(i.item_no, key, i) for key in touched for i in (known.items[key],)]
    connection.executemany(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (item_no) DO UPDATE SET "
        "revision = excluded.revision, peak_tier = excluded.peak_tier, is_edited = excluded.is_edited, "
        "packed = excluded.packed, memory = excluded.memory",
        [(no, key, i.revision, i.peak_tier, i.is_edited, i.packed, i.memory) for no, key, i in sorted(items)],
    )
    if touched:
        connection.execute(
            "UPDATE meta SET revision = ?, newest_raise = ?, last_no = ?, committed_at = max(committed_at, ?)",
            (known.revision, known.newest_raise, known.last_no, at),
        )
        add_entries(connection, audit)
    return known.revision
