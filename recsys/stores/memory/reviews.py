"""The queue of reviews in memory."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from recsys.clock import Millis
from recsys.stores.audit import AuditEntry
from recsys.stores.memory.audit import add_entries
from recsys.stores.memory.tables import Tables
from recsys.stores.reviews import Outcome, Review, ReviewCounts


class MemoryReviews:
    """`ReviewQueue` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def ask(self, item_id: str, at: Millis, due_at: Millis, who: str) -> Review:
        """See `ReviewQueue.ask`."""
        with self._tables.lock:
            standing = self.latest([item_id]).get(item_id)
            if standing is not None and standing.answered_at is None:
                return standing
            self._tables.last_review += 1
            review = Review(seq=self._tables.last_review, item_id=item_id, asked_at=at, asked_by=who, due_at=due_at)
            self._tables.reviews[review.seq] = review
            return review

    def answer(
        self, item_id: str, outcome: Outcome, tier: int, at: Millis, who: str, audit: Sequence[AuditEntry] = ()
    ) -> Review | None:
        """See `ReviewQueue.answer`."""
        with self._tables.lock:
            standing = self.latest([item_id]).get(item_id)
            if standing is None or standing.answered_at is not None:
                return None
            answered = replace(standing, answered_at=at, answered_by=who, outcome=outcome, tier=tier)
            self._tables.reviews[answered.seq] = answered
            add_entries(self._tables, audit)
            return answered

    def latest(self, item_ids: Sequence[str]) -> dict[str, Review]:
        """See `ReviewQueue.latest`."""
        wanted = set(item_ids)
        with self._tables.lock:
            return {review.item_id: review for review in self._tables.reviews.values() if review.item_id in wanted}

    def waiting(self, after: int, n: int) -> tuple[Review, ...]:
        """See `ReviewQueue.waiting`."""
        with self._tables.lock:
            still_open = (r for r in self._tables.reviews.values() if r.answered_at is None and r.seq > after)
            return tuple(islice(still_open, n))

    def counts(self, at: Millis) -> ReviewCounts:
        """See `ReviewQueue.counts`."""
        with self._tables.lock:
            reviews = tuple(self._tables.reviews.values())
        still_open = [review for review in reviews if review.answered_at is None]
        return ReviewCounts(
            open=len(still_open),
            overdue=sum(review.due_at < at for review in still_open),
            answered=len(reviews) - len(still_open),
            answered_in_time=sum(r.answered_at is not None and r.answered_at <= r.due_at for r in reviews),
        )


def prune_reviews(tables: Tables, oldest: Millis) -> int:
    """Delete reviews that were answered before an instant; rows deleted."""
    old = [r.seq for r in tables.reviews.values() if r.answered_at is not None and r.answered_at < oldest]
    for seq in old:
        del tables.reviews[seq]
    return len(old)
