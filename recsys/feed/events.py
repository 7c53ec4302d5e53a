"""
Events folded into a person's state: pure, in the order of the log, once each. An event can only tighten safety.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from recsys.catalogue.items import Items, is_unlearnable, topic_bits
from recsys.clock import Millis
from recsys.policy.schema import Market
from recsys.safety.ledger import LEDGER_SPAN_MS, deliver, see, server_time, touch
from recsys.safety.loop.levels import observe
from recsys.safety.loop.signals import LoopContext
from recsys.stores.protocols import Logged
from recsys.types import Event, History
from recsys.user.feedback import confidence, learnable, learnables
from recsys.user.state import MAX_INTERACTIONS, MAX_MARKS, Delivery, InteractionHistory, Ledger, UserState

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
    Every logged event in order. An event of an item that the catalogue does not know teaches no taste and opens
    nothing; what it says about the person counts all the same.
    """
    opens: list[Delivery] = []
    for entry in logged:
        state, opened = _fold_one(state, entry, items, loop_context)
        state = observe(state, entry, items, loop_context)
        opens += opened
    return AppliedEvents(state, tuple(opens))


def _fold_one(
    state: UserState, entry: Logged, items: Items, loop_context: LoopContext
) -> tuple[UserState, list[Delivery]]:
    event = entry.event
    ledger = touch(state.safety.ledger, entry.received_at, loop_context.market.session, starts=False)
    taste = msgspec.structs.replace(_taste(state.interactions, event, entry.received_at, items), log_seq=entry.seq)
    item_no = items.index.get(event.item_id or "")
    opened: list[Delivery] = []
    if event.kind in OPENS and item_no is not None:
        ledger, opened = _open(ledger, state, item_no, entry.received_at, items, loop_context)
    counted_part = msgspec.structs.replace(state.safety, ledger=ledger)
    return msgspec.structs.replace(state, safety=counted_part, interactions=taste), opened


def _open(
    ledger: Ledger, state: UserState, item_no: int, at: Millis, items: Items, loop_context: LoopContext
) -> tuple[Ledger, list[Delivery]]:
    """
    What a person opened elsewhere counts as delivered when it is not R0, even above a cap. A view of what was delivered
    here is none; it comes 7 days later at most, so that whatever is opened after that was opened again.
    """
    cluster, since, seen = int(items.cluster_no[item_no]), at - LEDGER_SPAN_MS, state.seen
    delivered_at = seen.at[-1 - seen.clusters[::-1].index(cluster)] if cluster in seen.clusters else 0
    is_known = delivered_at >= since or any(d.cluster_no == cluster and d.at >= since for d in ledger.last)
    delivery = delivery_of_open(
        items, item_no, loop_context.market, server_time(ledger, at), is_minor=loop_context.is_minor
    )
    if is_known or (delivery.tier == 0 and not delivery.is_s4):
        return ledger, []
    return deliver(ledger, [delivery], delivery.at), [delivery]


def _taste(taste: InteractionHistory, event: Event, received_at: Millis, items: Items) -> InteractionHistory:
    if event.kind == "undo":
        return _undone(taste, event.value or "")
    if event.event_id in taste.undone:
        return taste
    if event.creator_id is not None:
        name = {"follow": "followed", "hide_creator": "hidden"}.get(event.kind)
        return _marked(taste, name, event.creator_id, event.event_id) if name else taste
    item_no = items.index.get(event.item_id or "")
    if item_no is None:
        return taste
    weight = learnable(confidence(event.kind, event.watch_fraction), bool(is_unlearnable(items, item_no)))
    if weight == 0:
        return taste
    return msgspec.structs.replace(
        taste,
        items=(*taste.items, item_no)[-MAX_INTERACTIONS:],
        weights=(*taste.weights, weight)[-MAX_INTERACTIONS:],
        at=(*taste.at, min(event.at, received_at))[-MAX_INTERACTIONS:],
        event_ids=(*taste.event_ids, event.event_id)[-MAX_INTERACTIONS:],
    )


def _marked(taste: InteractionHistory, name: str, creator_id: str, event_id: str) -> InteractionHistory:
    marks = tuple(pair for pair in getattr(taste, name) if pair[0] != creator_id)
    return msgspec.structs.replace(taste, **{name: (*marks, (creator_id, event_id))[-MAX_MARKS:]})


def _undone(taste: InteractionHistory, event_id: str) -> InteractionHistory:
    """
    Without what an event did to tastes, follows and mutes, or will do when it comes late. What it did to safety stays.
    """
    kept = [n for n, known in enumerate(taste.event_ids) if known != event_id]
    is_known = len(kept) < len(taste.event_ids) or any(pair[1] == event_id for pair in taste.followed + taste.hidden)
    return msgspec.structs.replace(
        taste,
        items=tuple(taste.items[n] for n in kept),
        weights=tuple(taste.weights[n] for n in kept),
        at=tuple(taste.at[n] for n in kept),
        event_ids=tuple(taste.event_ids[n] for n in kept),
        followed=tuple(pair for pair in taste.followed if pair[1] != event_id),
        hidden=tuple(pair for pair in taste.hidden if pair[1] != event_id),
        undone=taste.undone if is_known else (*taste.undone, event_id)[-MAX_INTERACTIONS:],
    )


def history_of(taste: InteractionHistory, trained: History | None, items: Items, n_rows: int) -> History:
    """
    What the spaces fold in: the trained history, then what happened since, as artifact rows, oldest first.

    Nothing positive comes from an item that counts as R2 or above now, whatever it was when it was watched.
    """
    base = History.empty() if trained is None else _after(trained, taste.reset_at)
    numbers = np.array(taste.items, np.intp)
    is_new = (items.row[numbers] >= 0) & (np.array(taste.at, np.int64) > base.at.max(initial=taste.reset_at))
    history = History(
        np.concatenate([base.items, items.row[numbers[is_new]]]),
        np.concatenate([base.weights, np.array(taste.weights, np.float32)[is_new]]),
        np.concatenate([base.at, np.array(taste.at, np.int64)[is_new]]),
    )
    risky = np.zeros(n_rows, np.bool_)
    risky[items.row[is_unlearnable(items) & (items.row >= 0)]] = True
    weights = learnables(history.weights, risky[history.items])
    says = weights != 0  # what says nothing is left out, so that it cannot even touch a rounding
    return History(history.items[says], weights[says], history.at[says])


def _after(history: History, at: Millis) -> History:
    is_after = history.at > at
    return History(history.items[is_after], history.weights[is_after], history.at[is_after])


def record_page(state: UserState, page: tuple[Delivery, ...], at: Millis, market: Market) -> UserState:
    """The state after a page is delivered."""
    ledger = deliver(state.safety.ledger, page, at)
    return msgspec.structs.replace(
        state,
        safety=msgspec.structs.replace(state.safety, ledger=ledger),
        seen=see(state.seen, [d.cluster_no for d in page], at, market.session.seen_days),
    )


def delivery_of_open(items: Items, item_no: int, market: Market, at: Millis, *, is_minor: bool) -> Delivery:
    """One item as a ledger entry that is no page's: opened elsewhere, so it serves no floor."""
    tier = int(items.minor_tier[item_no] if is_minor else items.tier[item_no])
    return Delivery(
        at=at,
        item_no=item_no,
        cluster_no=int(items.cluster_no[item_no]),
        creator_no=int(items.creator_no[item_no]),
        tier=tier,
        family=int(items.family[item_no]) if tier >= 2 else -1,
        is_s4=bool(items.topics[item_no] & topic_bits([market.hope_topic])),
        topics=int(items.topics[item_no]),
        is_open=True,
    )
