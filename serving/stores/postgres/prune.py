"""Deleting what is past its retention. Of the tables of days a whole day goes at once; until then it is not read."""

from contextlib import suppress
from typing import Final

from recsys.clock import DAY, Millis
from recsys.errors import StoreError
from serving.stores.postgres.schema import AHEAD, DAILY, add_days, drop_day, past_days
from serving.stores.postgres.server import Database

_ROWS_AT_ONCE: Final = 5_000


def prune_days(database: Database, table: str, oldest: Millis) -> int:
    """
    Let rows of a table before an instant count as deleted, and drop the days that hold no others; how many rows
    that were. What is older on the day of the instant itself stays on the disk, sealed, until that day is over.
    """
    column, since = DAILY[table], f"{table}_since"
    [(n,)] = database.write(
        f"SELECT count(*) FROM sanad.{table}, sanad.meta WHERE {column} < %s AND {column} >= {since}", (oldest,)
    )
    database.write(f"UPDATE sanad.meta SET {since} = %s WHERE {since} < %s", (oldest, oldest))
    for name in past_days(database, table, oldest):
        with suppress(StoreError):  # next time
            drop_day(database, name)
    return int(n)


def prune_table(database: Database, table: str, column: str, oldest: Millis) -> int:
    """Delete the rows of a table whose time in `column` is before `oldest`, a few at a time; how many there were."""
    statement = (
        f"DELETE FROM sanad.{table} WHERE ctid = ANY (ARRAY("
        f"SELECT ctid FROM sanad.{table} WHERE {column} < %s LIMIT {_ROWS_AT_ONCE})) RETURNING 1"
    )
    deleted = 0
    while True:
        n = len(database.write(statement, (oldest,)))
        deleted += n
        if n < _ROWS_AT_ONCE:
            return deleted


def make_ahead(database: Database, at: Millis) -> None:
    """Make the partitions of today and of the next days, so that no page waits for one."""
    add_days(database, [at + day * DAY for day in range(AHEAD + 1)])


def forget_connections(database: Database) -> None:
    """Delete the times of connections that are gone. The latest one stays: it is the time of the state."""
    database.write(
        "DELETE FROM sanad.written WHERE at < (SELECT max(at) FROM sanad.written) "
        "AND backend NOT IN (SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL)"
    )
