"""The tables of the state file, the check that a file is one, and the way from the format before."""

import secrets
import sqlite3
from typing import Any, Final

import msgspec

from recsys.columns import FORMER_NAMES
from recsys.errors import StoreError

FORMAT: Final = 3  # in `user_version`
APPLICATION: Final = 0x5341_4E44  # "SAND", in `application_id`

TABLES: Final = (
    # One row. `writes` numbers the writes of users, so that no version is ever given twice.
    """CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1), hash_key BLOB NOT NULL, writes INTEGER NOT NULL,
        committed_at INTEGER NOT NULL,
        revision INTEGER NOT NULL, newest_raise INTEGER NOT NULL, last_no INTEGER NOT NULL
    )""",
    """CREATE TABLE users (
        user_id TEXT PRIMARY KEY, version INTEGER NOT NULL,
        person BLOB NOT NULL, safety BLOB NOT NULL, seen BLOB NOT NULL, interactions BLOB NOT NULL
    )""",
    # `key` is a keyed hash of the id of somebody who was erased.
    """CREATE TABLE tombstones (
        key BLOB PRIMARY KEY, version INTEGER NOT NULL, at INTEGER NOT NULL, safety BLOB NOT NULL
    )""",
    # Training cut-offs of people who were erased or reset, by the same keyed hash.
    "CREATE TABLE forgotten (key BLOB PRIMARY KEY, before INTEGER NOT NULL)",
    # One row per page, since a page is written and read whole; `at` is its newest delivery.
    """CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, at INTEGER NOT NULL, packed BLOB NOT NULL
    )""",
    "CREATE INDEX deliveries_of_user ON deliveries (user_id)",
    "CREATE INDEX deliveries_by_age ON deliveries (at)",
    """CREATE TABLE decisions (
        seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, request_id TEXT NOT NULL, at INTEGER NOT NULL,
        body_hash TEXT NOT NULL, answer BLOB NOT NULL, decision BLOB NOT NULL, UNIQUE (user_id, request_id)
    )""",
    "CREATE INDEX decisions_of_request ON decisions (request_id)",
    "CREATE INDEX decisions_by_age ON decisions (at)",
    # AUTOINCREMENT: states remember the last `seq` they took in, so none may come again.
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, event_id TEXT NOT NULL,
        received_at INTEGER NOT NULL, packed BLOB NOT NULL, UNIQUE (user_id, event_id)
    )""",
    "CREATE INDEX events_of_user ON events (user_id)",
    "CREATE INDEX events_by_age ON events (received_at)",
    """CREATE TABLE clusters (
        cluster_id TEXT PRIMARY KEY, cluster_no INTEGER NOT NULL UNIQUE, peak_tier INTEGER NOT NULL
    )""",
    """CREATE TABLE items (
        item_no INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, cluster_id TEXT NOT NULL, revision INTEGER NOT NULL,
        peak_tier INTEGER NOT NULL, is_edited INTEGER NOT NULL, packed BLOB NOT NULL
    )""",
    "CREATE INDEX items_by_revision ON items (revision)",
    """CREATE TABLE creators (
        creator_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, is_edited INTEGER NOT NULL, packed BLOB NOT NULL
    )""",
    "CREATE INDEX creators_by_revision ON creators (revision)",
    # What was delivered of each creator, without anybody's name; the totals stand apart, so that none are added up.
    """CREATE TABLE exposure_counts (
        creator_id TEXT NOT NULL, day INTEGER NOT NULL, country TEXT NOT NULL, region TEXT NOT NULL,
        attribution TEXT NOT NULL, is_local INTEGER NOT NULL, n INTEGER NOT NULL,
        PRIMARY KEY (creator_id, day, country, region, attribution, is_local)
    ) WITHOUT ROWID""",
    "CREATE TABLE creator_totals (creator_id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    # What the exposure controller of a market remembers.
    "CREATE TABLE controllers (market TEXT PRIMARY KEY, packed BLOB NOT NULL)",
)


FROM_FORMAT_2: Final = (
    "ALTER TABLE meta RENAME COLUMN one TO id",
    "ALTER TABLE users RENAME COLUMN counted TO safety",
    "ALTER TABLE users RENAME COLUMN taste TO interactions",
    "ALTER TABLE tombstones RENAME COLUMN counted TO safety",
    "ALTER TABLE tallies RENAME TO exposure_counts",
    "ALTER TABLE exposure_counts RENAME COLUMN way TO attribution",
    "ALTER TABLE reach RENAME TO creator_totals",
    "ALTER TABLE steering RENAME TO controllers",
)
"""The names of format 3 for the tables of format 2, whose rows hold the same."""


def open_schema(connection: sqlite3.Connection) -> None:
    """
    Make the tables in an empty file, or bring those of the format before to the names of now. Runs in one transaction.

    Raises StoreError when the file is not of this program, or of a format that it cannot read.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if n_tables == 0 and version == 0:
        _create(connection)
    elif application != APPLICATION:
        raise StoreError("found tables of another program, expected a state file of Sanad; name another file.")
    elif version == 2:
        _upgrade_from_2(connection)
    elif version > FORMAT:
        raise StoreError(
            f"found a state file of format {version}, expected {FORMAT} or 2: a newer version of Sanad wrote it; "
            "use that version, or start with a new file."
        )
    elif version != FORMAT:
        raise StoreError(
            f"found a state file of format {version}, expected {FORMAT} or 2: an older version of Sanad wrote it; "
            "use that version, or start with a new file."
        )


def _create(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (1, ?, 0, 0, 0, 0, 0)", (secrets.token_bytes(32),))
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={FORMAT}")


def _upgrade_from_2(connection: sqlite3.Connection) -> None:
    for statement in FROM_FORMAT_2:
        connection.execute(statement)
    rows = connection.execute("SELECT item_no, packed FROM items WHERE instr(packed, CAST('fits' AS BLOB))").fetchall()
    connection.executemany(
        "UPDATE items SET packed = ? WHERE item_no = ?", [(_with_new_names(no, packed), no) for no, packed in rows]
    )
    connection.execute(f"PRAGMA user_version={FORMAT}")


def _with_new_names(item_no: int, packed: bytes) -> bytes:
    """An item's fields under the column names of format 3."""
    try:
        fields = msgspec.msgpack.decode(packed, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"item number {item_no} cannot be read ({error}); restore the last copy of the file."
        ) from error
    former = FORMER_NAMES["items"]
    renamed = {former.get(name, name): value for name, value in fields.items()}
    return msgspec.msgpack.encode(renamed, order="deterministic")
