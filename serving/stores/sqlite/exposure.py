"""
Counts of creators' exposure in the state file, and what the exposure controllers remember. A page is counted in the
transaction that commits it, together with the other pages of it; nothing here names a person.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from recsys.stores.protocols import ExposureCount
from serving.stores.sqlite.file import Database

_KEY: Final = "creator_id, day, country, region, attribution, is_local"
_ADD: Final = f"""
    INSERT INTO exposure_counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT ({_KEY}) DO UPDATE SET n = n + excluded.n
"""
_ADD_TOTAL: Final = """
    INSERT INTO creator_totals VALUES (?, ?) ON CONFLICT (creator_id) DO UPDATE SET n = n + excluded.n
"""
_JOIN: Final = f"""
    INSERT INTO exposure_counts
    SELECT creator_id, 0, country, region, attribution, is_local, sum(n) FROM exposure_counts
    WHERE day > 0 AND day < ? GROUP BY creator_id, country, region, attribution, is_local
    ON CONFLICT ({_KEY}) DO UPDATE SET n = n + excluded.n
"""


class SqliteExposure:
    """`ExposureCounts` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `ExposureCounts.counts`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_KEY}, n FROM exposure_counts WHERE ?1 IS NULL OR creator_id = ?1 ORDER BY {_KEY}",
                (creator_id,),
            ).fetchall()
        return tuple(
            ExposureCount(
                creator_id=creator, day=day, country=country, region=region, attribution=attribution,
                is_local=bool(is_local), n=n,
            )
            for creator, day, country, region, attribution, is_local, n in rows
        )  # fmt: skip

    def totals(self) -> Mapping[str, int]:
        """See `ExposureCounts.totals`."""
        with self._database.reading() as connection:
            return dict(connection.execute("SELECT creator_id, n FROM creator_totals").fetchall())

    def local_deliveries(self, country: str, since_day: int) -> tuple[int, int]:
        """See `ExposureCounts.local_deliveries`."""
        with self._database.reading() as connection:
            n_local, n = connection.execute(
                "SELECT coalesce(sum(n * is_local), 0), coalesce(sum(n), 0) FROM exposure_counts "
                "WHERE country = ? AND day >= ?",
                (country, since_day),
            ).fetchone()
        return int(n_local), int(n)


class SqliteControllers:
    """`ControllerStore` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, market: str) -> bytes | None:
        """See `ControllerStore.read`."""
        with self._database.reading() as connection:
            return _packed(connection, market)

    def replace(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `ControllerStore.replace`."""

        def work(connection: sqlite3.Connection) -> bool:
            if _packed(connection, market) != before:
                return False
            connection.execute("INSERT OR REPLACE INTO controllers VALUES (?, ?)", (market, after))
            return True

        return self._database.write(work)


def _packed(connection: sqlite3.Connection, market: str) -> bytes | None:
    row = connection.execute("SELECT packed FROM controllers WHERE market = ?", (market,)).fetchone()
    return None if row is None else bytes(row[0])


class CountsOfGroup:
    """What the pages of one commit count, added up. Used on the writer's thread alone."""

    def __init__(self) -> None:
        self._counts: Final[Counter[tuple[str, int, str, str, str, bool]]] = Counter()

    def add(self, counts: Sequence[ExposureCount]) -> None:
        """Add what one page counts."""
        for c in counts:
            self._counts[c.creator_id, c.day, c.country, c.region, c.attribution, c.is_local] += c.n

    def flush(self, connection: sqlite3.Connection) -> None:
        """See `Group.flush`."""
        if not self._counts:
            return
        totals: Counter[str] = Counter()
        for (creator_id, *_), n in self._counts.items():
            totals[creator_id] += n
        connection.executemany(_ADD, [(*key, n) for key, n in self._counts.items()])
        connection.executemany(_ADD_TOTAL, list(totals.items()))
        self.clear()

    def clear(self) -> None:
        """See `Group.clear`."""
        self._counts.clear()


def join_old_days(database: Database, first_day: int) -> int:
    """Days before `first_day` become day 0; rows joined."""

    def work(connection: sqlite3.Connection) -> int:
        connection.execute(_JOIN, (first_day,))
        return connection.execute("DELETE FROM exposure_counts WHERE day > 0 AND day < ?", (first_day,)).rowcount

    return database.write(work)
