"""The stores over one memory."""

from collections.abc import Iterable, Mapping
from typing import Final

from recsys.clock import Millis
from recsys.stores.memory.audit import MemoryAudit, prune_audit
from recsys.stores.memory.catalogue import MemoryCatalogue
from recsys.stores.memory.decisions import MemoryDecisions, prune_decisions
from recsys.stores.memory.events import MemoryEvents, prune_events
from recsys.stores.memory.exposure import MemoryControllers, MemoryExposure, join_old_days
from recsys.stores.memory.reviews import MemoryReviews, prune_reviews
from recsys.stores.memory.tables import Tables
from recsys.stores.memory.users import MemoryCutoffs, MemoryUsers, prune_users
from recsys.stores.protocols import Stores
from recsys.stores.retention import LOG_RETENTION_MS, expiry, retention_cutoff


class MemoryStore:
    """
    Every store over the same memory. Decisions and events stay for `log_retention_ms`, 8 days at least.
    """

    def __init__(self, log_retention_ms: Millis = LOG_RETENTION_MS) -> None:
        self._tables: Final = Tables()
        self._log_retention_ms: Final = log_retention_ms
        self.users: Final = MemoryUsers(self._tables)
        self.cutoffs: Final = MemoryCutoffs(self._tables)
        self.events: Final = MemoryEvents(self._tables)
        self.catalogue: Final = MemoryCatalogue(self._tables)
        self.decisions: Final = MemoryDecisions(self._tables)
        self.exposure: Final = MemoryExposure(self._tables)
        self.controllers: Final = MemoryControllers(self._tables)
        self.audit: Final = MemoryAudit(self._tables)
        self.reviews: Final = MemoryReviews(self._tables)
        self.stores: Final = Stores(
            users=self.users, cutoffs=self.cutoffs, events=self.events, catalogue=self.catalogue,
            decisions=self.decisions, exposure=self.exposure, controllers=self.controllers,
            audit=self.audit, reviews=self.reviews,
        )  # fmt: skip

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return retention_cutoff(at, self._log_retention_ms)

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`; rows (whole pages of deliveries) deleted per table.

        `people` are those whom the model in service knows: of an erased one among them the hash alone stays.
        """
        tables, expired = self._tables, expiry(at, self._log_retention_ms)
        with tables.lock:
            return {
                **prune_users(tables, expired, set(tables.tombstones).intersection(people)),
                "decisions": prune_decisions(tables, expired.decisions),
                "events": prune_events(tables, expired.events),
                "exposure": join_old_days(tables, expired.first_day_apart),
                "audit": prune_audit(tables, expired.audit),
                "reviews": prune_reviews(tables, expired.audit),
            }

    def close(self) -> None:
        """Nothing to do; a file needs it."""
