"""What the stores in memory share: their tables under one lock."""

import hashlib
import hmac
from collections import Counter
from threading import RLock
from typing import Final

from recsys.clock import Millis
from recsys.stores.audit import Audited
from recsys.stores.catalogue_write import StoredCatalogue
from recsys.stores.protocols import CreatorRow, Logged, StoredAnswer, Version
from recsys.stores.reviews import Review
from recsys.user.state import Delivery, SafetyState, UserState

StoredPage = tuple[Millis, tuple[Delivery, ...]]
"""The time of its newest delivery, and the deliveries."""

CountKey = tuple[str, int, str, str, str, bool]
"""The fields of an `ExposureCount` but `n`."""


class Tables:
    """Everything that the stores hold. Take `lock` for whatever must be seen or changed as one."""

    def __init__(self) -> None:
        self.lock: Final = RLock()
        self.users: dict[str, tuple[UserState, Version]] = {}
        self.tombstones: dict[str, tuple[SafetyState, Version, Millis]] = {}
        self.pages: dict[str, list[StoredPage]] = {}
        self.decisions: dict[tuple[str, str], StoredAnswer] = {}  # by user and request, in commit order
        self.events: dict[str, dict[str, Logged]] = {}  # user_id -> event_id -> entry
        self.catalogue: Final = StoredCatalogue()
        self.catalogue_source: str | None = None
        self.creators: dict[str, CreatorRow] = {}
        self.exposure: Counter[CountKey] = Counter()
        self.controllers: dict[str, bytes] = {}
        self.cutoffs: dict[bytes, Millis] = {}
        self.hash_key: Final = b"memory"
        self.n_writes = 0  # of users: numbers their versions
        self.last_seq = 0  # of events
        self.committed_at: Millis = 0
        self.audit: list[Audited] = []
        self.last_audit = 0
        self.reviews: dict[int, Review] = {}  # by place
        self.last_review = 0

    def version_of(self, user_id: str) -> Version:
        """The version that the next write of a user must name."""
        if user_id in self.users:
            return self.users[user_id][1]
        return self.tombstones[user_id][1] if user_id in self.tombstones else 0

    def key_of(self, user_id: str) -> bytes:
        """The keyed hash under which an erased person is remembered."""
        return hmac.digest(self.hash_key, user_id.encode(), hashlib.sha256)

    def commit(self, at: Millis) -> None:
        """Remember the latest time that something was written at."""
        self.committed_at = max(self.committed_at, at)
