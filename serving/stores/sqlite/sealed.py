"""Values of people in the state file: sealed with the owner's key, and found by the hash of the id."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

from recsys.clock import Millis
from recsys.errors import StoreError
from serving.stores.sealing import MAX_TRIES, Key, open_values
from serving.stores.sqlite.file import Database
from serving.stores.sqlite.vault import Vault

T = TypeVar("T")


class SealedRows:
    """The state file and the keys beside it. What a destroyed key sealed reads as nothing."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database: Final = database
        self.vault: Final = vault

    def write(self, user_ids: Iterable[str], work: Callable[[sqlite3.Connection, Mapping[str, Key]], T]) -> T:
        """
        Run `work` in a transaction of the state file, with the keys of some people.

        A key that was destroyed meanwhile seals nothing more: then the people get new ones, and `work` runs again.
        """
        owners = {user_id: self.vault.hide(user_id) for user_id in user_ids}
        for _ in range(MAX_TRIES):
            by_owner = self.vault.ensure(owners.values())
            keys = {user_id: by_owner[owner] for user_id, owner in owners.items()}
            dead, result = self.database.write(partial(_alive, keys=keys, work=work))
            if result is not None:
                return result[0]
            for number in dead:
                self.vault.destroy(number)
        raise StoreError("the keys of people were destroyed while they were used; ask again")

    def open(self, owner: bytes, *values: tuple[bytes, bytes]) -> list[bytes | None]:
        """See `open_values`."""
        return open_values(self.vault, owner, *values)

    def finish_shreds(self) -> None:
        """Destroy the keys of whoever was erased and whose key a crash left behind."""
        with self.database.reading() as connection:
            numbers = connection.execute("SELECT number FROM shreds WHERE is_done = 0").fetchall()
        for (number,) in numbers:
            self.shred(number)

    def shred(self, number: bytes) -> None:
        """Destroy a key that a committed erasure named."""
        self.vault.destroy(number)
        self.database.write(lambda c: c.execute("UPDATE shreds SET is_done = 1 WHERE number = ?", (number,)))


def note_shred(connection: sqlite3.Connection, number: bytes, at: Millis) -> None:
    """Within an erasure: from its commit on, nothing more is sealed with the key."""
    connection.execute("INSERT INTO shreds VALUES (?, ?, 0) ON CONFLICT (number) DO NOTHING", (number, at))


def _alive(
    connection: sqlite3.Connection, keys: Mapping[str, Key], work: Callable[[sqlite3.Connection, Mapping[str, Key]], T]
) -> tuple[list[bytes], tuple[T] | None]:
    """What `work` returned, or the numbers of keys that were destroyed."""
    is_dead = "SELECT 1 FROM shreds WHERE number = ?"
    numbers = {key.number for key in keys.values()}
    dead = [number for number in numbers if connection.execute(is_dead, (number,)).fetchone()]
    return (dead, None) if dead else ([], (work(connection, keys),))
