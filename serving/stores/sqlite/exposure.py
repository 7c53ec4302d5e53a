"""What was delivered of each creator, in the state file: counted in the transaction of the page, read without names."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from recsys.stores.protocols import ExposureCount
from serving.stores.sqlite.file import Database

_COUNT: Final = """
    INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (creator_id, day, country, region, way, is_local) DO UPDATE SET n = n + excluded.n
"""
_JOIN: Final = """
    INSERT INTO tallies
    SELECT creator_id, 0, country, region, way, is_local, sum(n) FROM tallies WHERE day > 0 AND day < ?
    GROUP BY creator_id, country, region, way, is_local
    ON CONFLICT (creator_id, day, country, region, way, is_local) DO UPDATE SET n = n + excluded.n
"""


def count(connection: sqlite3.Connection, tallies: Sequence[ExposureCount]) -> None:
    """Add one page's tallies."""
    connection.executemany(
        _COUNT, [(t.creator_id, t.day, t.country, t.region, t.way, t.is_local, t.n) for t in tallies]
    )
    connection.executemany(
        "INSERT INTO reach VALUES (?, ?) ON CONFLICT (creator_id) DO UPDATE SET n = n + excluded.n",
        [(t.creator_id, t.n) for t in tallies],
    )


def tallies(database: Database, creator_id: str | None) -> tuple[ExposureCount, ...]:
    """See `UserStore.tallies`."""
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT creator_id, day, country, region, way, is_local, n FROM tallies "
            "WHERE ?1 IS NULL OR creator_id = ?1 ORDER BY creator_id, day, country, region, way, is_local",
            (creator_id,),
        ).fetchall()
    return tuple(
        ExposureCount(
            creator_id=creator, day=day, country=country, region=region, way=way, is_local=bool(is_local), n=n
        )
        for creator, day, country, region, way, is_local, n in rows
    )


def reach(database: Database) -> Mapping[str, int]:
    """See `UserStore.reach`."""
    with database.reading() as connection:
        return dict(connection.execute("SELECT creator_id, n FROM reach").fetchall())


def local_share(database: Database, country: str, since_day: int) -> tuple[int, int]:
    """See `UserStore.local_share`."""
    with database.reading() as connection:
        n_local, n = connection.execute(
            "SELECT coalesce(sum(n * is_local), 0), coalesce(sum(n), 0) FROM tallies WHERE country = ? AND day >= ?",
            (country, since_day),
        ).fetchone()
    return int(n_local), int(n)


def steering(database: Database, market: str) -> bytes | None:
    """See `UserStore.steering`."""
    with database.reading() as connection:
        found = connection.execute("SELECT packed FROM steering WHERE market = ?", (market,)).fetchone()
    return None if found is None else bytes(found[0])


def steer(database: Database, market: str, before: bytes | None, after: bytes) -> bool:
    """See `UserStore.steer`."""

    def work(connection: sqlite3.Connection) -> bool:
        found = connection.execute("SELECT packed FROM steering WHERE market = ?", (market,)).fetchone()
        if (None if found is None else bytes(found[0])) != before:
            return False
        connection.execute("INSERT OR REPLACE INTO steering VALUES (?, ?)", (market, after))
        return True

    return database.write(work)


def join_old_days(database: Database, oldest: int) -> int:
    """Days before `oldest` become day 0; rows joined."""

    def work(connection: sqlite3.Connection) -> int:
        connection.execute(_JOIN, (oldest,))
        return connection.execute("DELETE FROM tallies WHERE day > 0 AND day < ?", (oldest,)).rowcount

    return database.write(work)
