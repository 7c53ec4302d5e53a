"""
The queue of reviews: whose label a creator asked a person to look at, since when, and what came of it.

An item has at most one open review. Nothing here names a person who watches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from recsys.clock import Millis
from recsys.stores.audit import AuditEntry

Outcome = Literal["upheld", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """
    A review asked for at `asked_at` by the key `asked_by`, to be answered by `due_at`. Open while `answered_at` is
    None. `tier` (0 to 4) is what the item counted when the answer was given.
    """

    seq: int
    item_id: str
    asked_at: Millis
    asked_by: str
    due_at: Millis
    answered_at: Millis | None = None
    answered_by: str | None = None
    outcome: Outcome | None = None
    tier: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCounts:
    """Reviews that are open, those of them past their time, answered ones, and those of them answered in time."""

    open: int
    overdue: int
    answered: int
    answered_in_time: int


class ReviewQueue(Protocol):
    """Reviews of items; an answered one stays for at least 400 days, an open one until it is answered."""

    def ask(self, item_id: str, at: Millis, due_at: Millis, who: str) -> Review:
        """The open review of an item; opened now if there is none. Durable before it returns. Raises StoreError."""
        ...

    def answer(
        self, item_id: str, outcome: Outcome, tier: int, at: Millis, who: str, audit: Sequence[AuditEntry] = ()
    ) -> Review | None:
        """
        Close the open review of an item, and append `audit` in the same transaction; None, and nothing written, when
        there is none.
        """
        ...

    def latest(self, item_ids: Sequence[str]) -> dict[str, Review]:
        """The latest review of each of these items that has one."""
        ...

    def waiting(self, after: int, n: int) -> tuple[Review, ...]:
        """The first `n` open reviews that stand after a place, the oldest first; 0 for the first ones."""
        ...

    def counts(self, at: Millis) -> ReviewCounts:
        """How many there are, as of an instant."""
        ...
