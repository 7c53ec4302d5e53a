"""
People's keys, in a schema of their own, or on a server of their own (`?keys=` in the address).

Every value about a person is sealed with that person's own key, and found by a keyed hash of the id: see
`serving.stores.sealing`. To erase somebody is to destroy one key of 32 bytes. On one server a base backup holds values
and keys: then an erasure holds in a backup only once that backup is gone. docs/security.md says how to keep them apart.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from recsys.clock import Millis
from recsys.errors import StoreError
from serving.stores.postgres.schema import open_keys
from serving.stores.postgres.server import Connection, Database
from serving.stores.sealing import MAX_TRIES, NUMBER_BYTES, Key

REMEMBERED_S: Final = 60.0
"""For so long a process keeps a key in memory after it looked it up; another may destroy it meanwhile."""
_MOST: Final = 20_000  # keys in memory


class Vault:
    """The keys of people, to `serving.stores.sealing.KeyStore`. Raises StoreError, with what to do."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._remembered: Final[dict[bytes, tuple[Key, float]]] = {}
        open_keys(database)
        [row] = database.read("SELECT installation, index_key, seal_key FROM sanad_keys.meta")
        self.installation: Final[bytes] = row[0]
        self.index_key: Final[bytes] = row[1]
        self.own_key: Final = Key(b"\0" * NUMBER_BYTES, row[2])

    @property
    def signing_key(self) -> bytes:
        """The key of cursors and tracking tokens: the same one in every process over these keys."""
        return hmac.digest(self.own_key.key, b"cursors and tracking tokens", hashlib.sha256)

    def hide(self, text: str) -> bytes:
        """The keyed hash under which an id stands in the state."""
        return hmac.digest(self.index_key, text.encode(), hashlib.sha256)

    def check(self) -> None:
        """Raises StoreError while a key that is new could not be written."""
        self._database.write("UPDATE sanad_keys.meta SET id = id")

    def find(self, owner: bytes) -> Key | None:
        """The key of a person, by the hash of the id; for a while from memory."""
        key, until = self._remembered.get(owner, (None, 0.0))
        if key is not None and until > time.monotonic():
            return key
        return self._look_up([owner]).get(owner)

    def ensure(self, owners: Iterable[bytes]) -> Mapping[bytes, Key]:
        """The keys of people; those who have none get one, durable before this returns."""
        wanted = sorted(set(owners))
        for _ in range(MAX_TRIES):  # an erasure may destroy a key that was made just now
            now, known = time.monotonic(), {}
            for owner in wanted:
                key, until = self._remembered.get(owner, (None, 0.0))
                if key is not None and until > now:
                    known[owner] = key
            missing = [owner for owner in wanted if owner not in known]
            known |= self._look_up(missing) if missing else {}
            missing = [owner for owner in missing if owner not in known]
            if not missing:
                return known
            self._make(missing)
        raise StoreError("the key of a person was destroyed while it was used; ask again")

    def forget(self, owners: Iterable[bytes]) -> None:
        """Drop keys from the memory of this process."""
        for owner in owners:
            self._remembered.pop(owner, None)

    def destroy(self, number: bytes) -> None:
        """Destroy a key for good; nothing where it is gone already."""
        self._database.write(
            "WITH gone AS (DELETE FROM sanad_keys.keys WHERE number = %s RETURNING number, tableoid::regclass::text) "
            "INSERT INTO sanad_keys.destroyed SELECT * FROM gone ON CONFLICT DO NOTHING",
            (number,),
        )
        self.forget([owner for owner, (key, _) in list(self._remembered.items()) if key.number == number])

    def is_destroyed(self, number: bytes) -> bool:
        """Whether a number was a key's that was destroyed. Numbers stay: they tell a restored copy from damage."""
        return bool(self._database.read("SELECT 1 FROM sanad_keys.destroyed WHERE number = %s", (number,)))

    def note_erased(self, erased: Mapping[bytes, Millis]) -> None:
        """Note who was erased when, by the hash of the id: a restored copy of the state does not know it."""
        if erased:
            self._database.write(
                "INSERT INTO sanad_keys.erased SELECT * FROM unnest(%s::bytea[], %s::bigint[]) "
                "ON CONFLICT (owner) DO UPDATE SET at = greatest(sanad_keys.erased.at, excluded.at)",
                (list(erased), list(erased.values())),
            )

    def erased(self) -> Mapping[bytes, Millis]:
        """Whoever was erased, and when."""
        return dict(self._database.read("SELECT owner, at FROM sanad_keys.erased"))

    def prune(self, oldest: Millis) -> None:
        """Delete notes of erasures before an instant, and the bytes that destroyed keys left in free space."""
        self._database.write("DELETE FROM sanad_keys.erased WHERE at < %s", (oldest,))
        left = "SELECT DISTINCT part FROM sanad_keys.destroyed WHERE part IS NOT NULL"
        for (part,) in self._database.read(left):
            with suppress(StoreError):  # somebody is at it, or holds the table: next time
                self._wipe(part)

    def _wipe(self, part: str) -> None:
        """Write a part of the table of keys anew: a plain VACUUM leaves the bytes until something comes there."""
        numbers = self._database.read("SELECT number FROM sanad_keys.destroyed WHERE part = %s", (part,))
        self._database.alone(f"VACUUM (FULL) {part}")
        done = "UPDATE sanad_keys.destroyed SET part = NULL WHERE number = ANY (%s::bytea[])"
        self._database.write(done, ([number for (number,) in numbers],))

    def _look_up(self, owners: list[bytes]) -> dict[bytes, Key]:
        rows = self._database.read(
            "SELECT owner, number, key FROM sanad_keys.keys WHERE owner = ANY (%s::bytea[])", (owners,)
        )
        if len(self._remembered) > _MOST:
            self._remembered.clear()
        found = {owner: Key(number, key) for owner, number, key in rows}
        until = time.monotonic() + REMEMBERED_S
        self._remembered.update({owner: (key, until) for owner, key in found.items()})
        return found

    def _make(self, owners: list[bytes]) -> None:
        numbers = [secrets.token_bytes(NUMBER_BYTES) for _ in owners]
        keys = [secrets.token_bytes(32) for _ in owners]

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO sanad_keys.keys SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) "
                "ON CONFLICT (owner) DO NOTHING",
                (owners, numbers, keys),
            )

        self._database.transact(work)
