"""
People's keys, in a file of their own beside the state file: what seals their values, and what hides their ids.

Every value about a person in the state file is sealed with that person's own key (AES-256-GCM), and found by a keyed
hash of the id. To erase somebody is to destroy one key of 32 bytes: what copies of the values there are, in free pages,
in logs or in a backup, say nothing any more. So the two files must never be in the same backup.

A key is on disk before the first value that it seals. A sealed value begins with the number of its key, so that a value
whose key is gone is told from a damaged one.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from recsys.clock import Millis
from recsys.errors import StoreError
from serving.stores.sealing import MAX_TRIES, NUMBER_BYTES, Key
from serving.stores.sqlite.file import Database

APPLICATION: Final = 0x5341_4E4B  # "SANK", in `application_id`
FORMAT: Final = 1
_ERASED: Final = "CREATE TABLE IF NOT EXISTS erased (owner BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID"
"""Files of before do not have it."""

TABLES: Final = (
    """CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1), installation BLOB NOT NULL, index_key BLOB NOT NULL,
        seal_key BLOB NOT NULL
    )""",
    "CREATE TABLE keys (owner BLOB PRIMARY KEY, number BLOB NOT NULL UNIQUE, key BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE destroyed (number BLOB PRIMARY KEY) WITHOUT ROWID",
)


def vault_path(state: Path) -> Path:
    """The file of keys that belongs to a state file."""
    return state.with_name(state.name + ".people-keys")


class Vault:
    """
    The file of keys. `index_key` is given where a state file of the format before has one already.

    Raises StoreError, with what to do, whenever the file cannot be used.
    """

    def __init__(self, path: Path, busy_wait_s: float, *, is_new: bool, index_key: bytes | None = None) -> None:
        if not is_new and not path.is_file():
            raise StoreError(
                f"{path}: found no file of keys, expected the one that belongs to the state file: without it nothing "
                "about people can be read; restore it, or start with a new state file"
            )
        if is_new:
            _make_private(path)
        self._database: Final = Database(path, lambda connection: _open_schema(connection, index_key), busy_wait_s)
        with self._database.reading() as connection:
            row = connection.execute("SELECT installation, index_key, seal_key FROM meta").fetchone()
        self.installation: Final[bytes] = row[0]
        self.index_key: Final[bytes] = row[1]
        self.own_key: Final = Key(b"\0" * NUMBER_BYTES, row[2])
        """The installation's key: what outlives an erasure is sealed with it."""

    def hide(self, text: str) -> bytes:
        """The keyed hash under which an id stands in the state file."""
        return hmac.digest(self.index_key, text.encode(), hashlib.sha256)

    def check(self) -> None:
        """Raises StoreError while a key that is new could not be written."""
        self._database.write(lambda connection: None)

    def find(self, owner: bytes) -> Key | None:
        """The key of a person, by the hash of the id."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT number, key FROM keys WHERE owner = ?", (owner,)).fetchone()
        return None if row is None else Key(*row)

    def ensure(self, owners: Iterable[bytes]) -> Mapping[bytes, Key]:
        """The keys of people; those who have none get one, on disk before this returns."""
        wanted = dict.fromkeys(owners)
        for _ in range(MAX_TRIES):  # an erasure may destroy a key that was made just now
            keys = {owner: self.find(owner) for owner in wanted}
            missing = [owner for owner, key in keys.items() if key is None]
            if not missing:
                return {owner: key for owner, key in keys.items() if key is not None}
            self._make(missing)
        raise StoreError("the key of a person was destroyed while it was used; ask again")

    def _make(self, owners: Iterable[bytes]) -> None:
        rows = [(owner, secrets.token_bytes(NUMBER_BYTES), secrets.token_bytes(32)) for owner in owners]
        insert = "INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT (owner) DO NOTHING"
        self._database.write(lambda connection: connection.executemany(insert, rows))

    def destroy(self, number: bytes) -> None:
        """Destroy a key for good; nothing where it is gone already."""

        def work(connection: sqlite3.Connection) -> int:
            n_deleted = connection.execute("DELETE FROM keys WHERE number = ?", (number,)).rowcount
            if n_deleted:
                connection.execute("INSERT INTO destroyed VALUES (?) ON CONFLICT (number) DO NOTHING", (number,))
            return n_deleted

        if self._database.write(work):
            self._database.forget_log()

    def is_destroyed(self, number: bytes) -> bool:
        """Whether a number was a key's that was destroyed. Numbers stay: they tell a restored copy from damage."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM destroyed WHERE number = ?", (number,)).fetchone() is not None

    def note_erased(self, erased: Mapping[bytes, Millis]) -> None:
        """Note who was erased when, by the hash of the id: a restored copy of the state does not know it."""
        insert = "INSERT INTO erased VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET at = max(at, excluded.at)"
        if erased:
            self._database.write(lambda connection: connection.executemany(insert, list(erased.items())))

    def erased_since(self, at: Millis) -> set[bytes]:
        """Whoever was erased at `at` or later."""
        with self._database.reading() as connection:
            return {owner for (owner,) in connection.execute("SELECT owner FROM erased WHERE at >= ?", (at,))}

    def prune(self, oldest: Millis) -> None:
        """Delete notes of erasures before an instant: no copy is as old."""
        self._database.write(lambda connection: connection.execute("DELETE FROM erased WHERE at < ?", (oldest,)))

    def close(self) -> None:
        """Write what is queued, then close the file."""
        self._database.close()


def _make_private(path: Path) -> None:
    """A new file of keys is its owner's alone."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: cannot be made ({error.strerror}); the folder must exist and be writable") from error


def _open_schema(connection: sqlite3.Connection, index_key: bytes | None) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO meta VALUES (1, ?, ?, ?)",
            (secrets.token_bytes(16), index_key or secrets.token_bytes(32), secrets.token_bytes(32)),
        )
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
    found = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if found != (APPLICATION, FORMAT):
        raise StoreError("found another file than the keys of a state file; restore the keys, or name another state.")
    connection.execute(_ERASED)
