"""
Names of keys, the library of functions, and what a server must promise before anything is written to it.

Every key begins with a tag in braces, by which a cluster places it: one of 64 for people, by the keyed hash of their
id, and one for what is of everybody. So whatever a page writes lies on one server.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from redis.exceptions import ResponseError

from recsys.errors import StoreError
from serving.stores.redis.address import Address, Place, place_name
from serving.stores.redis.servers import Argument, Command, Durability, Servers
from serving.stores.redis.topology import read_info, replicas_of

N_TAGS: Final = 64
OLDEST: Final = (7, 0)
"""The first version with functions."""
WITH_WAITAOF: Final = (7, 2)
_SETTINGS: Final = ("maxmemory-policy", "appendonly", "appendfsync")


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one installation."""

    name: str

    @property
    def shared(self) -> bytes:
        """Of what is of everybody."""
        return f"{{{self.name}.all}}".encode()

    @property
    def people(self) -> tuple[bytes, ...]:
        """Those of people."""
        return tuple(f"{{{self.name}.{number:02x}}}".encode() for number in range(N_TAGS))

    def of(self, owner: bytes) -> bytes:
        """That of a person, by the hash of the id."""
        return f"{{{self.name}.{owner[0] % N_TAGS:02x}}}".encode()


@cache
def library() -> tuple[str, str]:
    """The code of the functions, and its version: other code has another, so that several may stand beside another."""
    folder = files("serving.stores.redis")
    code = "".join(folder.joinpath(name).read_text("utf-8") for name in ("people.lua", "shared.lua"))
    version = hashlib.sha256(code.encode()).hexdigest()[:8]
    return code.replace("VERSION", version), version


def call(function: str, tag: bytes, *arguments: Argument) -> Command:
    """The call of a function on the keys of a tag."""
    return ("FCALL", f"sanad_{library()[1]}_{function}", 1, tag, *arguments)


def load_library(servers: Servers, place: Place, error: ResponseError | None = None) -> bool:
    """Load the functions where a server lacks them; whether that was so."""
    if error is not None and "Function not found" not in str(error):
        return False
    try:
        servers.ask_place(place, ("FUNCTION", "LOAD", library()[0]))
    except StoreError as problem:
        if "already exists" not in str(problem):
            raise
    return True


def check_servers(servers: Servers) -> None:
    """
    Check every server that is written to, and its replicas; decide what writes wait for, and load the functions. Raises
    StoreError with the sentence of the first that does not keep what is promised.
    """
    versions: list[tuple[int, ...]] = []
    n_replicas: list[int] = []
    for master in servers.masters:
        replicas = replicas_of(lambda place, command: servers.ask_place(place, command)[0], master)
        n_replicas.append(len(replicas))
        versions.append(_check(servers, master, is_primary=True))
        for replica in replicas:
            _check(servers, replica, is_primary=False)
    wanted = servers.address.replicas
    fewest = min(n_replicas)
    if wanted is not None and wanted > fewest:
        raise StoreError(
            f"{servers.address}: found a server with {fewest} replicas, expected {wanted} as the address says; start "
            "them, or name fewer"
        )
    waited = min(1, max(n_replicas)) if wanted is None else wanted
    if wanted is None and waited > fewest:
        raise StoreError(
            f"{servers.address}: found servers without a replica beside some with one; start the replicas that are "
            "missing, or write replicas=0 into the address, by which a failover may lose what was answered"
        )
    on_disk = min(versions) >= WITH_WAITAOF
    servers.durability = Durability(waited, on_disk=on_disk)
    shared = Tags(servers.address.name).shared  # a takedown must not be lost, whatever pages may lose
    servers.careful = (shared, Durability(max(waited, min(1, fewest)), on_disk=on_disk))
    servers.restore = lambda place, error: load_library(servers, place, error)
    for master in servers.masters:
        load_library(servers, master)


def _check(servers: Servers, place: Place, *, is_primary: bool) -> tuple[int, ...]:
    """Check one server; its version."""
    [reply] = servers.ask_place(place, ("INFO",))
    info, where = read_info(reply), place_name(place)
    version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    if version < OLDEST:
        raise StoreError(f"{where}: found Redis {info['redis_version']}, expected 7.0 or later; bring it up to date")
    if is_primary and info["role"] != "master":
        raise StoreError(f"{where}: found a read-only replica, expected a server that is written to; name the primary")
    settings = {name: setting_of(servers, place, name) for name in _SETTINGS}
    if settings["maxmemory-policy"] != "noeviction":
        raise StoreError(
            f"{where}: found maxmemory-policy {settings['maxmemory-policy']}, by which it forgets what caps count"
            "; set it to noeviction"
        )
    if settings["appendonly"] != "yes":
        raise StoreError(f"{where}: found no append-only file, so a restart loses people; set appendonly to yes")
    accepted = _accepted(servers.address, version)
    if settings["appendfsync"] not in accepted:
        raise StoreError(
            f"{where}: found appendfsync {settings['appendfsync']}, by which a power cut loses what was answered, "
            f"expected {' or '.join(accepted)}; set it, or accept the loss of a second with fsync=everysec"
        )
    return version


def _accepted(address: Address, version: tuple[int, ...]) -> tuple[str, ...]:
    """WAITAOF waits for the disk whatever the setting, so there a flush every second only makes it slow."""
    return ("always", "everysec") if address.fsync == "everysec" or version >= WITH_WAITAOF else ("always",)


def setting_of(servers: Servers, place: Place, name: str) -> str:
    """A setting of a server."""
    try:
        [reply] = servers.ask_place(place, ("CONFIG", "GET", name))
    except StoreError as error:
        raise StoreError(
            f"{place_name(place)}: found no way to read {name} ({error}); allow CONFIG GET to the user of the state"
        ) from error
    return str(reply[1].decode()) if reply else "unknown"
