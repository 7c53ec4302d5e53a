"""The tables of the state file, and the check that a file is one."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys.errors import StoreError
from serving.stores.sqlite.upgrade import add_new_tables, upgrade_from_2, upgrade_from_3, upgrade_from_4
from serving.stores.sqlite.vault import Vault

STATE_FORMAT: Final = 8  # in `user_version`
FIRST_SEALED_FORMAT: Final = 4  # keys stand beside the file from it on
APPLICATION: Final = 0x5341_4E44  # "SAND", in `application_id`

CREATE_STATEMENTS: Final = (
    # One row. `writes` numbers the writes of users, so that no version is ever given twice.
    """CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1), installation BLOB NOT NULL, is_clean INTEGER NOT NULL,
        writes INTEGER NOT NULL, committed_at INTEGER NOT NULL,
        revision INTEGER NOT NULL, newest_raise INTEGER NOT NULL, last_no INTEGER NOT NULL
    )""",
    # `owner` is the keyed hash of a user id; what it holds is sealed with the person's key (see `vault`).
    """CREATE TABLE users (
        owner BLOB PRIMARY KEY, version INTEGER NOT NULL,
        person BLOB NOT NULL, safety BLOB NOT NULL, seen BLOB NOT NULL, interactions BLOB NOT NULL
    )""",
    # `key` is the keyed hash of the id of somebody who was erased; `safety` is sealed with the installation's key.
    """CREATE TABLE tombstones (
        key BLOB PRIMARY KEY, version INTEGER NOT NULL, at INTEGER NOT NULL, safety BLOB NOT NULL
    )""",
    # Training cut-offs of people who were erased or reset, by the same keyed hash.
    "CREATE TABLE forgotten (key BLOB PRIMARY KEY, before INTEGER NOT NULL)",
    # One row per page, since a page is written and read whole; `at` is its newest delivery.
    """CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY, owner BLOB NOT NULL, at INTEGER NOT NULL, n INTEGER NOT NULL, sealed BLOB NOT NULL
    )""",
    "CREATE INDEX deliveries_of_owner ON deliveries (owner)",
    "CREATE INDEX deliveries_by_age ON deliveries (at)",
    """CREATE TABLE decisions (
        seq INTEGER PRIMARY KEY, owner BLOB NOT NULL, request BLOB NOT NULL, at INTEGER NOT NULL,
        sealed BLOB NOT NULL, UNIQUE (owner, request)
    )""",
    "CREATE INDEX decisions_of_request ON decisions (request)",
    "CREATE INDEX decisions_by_age ON decisions (at)",
    # AUTOINCREMENT: states remember the last `seq` they took in, so none may come again.
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, owner BLOB NOT NULL, event BLOB NOT NULL,
        received_at INTEGER NOT NULL, sealed BLOB NOT NULL, UNIQUE (owner, event)
    )""",
    "CREATE INDEX events_of_owner ON events (owner)",
    "CREATE INDEX events_by_age ON events (received_at)",
    # `memory`: what an item was before, as far as it decides what its copies are.
    """CREATE TABLE items (
        item_no INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL,
        peak_tier INTEGER NOT NULL, is_edited INTEGER NOT NULL, packed BLOB NOT NULL, memory BLOB NOT NULL
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
    # Who decided what: an action and its subject as JSON. Append-only but for its age; no number comes again.
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL
    )""",
    "CREATE INDEX audit_by_age ON audit (at)",
    # Whose label somebody asked a person to look at; at most one open review of an item.
    """CREATE TABLE reviews (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, asked_at INTEGER NOT NULL, asked_by TEXT NOT NULL,
        due_at INTEGER NOT NULL, answered_at INTEGER, answered_by TEXT, outcome TEXT, tier INTEGER
    )""",
    "CREATE INDEX reviews_of_item ON reviews (item_id, seq)",
    "CREATE INDEX open_reviews ON reviews (item_id) WHERE answered_at IS NULL",
    "CREATE INDEX reviews_by_age ON reviews (answered_at)",
    # Keys that an erasure ended: from its commit on nothing is sealed with them. `is_done`: destroyed in the vault too.
    "CREATE TABLE shreds (number BLOB PRIMARY KEY, at INTEGER NOT NULL, is_done INTEGER NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class FormerState:
    """A file before it is opened: `is_new` when it has no keys yet; `index_key` of a file of an older format."""

    is_new: bool
    index_key: bytes | None = None


def former_state(path: Path) -> FormerState:
    """A look at a state file, by which its keys are opened. A file that cannot be read is refused when it is opened."""
    if not path.is_file() or path.stat().st_size == 0:
        return FormerState(is_new=True)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            is_old = version in (2, 3) and "meta" in names
            key = connection.execute("SELECT hash_key FROM meta").fetchone()[0] if is_old else None
    except sqlite3.Error:
        return FormerState(is_new=True)
    return FormerState(is_new=not FIRST_SEALED_FORMAT <= version <= STATE_FORMAT, index_key=key)


def open_schema(connection: sqlite3.Connection, vault: Vault) -> None:
    """
    Make the tables in an empty file, or bring those of an older format to the one of now. Runs in one transaction.

    Raises StoreError when the file is not of this program, of a format that it cannot read, or of other keys.
    """
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if n_tables == 0 and version == 0:
        _create(connection, vault)
    elif application != APPLICATION:
        raise StoreError("found tables of another program, expected a state file of Sanad; name another file.")
    elif version in (2, 3):
        _upgrade(connection, vault, version)
    elif not FIRST_SEALED_FORMAT <= version <= STATE_FORMAT:
        which = "newer" if version > STATE_FORMAT else "older"
        raise StoreError(
            f"found a state file of format {version}, expected {STATE_FORMAT}, 7, 6, 5, 4, 3 or 2: {which} software "
            f"wrote it; use that version of Sanad, or start with a new file."
        )
    elif connection.execute("SELECT installation FROM meta").fetchone()[0] != vault.installation:
        raise StoreError("found the keys of another state file beside it; restore the keys that belong to it.")
    elif version < STATE_FORMAT:
        _upgrade(connection, vault, version)


def _create(connection: sqlite3.Connection, vault: Vault) -> None:
    for statement in CREATE_STATEMENTS:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (1, ?, 1, 0, 0, 0, 0, 0)", (vault.installation,))
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={STATE_FORMAT}")


def _upgrade(connection: sqlite3.Connection, vault: Vault, version: int) -> None:
    """The file of an older format under the tables of now; what stood open in it is sealed."""
    if version == 2:
        upgrade_from_2(connection)
    if version < FIRST_SEALED_FORMAT:
        upgrade_from_3(connection, vault, CREATE_STATEMENTS)
    if version < 5:
        upgrade_from_4(connection, vault)
    add_new_tables(connection, CREATE_STATEMENTS)
    connection.execute(f"PRAGMA user_version={STATE_FORMAT}")
