"""
Counts of creators' exposure in the database, and what the exposure controllers remember. A page puts what it counts
into an outbox within its transaction; it is added up from there, and read with what still waits. It names no person.
"""

import time
from collections.abc import Mapping
from typing import Final

from recsys.stores.protocols import ExposureCount
from serving.stores.postgres.server import Database

_KEY: Final = "creator, day, country, region, attribution, is_local"
_PAGES_AT_ONCE: Final = 2_000
_ADD_UP_EVERY_S: Final = 10.0
_ADD_UP: Final = f"""
    WITH gone AS (
        DELETE FROM sanad.outbox WHERE id IN (
            SELECT id FROM sanad.outbox ORDER BY id LIMIT {_PAGES_AT_ONCE} FOR UPDATE SKIP LOCKED)
        RETURNING counts
    ), counted AS MATERIALIZED (
        SELECT decode(c ->> 0, 'hex') AS creator, (c ->> 1)::int AS day, c ->> 2 AS country, c ->> 3 AS region,
            c ->> 4 AS attribution, (c ->> 5)::boolean AS is_local, (c ->> 6)::bigint AS n
        FROM gone, jsonb_array_elements(gone.counts) AS c
    ), days AS (
        INSERT INTO sanad.exposure_counts
        SELECT {_KEY}, sum(n) FROM counted GROUP BY {_KEY} ORDER BY {_KEY}
        ON CONFLICT ({_KEY}) DO UPDATE SET n = sanad.exposure_counts.n + excluded.n
    ), totals AS (
        INSERT INTO sanad.creator_totals SELECT creator, sum(n) FROM counted GROUP BY creator ORDER BY creator
        ON CONFLICT (creator) DO UPDATE SET n = sanad.creator_totals.n + excluded.n
    )
    SELECT count(*) FROM gone
"""
_JOIN: Final = f"""
    WITH old AS (DELETE FROM sanad.exposure_counts WHERE day > 0 AND day < %s RETURNING *), joined AS (
        INSERT INTO sanad.exposure_counts
        SELECT creator, 0, country, region, attribution, is_local, sum(n) FROM old
        GROUP BY creator, country, region, attribution, is_local
        ON CONFLICT ({_KEY}) DO UPDATE SET n = sanad.exposure_counts.n + excluded.n
    )
    SELECT count(*) FROM old
"""


class PostgresExposure:
    """`ExposureCounts` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._added_at = -_ADD_UP_EVERY_S

    def _add_up(self) -> None:
        """Add up now and then; what waits is read all the same."""
        if time.monotonic() - self._added_at >= _ADD_UP_EVERY_S:
            self._added_at = time.monotonic()
            add_up(self._database)

    def counts(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """See `ExposureCounts.counts`."""
        self._add_up()
        given = None if creator_id is None else creator_id.encode()
        rows = self._database.read(
            f"SELECT {_KEY}, sum(n)::bigint FROM sanad.exposure WHERE %s::bytea IS NULL OR creator = %s "
            f'GROUP BY {_KEY} ORDER BY creator, day, country COLLATE "C", region COLLATE "C", '
            'attribution COLLATE "C", is_local',
            (given, given),
        )
        return tuple(
            ExposureCount(
                creator_id=creator.decode(), day=day, country=country, region=region, attribution=attribution,
                is_local=is_local, n=n,
            )
            for creator, day, country, region, attribution, is_local, n in rows
        )  # fmt: skip

    def totals(self) -> Mapping[str, int]:
        """See `ExposureCounts.totals`."""
        self._add_up()
        rows = self._database.read(
            "SELECT creator, sum(n)::bigint FROM (SELECT creator, n FROM sanad.creator_totals UNION ALL "
            "SELECT decode(c ->> 0, 'hex'), (c ->> 6)::bigint FROM sanad.outbox, jsonb_array_elements(counts) AS c) t "
            "GROUP BY creator"
        )
        return {creator.decode(): n for creator, n in rows}

    def local_deliveries(self, country: str, since_day: int) -> tuple[int, int]:
        """See `ExposureCounts.local_deliveries`."""
        self._add_up()
        [(n_local, n)] = self._database.read(
            "SELECT coalesce(sum(n) FILTER (WHERE is_local), 0)::bigint, coalesce(sum(n), 0)::bigint "
            "FROM sanad.exposure WHERE country = %s AND day >= %s",
            (country, since_day),
        )
        return int(n_local), int(n)


class PostgresControllers:
    """`ControllerStore` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def read(self, market: str) -> bytes | None:
        """See `ControllerStore.read`."""
        rows = self._database.read("SELECT packed FROM sanad.controllers WHERE market = %s", (market.encode(),))
        return bytes(rows[0][0]) if rows else None

    def replace(self, market: str, before: bytes | None, after: bytes) -> bool:
        """See `ControllerStore.replace`."""
        if before is None:
            statement, values = "INSERT INTO sanad.controllers VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING 1", ()
            return bool(self._database.write(statement, (market.encode(), after, *values)))
        statement = "UPDATE sanad.controllers SET packed = %s WHERE market = %s AND packed = %s RETURNING 1"
        return bool(self._database.write(statement, (after, market.encode(), before)))


def add_up(database: Database) -> None:
    """Add up what pages counted. What another process is adding up is left to it, and read all the same."""
    while database.write(_ADD_UP)[0][0] == _PAGES_AT_ONCE:
        pass


def join_old_days(database: Database, first_day: int) -> int:
    """Days before `first_day` become day 0; rows joined."""
    add_up(database)
    [(joined,)] = database.write(_JOIN, (first_day,))
    return int(joined)
