"""
Events applied to a person's state: pure, in the order of the log, once each. An event can only tighten safety.
"""

from collections.abc import Iterable
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
from recsys.user.history import add_reaction, mark_creator, undo
from recsys.user.seen import add_delivered, add_reported, delivered_at
from recsys.user.state import Delivery, InteractionHistory, Ledger, Seen, UserState

OPENS = frozenset({"view", "rewatch", "complete"})


@dataclass(frozen=True, slots=True)
class AppliedEvents:
    """The state after the events, and the opens elsewhere in the platform that were counted."""

    state: UserState
    opens: tuple[Delivery, ...]


def apply_events(
    state: UserState, logged: Iterable[Logged], *, items: Items, loop_context: LoopContext
) -> AppliedEvents:
    """
    Every logged event in order. An event of an item that the catalogue does not know adds no
    interaction and opens nothing; what it says about the person counts all the same.
    """
    opens: list[Delivery] = []
    for entry in logged:
        state, opened = _apply_one(state, entry, items, loop_context)
        state = observe_event(state, entry, items, loop_context)
        opens += opened
    return AppliedEvents(state, tuple(opens))


def _apply_one(
    state: UserState, entry: Logged, items: Items, loop_context: LoopContext
) -> tuple[UserState, list[Delivery]]:
    event = entry.event
    ledger = touch(state.safety.ledger, entry.received_at, loop_context.market.session, starts=False)
    history = _with_reaction(state.interactions, event, entry.received_at, items)
    item_no = items.index.get(event.item_id or "")
    opened: list[Delivery] = []
    if event.kind in OPENS and item_no is not None:
        ledger, opened = _open(ledger, state, item_no, entry.received_at, items, loop_context)
    return msgspec.structs.replace(
        state,
        safety=msgspec.structs.replace(state.safety, ledger=ledger),
        seen=_with_seen(state.seen, entry, item_no, items, loop_context.market),
        interactions=msgspec.structs.replace(history, log_seq=entry.seq),
    ), opened


def _with_seen(seen: Seen, entry: Logged, item_no: int | None, items: Items, market: Market) -> Seen:
    """What a person was shown, watched or liked, here or elsewhere in the platform, does not come again soon."""
    if item_no is None or entry.event.kind not in market.session.seen_events:
        return seen
    seen_at = min(entry.event.at, entry.received_at)
    return add_reported(seen, [item_no], seen_at, entry.received_at, market.session.seen_days)


def _open(
    ledger: Ledger, state: UserState, item_no: int, at: Millis, items: Items, loop_context: LoopContext
) -> tuple[Ledger, list[Delivery]]:
    """
    What a person opened elsewhere counts as delivered when it is not R0, even above a cap. A view of what was delivered
    here is none, nor is one of its copy; it comes 7 days later at most, so that whatever is opened after that was
    opened again.
    """
    videos, since = {item_no, *(join.item_no for join in joins_of(items.copies, item_no))}, at - LEDGER_SPAN_MS
    is_known = any(delivered_at(state.seen, video) >= since for video in videos) or any(
        d.item_no in videos and d.at >= since for d in ledger.last
    )
    delivery = delivery_of_open(
        items, item_no, loop_context.market, server_time(ledger, at), is_minor=loop_context.is_minor
    )
    if is_known or (delivery.tier == 0 and not delivery.is_s4):
        return ledger, []
    return deliver(ledger, [delivery], delivery.at), [delivery]


def _with_reaction(history: InteractionHistory, event: Event, received_at: Millis, items: Items) -> InteractionHistory:
    """The history after one event; an event of an unknown item changes nothing."""
    if event.kind == "undo":
        return undo(history, event.value or "")
    if event.event_id in history.undone:
        return history
    if event.creator_id is not None:
        return mark_creator(history, event.kind, event.creator_id, event.event_id)
    item_no = items.index.get(event.item_id or "")
    if item_no is None:
        return history
    weight = learnable(confidence(event.kind, event.watch_fraction), bool(is_unlearnable(items, item_no)))
    return add_reaction(history, item_no, weight, min(event.at, received_at), event.event_id)


def record_page(state: UserState, page: tuple[Delivery, ...], at: Millis, market: Market) -> UserState:
    """The state after a page is delivered."""
    ledger = deliver(state.safety.ledger, page, at)
    return msgspec.structs.replace(
        state,
        safety=msgspec.structs.replace(state.safety, ledger=ledger),
        seen=add_delivered(state.seen, [d.item_no for d in page], at, market.session.seen_days),
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
