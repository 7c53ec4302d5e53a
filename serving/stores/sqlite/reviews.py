"""The queue of reviews in the state file. It names no person who watches, so nothing in it is sealed."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.stores.audit import AuditEntry
from recsys.stores.reviews import Outcome, Review, ReviewCounts
from serving.stores.sqlite.audit import add_entries
from serving.stores.sqlite.file import Database

_FIELDS: Final = "seq, item_id, asked_at, asked_by, due_at, answered_at, answered_by, outcome, tier"


class SqliteReviews:
    """`ReviewQueue` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, item_id: str, at: Millis, due_at: Millis, who: str) -> Review:
        """See `ReviewQueue.ask`."""

        def write(connection: sqlite3.Connection) -> Review:
            standing = _open_review(connection, item_id)
            if standing is not None:
                return standing
            connection.execute(
                "INSERT INTO reviews (item_id, asked_at, asked_by, due_at) VALUES (?, ?, ?, ?)",
                (item_id, at, who, due_at),
            )
            opened = _open_review(connection, item_id)
            assert opened is not None  # the row that was inserted above
            return opened

        return self._database.write(write)

    def answer(
        self, item_id: str, outcome: Outcome, tier: int, at: Millis, who: str, audit: Sequence[AuditEntry] = ()
    ) -> Review | None:
        """See `ReviewQueue.answer`."""

        def write(connection: sqlite3.Connection) -> Review | None:
            standing = _open_review(connection, item_id)
            if standing is None:
                return None
            connection.execute(
                "UPDATE reviews SET answered_at = ?, answered_by = ?, outcome = ?, tier = ? WHERE seq = ?",
                (at, who, outcome, tier, standing.seq),
            )
            add_entries(connection, audit)
            row = connection.execute(f"SELECT {_FIELDS} FROM reviews WHERE seq = ?", (standing.seq,)).fetchone()
            return _review(row)

        return self._database.write(write)

    def latest(self, item_ids: Sequence[str]) -> dict[str, Review]:
        """See `ReviewQueue.latest`."""
        newest = "SELECT max(seq) FROM reviews WHERE item_id IN (SELECT value FROM json_each(?)) GROUP BY item_id"
        wanted = msgspec.json.encode(list(item_ids)).decode()
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_FIELDS} FROM reviews WHERE seq IN ({newest})", (wanted,)).fetchall()
        return {review.item_id: review for review in map(_review, rows)}

    def waiting(self, after: int, n: int) -> tuple[Review, ...]:
        """See `ReviewQueue.waiting`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_FIELDS} FROM reviews WHERE answered_at IS NULL AND seq > ? ORDER BY seq LIMIT ?", (after, n)
            ).fetchall()
        return tuple(map(_review, rows))

    def counts(self, at: Millis) -> ReviewCounts:
        """See `ReviewQueue.counts`."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*) - count(answered_at), coalesce(sum(answered_at IS NULL AND due_at < ?), 0), "
                "count(answered_at), coalesce(sum(answered_at <= due_at), 0) FROM reviews",
                (at,),
            ).fetchone()
        return ReviewCounts(open=row[0], overdue=row[1], answered=row[2], answered_in_time=row[3])


def _open_review(connection: sqlite3.Connection, item_id: str) -> Review | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM reviews WHERE item_id = ? AND answered_at IS NULL", (item_id,)
    ).fetchone()
    return None if row is None else _review(row)


def _review(row: tuple[object, ...]) -> Review:
    return msgspec.convert(dict(zip(_FIELDS.split(", "), row, strict=True)), Review)
