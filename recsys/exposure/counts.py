"""
How far creators reach, and how local a market's feeds are lately: counted with every page, read again once a minute.

What is counted names nobody: a creator, a day, a place of viewers, and how a slot was won.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from recsys.catalogue.items import creator_number
from recsys.catalogue.new_creators import ExposureCounts
from recsys.clock import DAY, HOUR, MINUTE, Millis
from recsys.exposure import controller as steering
from recsys.policy.schema import Market
from recsys.stores.protocols import UserStore
from recsys.types import Viewer

EVERY: Final = MINUTE


@dataclass(slots=True)
class CreatorExposure:
    """The counts of the moment."""

    users: UserStore
    market: Market
    now: ExposureCounts = field(default_factory=ExposureCounts)
    shrunk: Counter[str] = field(default_factory=Counter)  # pages whose local floor supply made smaller, by region
    _told: dict[str, Millis] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def refresh(self, at: Millis) -> str | None:
        """
        Reads the counts again when they are older than a minute. When that fails the old ones stay for another minute,
        and what went wrong is returned.
        """
        if self.now.read_at is not None and abs(at - self.now.read_at) < EVERY:
            return None
        if not self._lock.acquire(blocking=False):
            return None  # somebody reads them already
        try:
            counts = _counted(self.users, self.now, self.market.locality.new_creator.impressions, at)
            self.now = replace(counts, factor=_steered(self.users, self.market, at))
        except Exception as error:  # counts only favour: whatever a store raises, feeds go on with the old ones
            self.now = replace(self.now, read_at=at)
            return f"counts of creators not read: {type(error).__name__}: {error}; the ones before stay"
        finally:
            self._lock.release()
        return None

    def note_supply(self, viewer: Viewer, wanted: int, found: int, at: Millis) -> str | None:
        """
        Counts a page whose local floor shrank for want of supply, and says so once an hour for each region when the
        catalogue is too small, and not only what one person has not seen. People elsewhere (a diaspora) are no sign
        that the market lacks anything.
        """
        if viewer.country != self.market.market:
            return None
        region = viewer.region if viewer.region in self.market.regions else viewer.country
        with self._lock:
            self.shrunk[region or ""] += 1
            if found >= wanted:
                return None
            if at - self._told.get(region or "", at - HOUR) < HOUR:
                return None
            self._told[region or ""] = at
        return (
            f"local supply in {region}: found enough for {found} of any 20, expected {wanted}; label and verify more "
            "local items"
        )


def _counted(users: UserStore, before: ExposureCounts, limit: int, at: Millis) -> ExposureCounts:
    deliveries = {creator_number(creator_id): n for creator_id, n in users.reach().items()}
    was_known = {number for number, n in before.deliveries.items() if n >= limit}
    is_known = {number for number, n in deliveries.items() if n >= limit}
    return ExposureCounts(version=before.version + (was_known != is_known), read_at=at, deliveries=deliveries)


def _steered(users: UserStore, market: Market, at: Millis) -> float:
    """The factor of the moment, after a step of the controller when one is due; of several processes one takes it."""
    rules, packed = market.locality, users.steering(market.market)
    state = steering.unpack(packed)
    if steering.is_due(state, rules.controller, at):
        n_local, n = users.local_share(market.market, at // DAY - 6)
        after = steering.step(state, n_local, n, rules, at)
        state = after if users.steer(market.market, packed, steering.pack(after)) else state
    return steering.factor(state, rules.controller)
