"""Records of pages in the state file."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from recsys.stores.protocols import StoredAnswer
from serving.stores.sqlite.file import Database

ANSWER_COLUMNS: Final = ("request_id", "user_id", "at", "body_hash", "answer", "decision")
_COLUMNS: Final = ", ".join(ANSWER_COLUMNS)


class SqliteDecisions:
    """`DecisionLog` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """See `DecisionLog.of_request`."""
        answers = self._select("WHERE request_id = ? ORDER BY seq DESC LIMIT 1", request_id)
        return answers[0] if answers else None

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.of_user`."""
        return self._select("WHERE user_id = ? ORDER BY seq", user_id)

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.newest`."""
        return self._select("ORDER BY seq DESC LIMIT ?", n)

    def _select(self, which: str, value: str | int) -> tuple[StoredAnswer, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM decisions {which}", (value,)).fetchall()
        return tuple(map(answer_of, rows))


def answer_of(columns: Sequence[Any]) -> StoredAnswer:
    """A record from the values of `ANSWER_COLUMNS`."""
    return StoredAnswer(**dict(zip(ANSWER_COLUMNS, columns, strict=True)))


def add_decision(connection: sqlite3.Connection, user_id: str, answer: StoredAnswer) -> None:
    """The record of a page, in place of an earlier one under the same request id."""
    connection.execute(
        f"INSERT OR REPLACE INTO decisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
        (answer.request_id, user_id, answer.at, answer.body_hash, answer.answer, answer.decision),
    )
