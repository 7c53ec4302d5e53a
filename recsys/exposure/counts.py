"""
What the engine knows of creators' exposure, and how local a market's feeds are: read again once a minute.

Every page is counted when it is committed, without names: a creator, a day, a place of viewers, and how a slot was won.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from recsys.catalogue.items import creator_number
from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.clock import DAY, HOUR, MINUTE, Millis
from recsys.errors import where_raised
from recsys.exposure.controller import (
    is_due,
    locality_factor,
    pack_controller,
    step_controller,
    unpack_controller,
)
from recsys.policy.schema import Market
from recsys.stores.protocols import ControllerStore, ExposureCounts
from recsys.types import Viewer

REFRESH_MS: Final[Millis] = MINUTE
"""How old the counts may get before they are read again."""

ALERT_EVERY_MS: Final[Millis] = HOUR
"""How often at most a region's small supply is reported."""

CONTROLLER_DAYS: Final = 7
"""Days of deliveries that the exposure controller looks at, today included."""


@dataclass(slots=True)
class CreatorExposure:
    """The counts of the moment: `now`. `shrunk` counts pages whose local floor supply made smaller, by region."""

    counts: ExposureCounts
    controllers: ControllerStore
    market: Market
    now: ExposureSnapshot = field(default_factory=ExposureSnapshot)
    shrunk: Counter[str] = field(default_factory=Counter)
    _alerted_at: dict[str, Millis] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def refresh(self, at: Millis) -> str | None:
        """
        Read the counts again when they are older than a minute.

        When that fails the old ones stay for another minute, and a sentence for the operator is returned.
        """
        if self.now.read_at is not None and abs(at - self.now.read_at) < REFRESH_MS:
            return None
        if not self._lock.acquire(blocking=False):
            return None  # another thread reads them already
        try:
            snapshot = _read_snapshot(self.counts, self.now, self.market.locality.new_creator.impressions, at)
            self.now = replace(snapshot, factor=self._controller_factor(at))
        except Exception as error:  # counts only favour: whatever a store raises, feeds go on with the old ones
            self.now = replace(self.now, read_at=at)
            return f"counts of creators not read: {where_raised(error)}; the ones before stay"
        finally:
            self._lock.release()
        return None

    def _controller_factor(self, at: Millis) -> float:
        """The factor of the moment, after a step when one is due; of several processes one takes it."""
        rules, packed = self.market.locality, self.controllers.read(self.market.market)
        state = unpack_controller(packed)
        if is_due(state, rules.controller, at):
            n_local, n = self.counts.local_deliveries(self.market.market, at // DAY - CONTROLLER_DAYS + 1)
            after = step_controller(state, n_local, n, rules, at)
            if self.controllers.replace(self.market.market, packed, pack_controller(after)):
                state = after
        return locality_factor(state, rules.controller)

    def note_supply(self, viewer: Viewer, n_required: int, n_available: int, at: Millis) -> str | None:
        """
        Count a page whose local floor shrank for want of supply.

        Returns a sentence for the operator, once an hour for each region, when the catalogue itself is too small and
        not only what one person has not seen. `n_available` of any 20 places could be local, `n_required` should be.
        People elsewhere (a diaspora) are no sign that the market lacks anything.
        """
        if viewer.country != self.market.market:
            return None
        region = viewer.region if viewer.region in self.market.regions else viewer.country
        name = region or ""
        with self._lock:
            self.shrunk[name] += 1
            if n_available >= n_required or at - self._alerted_at.get(name, at - ALERT_EVERY_MS) < ALERT_EVERY_MS:
                return None
            self._alerted_at[name] = at
        return (
            f"local supply in {region}: found enough for {n_available} of any 20, expected {n_required}; label and "
            "verify more local items"
        )


def _read_snapshot(counts: ExposureCounts, before: ExposureSnapshot, limit: int, at: Millis) -> ExposureSnapshot:
    """The totals by creator's number. `version` grows when a creator came to `limit`, and so stops being new."""
    deliveries = {creator_number(creator_id): n for creator_id, n in counts.totals().items()}
    was_established = {number for number, n in before.deliveries.items() if n >= limit}
    is_established = {number for number, n in deliveries.items() if n >= limit}
    version = before.version + (was_established != is_established)
    return ExposureSnapshot(version=version, read_at=at, deliveries=deliveries)
