"""
How far creators reach, and how local a market's feeds are lately: counted with every page, read again once a minute.

What is counted names nobody: a creator, a day, a place of viewers, and how a slot was won.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

import numpy as np

from recsys.catalogue.items import Items, creator_number
from recsys.clock import DAY, HOUR, MINUTE, Millis
from recsys.exposure import controller as steering
from recsys.feed.slate import Selection
from recsys.policy.schema import Market
from recsys.stores.protocols import Tally, UserStore
from recsys.types import Candidates, Mask, Viewer

EVERY: Final = MINUTE
WAYS: Final = ("floor", "exploration", "merit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    Deliveries by creator's number and the controller's factor, as of `read_at`; `version` grows when a creator stops
    being new.
    """

    version: int = 0
    read_at: Millis | None = None
    deliveries: Mapping[int, int] = field(default_factory=dict)
    factor: float = 1.0  # what the controller multiplies the weight of locality by

    def is_new(self, items: Items, limit: int) -> Mask:
        """(n_items,) whether an item's creator was delivered less often than `limit`."""
        known = sorted(number for number, n in self.deliveries.items() if n >= limit)
        return np.asarray(~np.isin(items.creator_no, known))


@dataclass(slots=True)
class Reach:
    """The counts of the moment."""

    users: UserStore
    market: Market
    now: Counts = Counts()
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


def _counted(users: UserStore, before: Counts, limit: int, at: Millis) -> Counts:
    deliveries = {creator_number(creator_id): n for creator_id, n in users.reach().items()}
    was_known = {number for number, n in before.deliveries.items() if n >= limit}
    is_known = {number for number, n in deliveries.items() if n >= limit}
    return Counts(version=before.version + (was_known != is_known), read_at=at, deliveries=deliveries)


def _steered(users: UserStore, market: Market, at: Millis) -> float:
    """The factor of the moment, after a step of the controller when one is due; of several processes one takes it."""
    rules, packed = market.locality, users.steering(market.market)
    state = steering.unpack(packed)
    if steering.is_due(state, rules.controller, at):
        n_local, n = users.local_share(market.market, at // DAY - 6)
        after = steering.step(state, n_local, n, rules, at)
        state = after if users.steer(market.market, packed, steering.pack(after)) else state
    return steering.factor(state, rules.controller)


def tallies_of(
    items: Items, candidates: Candidates, selection: Selection, viewer: Viewer, market: Market, at: Millis
) -> tuple[Tally, ...]:
    """What one page adds to the counts. A region that the market does not know is kept as unknown."""
    region = viewer.region if viewer.region in market.regions else None
    found: Counter[tuple[str, str, bool]] = Counter()
    for slot, row in enumerate(selection.rows.tolist()):
        creator_id = items.creator_ids[int(candidates.item_nos[row])]
        found[creator_id, _way(selection, slot), bool(candidates["is_local"][row])] += 1
    return tuple(
        Tally(
            creator_id=creator_id, day=at // DAY, country=viewer.country, region=region or "", way=way,
            is_local=is_local, n=n,
        )
        for (creator_id, way, is_local), n in found.items()
    )  # fmt: skip


def _way(selection: Selection, slot: int) -> str:
    """How a slot was won: by exploration, because the local floor left nothing else, or by its score."""
    if selection.is_exploration[slot]:
        return "exploration"
    return "floor" if selection.forced[slot] == "local" else "merit"
