"""Which server holds which hash slot: in a cluster as it says; else the one server that is written to."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ClusterDownError, ConnectionError, RedisError

from serving.stores.redis.address import Place

N_SLOTS: Final = 16_384

Look = Callable[[Place, tuple[str, ...]], Any]
"""Asks one server one thing."""


@dataclass(frozen=True, slots=True)
class Map:
    """The servers that are written to, and whose each hash slot is; None where one has all."""

    masters: tuple[Place, ...]
    slots: Sequence[Place] | None


def read_map(look: Look, places: Sequence[Place]) -> Map:
    """The map as the first of some servers knows it, or the primary among them. Raises what the last one raised."""
    problem: Exception = ConnectionError("no server was named")
    primaries: list[tuple[int, int, Place]] = []
    for place in places:
        try:
            info = read_info(look(place, ("INFO",)))
            if info.get("cluster_enabled") == "1":
                return _cluster(place, look(place, ("CLUSTER", "SLOTS")))
        except (RedisError, OSError) as error:
            problem = error
            continue
        if info.get("role") == "master" or len(places) == 1:
            n_replicas, offset = int(info.get("connected_slaves", 0)), int(info.get("master_repl_offset", 0))
            primaries.append((n_replicas, offset, place))
    if not primaries:
        raise problem
    return Map((max(primaries)[2],), None)  # one that lost its role while it was away has no replicas


def _cluster(asked: Place, ranges: Sequence[Any]) -> Map:
    slots: list[Place] = [asked] * N_SLOTS
    n_covered = 0
    for first, last, master, *_ in ranges:
        slots[first : last + 1] = [_place(asked, master)] * (last + 1 - first)
        n_covered += last + 1 - first
    if n_covered != N_SLOTS:
        raise ClusterDownError("some hash slots are on no server")
    return Map(tuple(sorted(set(slots))), slots)


def _place(asked: Place, node: Sequence[Any]) -> Place:
    return node[0].decode() if node[0] else asked[0], int(node[1])


def replicas_of(look: Look, master: Place) -> tuple[Place, ...]:
    """The replicas that a server knows, also those that are still being filled."""
    info = read_info(look(master, ("INFO", "replication")))
    listed = [dict(part.split("=", 1) for part in text.split(",")) for name, text in info.items() if _is_replica(name)]
    found: list[Place] = []
    for replica in listed:
        with suppress(KeyError, ValueError):
            found.append((replica["ip"], int(replica["port"])))
    return tuple(found)


def _is_replica(name: str) -> bool:
    return name.startswith("slave") and name[5:].isdigit()


def read_info(reply: bytes) -> Mapping[str, str]:
    """What INFO says, by name."""
    lines = (line.partition(":") for line in reply.decode().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines if name}
