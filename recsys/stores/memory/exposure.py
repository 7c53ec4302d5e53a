"""Counts of creators' exposure in memory, and what the exposure controllers remember."""

from collections import Counter
from collections.abc import Mapping, Sequence

from recsys.stores.memory.tables import Tables
from recsys.stores.protocols import ExposureCount


class MemoryExposure:
    """`ExposureCounts` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def counts(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `ExposureCounts.counts`."""
        with self._tables.lock:
            rows = sorted((*key, n) for key, n in self._tables.exposure.items() if creator_id in (None, key[0]))
        return tuple(
            ExposureCount(
                creator_id=creator, day=day, country=country, region=region, attribution=attribution,
                is_local=is_local, n=n,
            )
            for creator, day, country, region, attribution, is_local, n in rows
        )  # fmt: skip

    def totals(self) -> Mapping[str, int]:
        """See `ExposureCounts.totals`."""
        totals: Counter[str] = Counter()
        with self._tables.lock:
            for key, n in self._tables.exposure.items():
                totals[key[0]] += n
        return totals

    def local_deliveries(self, country: str, since_day: int) -> tuple[int, int]:
        """See `ExposureCounts.local_deliveries`."""
        with self._tables.lock:
            rows = self._tables.exposure.items()
            recent = [(key[5], n) for key, n in rows if key[2] == country and key[1] >= since_day]
        return sum(n for is_local, n in recent if is_local), sum(n for _, n in recent)


class MemoryControllers:
    """`ControllerStore` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def read(self, market: str) -> bytes | None:
        """See `ControllerStore.read`."""
        return self._tables.controllers.get(market)

    def replace(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `ControllerStore.replace`."""
        with self._tables.lock:
            if self._tables.controllers.get(market) != before:
                return False
            self._tables.controllers[market] = after
            return True


def add_counts(tables: Tables, counts: Sequence[ExposureCount]) -> None:
    """Add what one page counts."""
    for c in counts:
        tables.exposure[c.creator_id, c.day, c.country, c.region, c.attribution, c.is_local] += c.n


def join_old_days(tables: Tables, first_day: int) -> int:
    """Days before `first_day` become day 0; rows joined."""
    old = [key for key in tables.exposure if 0 < key[1] < first_day]
    for key in old:
        tables.exposure[key[0], 0, *key[2:]] += tables.exposure.pop(key)
    return len(old)
