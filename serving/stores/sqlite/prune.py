"""Deleting what is past its retention, a few rows at a time, so that feeds are served in between."""

from typing import Final

from recsys.clock import Millis
from serving.stores.sqlite.file import Database

_ROWS_AT_ONCE: Final = 500


def prune_table(database: Database, table: str, column: str, oldest: Millis, key: str = "rowid") -> int:
    """Delete the rows of a table whose time in `column` is before `oldest`; how many there were."""
    rows = f"SELECT {key} FROM {table} WHERE {column} < ? LIMIT {_ROWS_AT_ONCE}"
    statement = f"DELETE FROM {table} WHERE {key} IN ({rows})"
    deleted = 0
    while True:
        n = database.write(lambda connection: connection.execute(statement, (oldest,)).rowcount)
        deleted += n
        if n < _ROWS_AT_ONCE:
            return deleted
