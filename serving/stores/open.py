"""
What `--state` names: a path, which is a state file (SQLite), or the address of a server. One place opens either.

A driver is an extra of its own (`pip install 'sanad[postgres]'`), and is imported when an address asks for it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from recsys.clock import Millis
from recsys.errors import ConfigError
from recsys.extras import require_extra
from recsys.stores.protocols import Stores


@dataclass(frozen=True, slots=True)
class Address:
    """A server that holds the state. As a text it has no password."""

    url: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """What stands before `://`."""
        return self.url.partition("://")[0]

    def __str__(self) -> str:
        place, _, options = self.url.partition("://")[2].partition("?")
        user, at, host = place.rpartition("@")
        if "@" in options:  # a password with a question mark: where the host begins is not known
            return f"{self.scheme}://..."
        return f"{self.scheme}://{user.partition(':')[0]}{at}{host}"


State = Path | Address
"""Where the state is."""


class Store(Protocol):
    """Every store over one state, and what keeps it in order."""

    @property
    def stores(self) -> Stores:
        """What an engine needs."""
        ...

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        ...

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """Delete what is past its retention at `at`; rows deleted per kind. `people`: whom a served model knows."""
        ...

    def close(self) -> None:
        """Write what is queued, then close. Later calls raise StoreError."""
        ...


class ServerStore(Store, Protocol):
    """A store on a server. All its processes sign cursors and tokens with one key, which it keeps."""

    @property
    def signing_key(self) -> bytes:
        """The key of cursors and tracking tokens, where no other one is given."""
        ...


def _open_postgres(address: Address) -> ServerStore:
    require_extra("postgres", f"--state {address}")
    from serving.stores.postgres.store import PostgresStore

    return PostgresStore(address.url, str(address))


def _open_redis(address: Address) -> ServerStore:
    require_extra("redis", f"--state {address}")
    from serving.stores.redis.address import read_address
    from serving.stores.redis.store import RedisStore

    return RedisStore(read_address(address.url))


SERVERS: Final[Mapping[str, Callable[[Address], ServerStore]]] = {
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
    "redis": _open_redis,
    "rediss": _open_redis,
}
"""Opens an address, by its scheme."""


def state_of(name: str | Path | Address) -> State:
    """What a person named: an address where it has `://`. Raises ConfigError for a scheme that nothing here speaks."""
    if isinstance(name, Path | Address):
        return name
    if "://" not in name:
        return Path(name)
    address = Address(name)
    if address.scheme not in SERVERS:
        known = ", ".join(f"{scheme}://" for scheme in SERVERS)
        raise ConfigError(f"found the state at {address}, expected a path, or an address that begins with {known}")
    return address


def open_store(state: State) -> Store:
    """The store that is there. Raises StoreError, with what to do, when it cannot be used."""
    if isinstance(state, Address):
        return open_server(state)
    from serving.stores.sqlite.store import SqliteStore

    return SqliteStore(state)


def open_server(address: Address) -> ServerStore:
    """The store at an address. Raises ConfigError without its driver, and StoreError."""
    return SERVERS[address.scheme](address)


def existing_state(name: str | Path) -> State:
    """A state that is there. Raises ConfigError: a command that reads must not make an empty file."""
    state = state_of(name)
    if isinstance(state, Path) and not state.is_file():
        raise ConfigError(f"found no file {state}, expected the state file that 'sanad serve --state' uses")
    return state
