"""The queue of reviews on the servers. It names no person who watches, so nothing in it is sealed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.stores.audit import AuditEntry
from recsys.stores.reviews import Outcome, Review, ReviewCounts
from serving.stores.redis.audit import audit_arguments
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Servers

_REVIEW: Final = msgspec.json.Decoder(Review)


class RedisReviews:
    """`ReviewQueue` on Redis."""

    def __init__(self, servers: Servers, tags: Tags) -> None:
        self._servers = servers
        self._tag = tags.shared

    def ask(self, item_id: str, at: Millis, due_at: Millis, who: str) -> Review:
        """See `ReviewQueue.ask`."""
        asked = Review(seq=0, item_id=item_id, asked_at=at, asked_by=who, due_at=due_at)
        [(seq, packed)] = self._servers.write(self._tag, call("ask", self._tag, item_id, msgspec.json.encode(asked)))
        return replace(_REVIEW.decode(packed), seq=int(seq))

    def answer(
        self, item_id: str, outcome: Outcome, tier: int, at: Millis, who: str, audit: Sequence[AuditEntry] = ()
    ) -> Review | None:
        """See `ReviewQueue.answer`."""
        standing = self.latest([item_id]).get(item_id)
        if standing is None or standing.answered_at is not None:
            return None
        answered = replace(standing, answered_at=at, answered_by=who, outcome=outcome, tier=tier)
        arguments = (item_id, standing.seq, msgspec.json.encode(answered), *audit_arguments(audit))
        return answered if self._servers.write(self._tag, call("answer", self._tag, *arguments))[0] else None

    def latest(self, item_ids: Sequence[str]) -> dict[str, Review]:
        """See `ReviewQueue.latest`."""
        if not item_ids:
            return {}
        [seqs] = self._servers.ask(self._tag, ("HMGET", self._tag + b":last_reviews", *item_ids))
        reviews = self._reviews([seq for seq in seqs if seq is not None])
        return {review.item_id: review for review in reviews}

    def waiting(self, after: int, n: int) -> tuple[Review, ...]:
        """See `ReviewQueue.waiting`."""
        [found] = self._servers.ask(self._tag, ("HVALS", self._tag + b":open_reviews"))
        later = sorted(int(seq) for seq in found if int(seq) > after)
        return tuple(self._reviews([str(seq).encode() for seq in later[:n]]))

    def counts(self, at: Millis) -> ReviewCounts:
        """See `ReviewQueue.counts`."""
        [found] = self._servers.ask(self._tag, ("HVALS", self._tag + b":reviews"))
        reviews = [_REVIEW.decode(packed) for packed in found]
        still_open = [review for review in reviews if review.answered_at is None]
        return ReviewCounts(
            open=len(still_open),
            overdue=sum(review.due_at < at for review in still_open),
            answered=len(reviews) - len(still_open),
            answered_in_time=sum(r.answered_at is not None and r.answered_at <= r.due_at for r in reviews),
        )

    def _reviews(self, seqs: Sequence[bytes]) -> list[Review]:
        if not seqs:
            return []
        [found] = self._servers.ask(self._tag, ("HMGET", self._tag + b":reviews", *seqs))
        pairs = zip(seqs, found, strict=True)
        return [replace(_REVIEW.decode(packed), seq=int(seq)) for seq, packed in pairs if packed is not None]
