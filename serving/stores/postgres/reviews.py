"""The queue of reviews in the database. It names no person who watches, so nothing in it is sealed."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.stores.audit import AuditEntry
from recsys.stores.reviews import Outcome, Review, ReviewCounts
from serving.stores.postgres.audit import add_entries
from serving.stores.postgres.server import Connection, Database

_FIELDS: Final = "seq, item_id, asked_at, asked_by, due_at, answered_at, answered_by, outcome, tier"


class PostgresReviews:
    """`ReviewQueue` in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def ask(self, item_id: str, at: Millis, due_at: Millis, who: str) -> Review:
        """See `ReviewQueue.ask`."""

        def work(connection: Connection) -> Review:
            connection.execute(
                "INSERT INTO sanad.reviews (item_id, asked_at, asked_by, due_at) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (item_id) WHERE answered_at IS NULL DO NOTHING",
                (item_id.encode(), at, who, due_at),
            )
            standing = _open_review(connection, item_id)
            assert standing is not None  # the row that was inserted above, or was there
            return standing

        return self._database.transact(work)

    def answer(
        self, item_id: str, outcome: Outcome, tier: int, at: Millis, who: str, audit: Sequence[AuditEntry] = ()
    ) -> Review | None:
        """See `ReviewQueue.answer`."""

        def work(connection: Connection) -> Review | None:
            row = connection.execute(
                "UPDATE sanad.reviews SET answered_at = %s, answered_by = %s, outcome = %s, tier = %s "
                f"WHERE item_id = %s AND answered_at IS NULL RETURNING {_FIELDS}".encode(),
                (at, who, outcome, tier, item_id.encode()),
                binary=True,
            ).fetchone()
            if row is None:
                return None
            add_entries(connection, audit)
            return _review(row)

        return self._database.transact(work)

    def latest(self, item_ids: Sequence[str]) -> dict[str, Review]:
        """See `ReviewQueue.latest`."""
        rows = self._database.read(
            f"SELECT DISTINCT ON (item_id) {_FIELDS} FROM sanad.reviews WHERE item_id = ANY (%s::bytea[]) "
            "ORDER BY item_id, seq DESC",
            ([item_id.encode() for item_id in item_ids],),
        )
        return {review.item_id: review for review in map(_review, rows)}

    def waiting(self, after: int, n: int) -> tuple[Review, ...]:
        """See `ReviewQueue.waiting`."""
        rows = self._database.read(
            f"SELECT {_FIELDS} FROM sanad.reviews WHERE answered_at IS NULL AND seq > %s ORDER BY seq LIMIT %s",
            (after, n),
        )
        return tuple(map(_review, rows))

    def counts(self, at: Millis) -> ReviewCounts:
        """See `ReviewQueue.counts`."""
        [row] = self._database.read(
            "SELECT count(*) - count(answered_at), count(*) FILTER (WHERE answered_at IS NULL AND due_at < %s), "
            "count(answered_at), count(*) FILTER (WHERE answered_at <= due_at) FROM sanad.reviews",
            (at,),
        )
        return ReviewCounts(open=row[0], overdue=row[1], answered=row[2], answered_in_time=row[3])


def _open_review(connection: Connection, item_id: str) -> Review | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM sanad.reviews WHERE item_id = %s AND answered_at IS NULL".encode(),
        (item_id.encode(),),
        binary=True,
    ).fetchone()
    return None if row is None else _review(row)


def _review(row: tuple[Any, ...]) -> Review:
    fields = dict(zip(_FIELDS.split(", "), row, strict=True))
    return msgspec.convert({**fields, "item_id": fields["item_id"].decode()}, Review)
