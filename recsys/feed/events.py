"""
Events applied to a person's state: pure, in the order of the log, once each. An event can only tighten safety.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from recsys.catalogue.items import Items, is_unlearnable, topic_bits
from recsys.clock import Millis
from recsys.policy.schema import Market
from recsys.safety.ledger import LEDGER_SPAN_MS, deliver, server_time, touch
from recsys.safety.loop.levels import observe_event
from recsys.safety.loop.state import LoopContext
from recsys.stores.protocols import Logged
from recsys.text.duplicates import joins_of
from recsys.types import Event
from recsys.user.feedback import confidence, learnable
from recsys.user.history import HistoryFold
from recsys.user.seen import SeenFold, add_delivered
from recsys.user.state import Delivery, UserState

OPENS = frozenset({"view", "rewatch", "complete"})


@dataclass(frozen=True, slots=True)
class AppliedEvents:
    """The state after the events, and the opens elsewhere in the platform that were counted."""

    state: UserState
    opens: tuple[Delivery, ...]


def apply_events(
    state: UserState, logged: Sequence[Logged], *, items: Items, loop_context: LoopContext
) -> AppliedEvents:
    """
    Every logged event in order. An event of an item that the catalogue does not know adds no
    interaction and opens nothing; what it says about the person counts all the same.
    """
    if not logged:
        return AppliedEvents(state, ())
    fold = _Fold(state, items, loop_context)
    for entry in logged:
        fold.add(entry)
    return fold.result()


class _Fold:
    """A state while events are added to it; history and seen are put together once, at the end."""

    def __init__(self, state: UserState, items: Items, loop_context: LoopContext) -> None:
        self._before, self._items, self._loop_context = state, items, loop_context
        self._ledger, self._loop = state.safety.ledger, state.safety.loop
        self._history, self._seen = HistoryFold(state.interactions), SeenFold(state.seen)
        self._log_seq = state.interactions.log_seq
        self._opens: list[Delivery] = []

    def add(self, entry: Logged) -> None:
        """One event, at the server's time of receipt."""
        event, market = entry.event, self._loop_context.market
        if event.is_history:
            self._note_seen(event, entry.received_at)
            self._log_seq = entry.seq
            return
        self._ledger = touch(self._ledger, entry.received_at, market.session, starts=False)
        item_no = self._items.index.get(event.item_id or "")
        self._react(event, entry.received_at, item_no)
        if event.kind in OPENS and item_no is not None:
            self._open(item_no, entry.received_at)
        self._note_seen(event, entry.received_at)
        self._log_seq = entry.seq
        self._loop = observe_event(self._loop, self._ledger, entry, self._items, self._loop_context)

    def result(self) -> AppliedEvents:
        """The state with what was added."""
        safety = msgspec.structs.replace(self._before.safety, ledger=self._ledger, loop=self._loop)
        interactions = self._history.result(self._log_seq)
        state = msgspec.structs.replace(
            self._before, safety=safety, seen=self._seen.result(), interactions=interactions
        )
        return AppliedEvents(state, tuple(self._opens))

    def _note_seen(self, event: Event, received_at: Millis) -> None:
        """What was shown, watched or liked, here or elsewhere in the platform, does not come again soon."""
        session, item_no = self._loop_context.market.session, self._items.index.get(event.item_id or "")
        if event.kind in session.seen_events and item_no is not None:
            self._seen.add_reported(item_no, min(event.at, received_at), received_at, session.seen_days)

    def _react(self, event: Event, received_at: Millis, item_no: int | None) -> None:
        """What the event says of a taste; an event of an unknown item says nothing."""
        if event.kind == "undo":
            self._history.undo(event.value or "")
        elif self._history.is_undone(event.event_id):
            return
        elif event.creator_id is not None:
            self._history.mark_creator(event.kind, event.creator_id, event.event_id)
        elif item_no is not None:
            weight = confidence(event.kind, event.watch_fraction)
            if weight > 0:
                weight = learnable(weight, bool(is_unlearnable(self._items, item_no)))
            self._history.add_reaction(item_no, weight, min(event.at, received_at), event.event_id)

    def _open(self, item_no: int, at: Millis) -> None:
        """
        What a person opened elsewhere counts as delivered when it is not R0, even above a cap. A view of what was
        delivered here is none, nor is one of its copy; it comes 7 days later at most, so that whatever is opened after
        that was opened again.
        """
        items, loop_context = self._items, self._loop_context
        delivery = delivery_of_open(
            items, item_no, loop_context.market, server_time(self._ledger, at), is_minor=loop_context.is_minor
        )
        if delivery.tier == 0 and not delivery.is_s4:
            return
        videos, since = {item_no, *(join.item_no for join in joins_of(items.copies, item_no))}, at - LEDGER_SPAN_MS
        is_known = any(self._seen.delivered_at(video) >= since for video in videos) or any(
            d.item_no in videos and d.at >= since for d in self._ledger.last
        )
        if not is_known:
            self._ledger = deliver(self._ledger, [delivery], delivery.at)
            self._opens.append(delivery)


def record_page(state: UserState, page: tuple[Delivery, ...], at: Millis, market: Market) -> UserState:
    """The state after a page is delivered."""
    ledger = deliver(state.safety.ledger, page, at)
    return msgspec.structs.replace(
        state,
        safety=msgspec.structs.replace(state.safety, ledger=ledger),
        seen=add_delivered(state.seen, [d.item_no for d in page if d.item_no], at, market.session.seen_days),
    )


def delivery_of_open(items: Items, item_no: int, market: Market, at: Millis, *, is_minor: bool) -> Delivery:
    """One item as a ledger entry that is no page's: opened elsewhere, so it serves no floor."""
    tier = int(items.minor_tier[item_no] if is_minor else items.tier[item_no])
    return Delivery(
        at=at,
        item_no=item_no,
        creator_no=int(items.creator_no[item_no]),
        tier=tier,
        family=int(items.family[item_no]) if tier >= 2 else -1,
        is_s4=bool(items.topics[item_no] & topic_bits([market.hope_topic])),
        topics=int(items.topics[item_no]),
        is_open=True,
    )
