"""Values of people in the database: sealed with the owner's key, and found by the hash of the id."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from recsys.clock import Millis
from recsys.errors import StoreError
from serving.stores.postgres.schema import add_days
from serving.stores.postgres.server import Database, NoDay, Rows
from serving.stores.postgres.vault import Vault
from serving.stores.sealing import MAX_TRIES, Key, number_of, open_values

T = TypeVar("T")
_MAX_DAYS: Final = 4  # days that one batch may be the first of


class SealedRows:
    """The state and the keys beside it. What a destroyed key sealed reads as nothing."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database: Final = database
        self.vault: Final = vault

    def write(self, user_ids: Iterable[str], work: Callable[[Mapping[str, Key]], T | None]) -> T:
        """
        Run `work`, which writes with the keys of some people; it returns None where one of them was destroyed.

        Then the people get new ones, and `work` runs again.
        """
        owners = {user_id: self.vault.hide(user_id) for user_id in user_ids}
        for _ in range(MAX_TRIES):
            by_owner = self.vault.ensure(owners.values())
            result = work({user_id: by_owner[owner] for user_id, owner in owners.items()})
            if result is not None:
                return result
            self.vault.forget(owners.values())
            self._destroy_dead([key.number for key in by_owner.values()])
        raise StoreError("the keys of people were destroyed while they were used; ask again")

    def insert(self, statement: str, values: list[object], instants: Iterable[Millis]) -> Rows:
        """Run a statement that inserts rows of these instants, and make the partitions of their days where needed."""
        try:
            return self.database.write(statement, values)
        except NoDay:
            add_days(self.database, instants)
            return self.database.write(statement, values)

    def open(self, owner: bytes, *values: tuple[bytes, bytes]) -> list[bytes | None]:
        """See `open_values`. A key in memory that did not seal a value is looked up again first."""
        key = self.vault.find(owner)
        if key is None or any(number_of(sealed) != key.number for sealed, _ in values):
            self.vault.forget([owner])
        return open_values(self.vault, owner, *values)

    def finish_shreds(self) -> None:
        """Destroy the keys of whoever was erased and whose key a crash left behind."""
        for (number,) in self.database.read("SELECT number FROM sanad.shreds WHERE NOT is_done"):
            self.shred(number)

    def shred(self, number: bytes) -> None:
        """Destroy a key that a committed erasure named."""
        self.vault.destroy(number)
        self.database.write("UPDATE sanad.shreds SET is_done = true WHERE number = %s", (number,))

    def _destroy_dead(self, numbers: list[bytes]) -> None:
        for (number,) in self.database.read(
            "SELECT number FROM sanad.shreds WHERE number = ANY (%s::bytea[])", (numbers,)
        ):
            self.vault.destroy(number)


def lock_of(owner: bytes) -> int:
    """The number of the lock by which a person's writes take turns."""
    return int.from_bytes(owner[:8], "big", signed=True)
