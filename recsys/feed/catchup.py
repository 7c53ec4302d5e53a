"""
What happened since a person's state was written: reported events, raised labels. Everything that counts exposure
catches up with it first, in the same way: a page, what a person is shown of it, and what outlives an erasure.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from recsys.catalogue.cache import View
from recsys.catalogue.items import Items
from recsys.clock import DAY, Millis
from recsys.feed.events import Folded, fold
from recsys.safety.ledger import recount
from recsys.safety.loop.signals import Frame
from recsys.stores.protocols import EventLog, Logged, Read, UserStore
from recsys.user.state import Delivery, UserState

RECOUNT: Millis = 8 * DAY


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """
    The catalogue, the events that are not folded in yet, and the deliveries to recount on it; none where no label was
    raised since the last recount.
    """

    items: Items
    logged: tuple[Logged, ...] = ()
    past: tuple[Delivery, ...] = ()


def heard(users: UserStore, log: EventLog, view: View, user_id: str, read: Read, at: Millis) -> Heard:
    """What the stores know beside the state that was read. Raises StoreError."""
    items = view.at_least(read.revision)
    logged = log.since(user_id, read.state.taste.log_seq)
    if not all(entry.event.item_id is None or entry.event.item_id in items.index for entry in logged):
        items = view.at_least(users.read(user_id).revision)  # it came, and was opened, since the state was read
    is_behind = read.state.counted.ledger.revision < items.newest_raise and read.version > 0
    past = users.deliveries(user_id, at - RECOUNT) if is_behind else ()
    # an unknown number is of a page that was committed since; what is made of this state will not be written
    return Heard(items, logged, tuple(delivery for delivery in past if delivery.item_no < len(items)))


def caught_up(state: UserState, news: Heard, frame: Frame, at: Millis) -> Folded:
    """The state with the events folded in, and its past at the tiers of now."""
    folded = fold(state, news.logged, items=news.items, frame=frame)
    counted, items = folded.state.counted, news.items
    if counted.ledger.revision >= items.newest_raise:
        return folded
    # the highest label ever, and what the item counts now with its copies and, for minors, its confidence
    tiers = np.maximum(items.peak_tier, items.minor_tier if frame.is_minor else items.tier)
    past = [
        msgspec.structs.replace(d, tier=max(d.tier, int(tiers[d.item_no])), family=_family(d, items)) for d in news.past
    ]
    ledger = recount(counted.ledger, past, at, items.revision)
    return Folded(
        msgspec.structs.replace(folded.state, counted=msgspec.structs.replace(counted, ledger=ledger)), folded.opens
    )


def _family(delivery: Delivery, items: Items) -> int:
    return delivery.family if delivery.family >= 0 else int(items.family[delivery.item_no])
