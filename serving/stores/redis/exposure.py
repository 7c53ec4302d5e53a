"""
Counts of creators' exposure on the servers, and what the exposure controllers remember. A page's counts travel sealed
in the outbox of its step, and are added up when they are moved; nothing here names a person.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from recsys.stores.protocols import ExposureCount
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Servers
from serving.stores.sealing import Key

_COUNTS: Final = b"exposure"

_Row = tuple[int, str, str, str, str, bool]
"""Day, creator, country, region, attribution, whether it is local: the name of a count, as JSON."""


class RedisExposure:
    """`ExposureCounts` on Redis. Whoever reads them moves what waits first."""

    def __init__(self, servers: Servers, tags: Tags, drain: Callable[[], None]) -> None:
        self._servers = servers
        self._tags = tags
        self._drain = drain

    def counts(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `ExposureCounts.counts`."""
        counts = (
            ExposureCount(
                creator_id=creator, day=day, country=country, region=region, attribution=attribution,
                is_local=is_local, n=n,
            )
            for (day, creator, country, region, attribution, is_local), n in self._rows().items()
            if creator_id in (None, creator)
        )  # fmt: skip
        return tuple(sorted(counts, key=_fields))

    def totals(self) -> Mapping[str, int]:
        """See `ExposureCounts.totals`."""
        self._drain()
        [found] = self._servers.ask(self._tags.shared, ("HGETALL", self._tags.shared + b":totals"))
        return {name.decode(): int(n) for name, n in zip(found[::2], found[1::2], strict=True)}

    def local_deliveries(self, country: str, since_day: int) -> tuple[int, int]:
        """See `ExposureCounts.local_deliveries`."""
        recent = [(row[-1], n) for row, n in self._rows().items() if row[2] == country and row[0] >= since_day]
        return sum(n for is_local, n in recent if is_local), sum(n for _, n in recent)

    def _rows(self) -> Mapping[_Row, int]:
        self._drain()
        [found] = self._servers.ask(self._tags.shared, ("HGETALL", self._tags.shared + b":exposure"))
        rows = (msgspec.json.decode(row, type=_Row) for row in found[::2])
        return {row: int(n) for row, n in zip(rows, found[1::2], strict=True)}


def _fields(count: ExposureCount) -> tuple[str, int, str, str, str, bool]:
    return count.creator_id, count.day, count.country, count.region, count.attribution, count.is_local


class RedisControllers:
    """`ControllerStore` on Redis."""

    def __init__(self, servers: Servers, tags: Tags) -> None:
        self._servers = servers
        self._tags = tags

    def read(self, market: str) -> bytes | None:
        """See `ControllerStore.read`."""
        tag = self._tags.shared
        [packed] = self._servers.ask(tag, ("HGET", tag + b":controllers", market))
        return None if packed is None else bytes(packed)

    def replace(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `ControllerStore.replace`."""
        tag = self._tags.shared
        return bool(self._servers.write(tag, call("replace", tag, market, before or b"", after))[0])


def seal_counts(key: Key, counts: Sequence[ExposureCount]) -> bytes:
    """What one page counts, sealed with the installation's key."""
    added: Counter[_Row] = Counter()
    for c in counts:
        added[c.day, c.creator_id, c.country, c.region, c.attribution, c.is_local] += c.n
    return key.seal(msgspec.msgpack.encode(list(added.items())), _COUNTS)


def open_counts(key: Key, sealed: bytes) -> list[tuple[bytes, str, int]]:
    """The names of a page's counts, their creators, and how many."""
    rows = msgspec.msgpack.decode(key.open(sealed, _COUNTS), type=list[tuple[_Row, int]])
    return [(msgspec.json.encode(row), row[1], n) for row, n in rows]
