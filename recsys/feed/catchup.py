"""
What happened since a person's state was written: reported events, raised labels. Everything that counts exposure
catches up with it first, in the same way: a page, what a person is shown of it, and what outlives an erasure.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from recsys.catalogue.cache import CatalogueCache
from recsys.catalogue.items import Items
from recsys.clock import Millis
from recsys.feed.events import AppliedEvents, apply_events
from recsys.safety.ledger import recount
from recsys.safety.loop.state import LoopContext
from recsys.stores.protocols import Logged, Read, Stores
from recsys.stores.retention import SAFETY_RETENTION_MS
from recsys.user.state import Delivery, UserState


@dataclass(frozen=True, slots=True, eq=False)
class PendingUpdates:
    """
    The catalogue, the events that are not folded in yet, and the deliveries to recount on it; none where no label was
    raised since the last recount.
    """

    items: Items
    logged: tuple[Logged, ...] = ()
    past: tuple[Delivery, ...] = ()


def read_pending(stores: Stores, cache: CatalogueCache, user_id: str, read: Read, at: Millis) -> PendingUpdates:
    """What the stores know beside the state that was read. Raises StoreError."""
    items = cache.at_least(read.revision)
    if not all(entry.event.item_id is None or entry.event.item_id in items.index for entry in read.logged):
        items = cache.at_least(stores.users.read(user_id).revision)  # it came, and was opened, since the state was read
    is_behind = read.state.safety.ledger.revision < items.newest_raise and read.version > 0
    past = stores.users.deliveries(user_id, at - SAFETY_RETENTION_MS) if is_behind else ()
    # an unknown number is of a page that was committed since; what is made of this state will not be written
    return PendingUpdates(items, read.logged, tuple(delivery for delivery in past if delivery.item_no < len(items)))


def catch_up(state: UserState, pending: PendingUpdates, loop_context: LoopContext, at: Millis) -> AppliedEvents:
    """The state with the events folded in, and its past at the tiers of now."""
    folded = apply_events(state, pending.logged, items=pending.items, loop_context=loop_context)
    counted, items = folded.state.safety, pending.items
    if counted.ledger.revision >= items.newest_raise:
        return folded
    # the highest label ever, and what the item counts now with its copies and, for minors, its confidence
    tiers = np.maximum(items.peak_tier, items.minor_tier if loop_context.is_minor else items.tier)
    past = [
        msgspec.structs.replace(d, tier=max(d.tier, int(tiers[d.item_no])), family=_family(d, items))
        for d in pending.past
    ]
    ledger = recount(counted.ledger, past, at, items.revision)
    return AppliedEvents(
        msgspec.structs.replace(folded.state, safety=msgspec.structs.replace(counted, ledger=ledger)), folded.opens
    )


def _family(delivery: Delivery, items: Items) -> int:
    return delivery.family if delivery.family >= 0 else int(items.family[delivery.item_no])
