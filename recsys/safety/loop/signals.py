"""
The signals of a harmful loop (policy-spec 4). Pure; whatever they say can only make a feed calmer.

Signals a to e are read from what was delivered and watched; two of them raise the level. Signals f to h are single
acts of a person, each of which raises the level alone.

| signal | true when |
|--------|-----------|
| a | much of the last deliveries is R1 or R2, or the ranker wanted more of it than the caps admit |
| b | the person watches R2 to the end more often than R0 |
| c | the session is long |
| d | the person is active on many nights |
| e | the topics get fewer and fewer |
| f | the person looked for R3 or R4, or shared it |
| g | the person says that it is too much: by a button, a report, or repeated "not interested" |
| h | the person or a guardian turned calm mode on |
"""

from collections.abc import Callable, Mapping
from typing import Final

from recsys.catalogue.items import Items, creator_number
from recsys.clock import DAY, MINUTE, Millis
from recsys.messages import FeedRequest
from recsys.policy.schema import LoopRules
from recsys.safety.harm_terms import HarmMatch, HarmTerms, harm_match, stored_match
from recsys.safety.ledger import minutes_since
from recsys.safety.loop.state import LoopContext, night_number, r0_completion, week_entropy
from recsys.types import Event
from recsys.user.state import SafetyState


def signals(safety: SafetyState, loop_context: LoopContext, at: Millis) -> tuple[str, ...]:
    """The letters of the signals a to e that are true at `at`. The ledger knows of the activity at `at`."""
    return tuple(letter for letter, is_true in SIGNALS.items() if is_true(safety, loop_context, at))


def is_risk_heavy(safety: SafetyState, loop_context: LoopContext, _at: Millis) -> bool:
    """(a) The share of R1 and R2 in the last 50 deliveries, or the refusals of this session."""
    ledger, loop, rules = safety.ledger, safety.loop, loop_context.rules
    last = [delivery for delivery in ledger.last if delivery.tier >= 1 or not delivery.is_open]
    share = sum(delivery.tier >= 1 for delivery in last) / max(1, len(last))
    refusals = loop.refusals if loop.refused_session_at == ledger.session_started_at else 0
    return (len(last) >= rules.risk_share_items and share >= rules.risk_share) or refusals >= rules.refusals


def is_r2_completion_high(safety: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """
    (b) How often the person watches R2 to the end, against how often R0.

    Somebody who watches everything to the end, or about whom too little is known, meets the signal when every R2 item
    is watched to the end: no baseline puts the signal out of reach.
    """
    loop, rules = safety.loop, loop_context.rules
    since = at // DAY - rules.completion_days
    completed = [is_complete for _, day, is_complete in loop.r2_watched if day > since]
    if len(completed) < rules.completion_exposures or not any(completed):
        return False
    baseline = r0_completion(loop, rules)
    threshold = 1.0 if baseline is None else min(1.0, rules.completion_ratio * baseline)
    return sum(completed) / len(completed) >= threshold


def is_long_session(safety: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(c) Minutes of activity, or deliveries, in this session."""
    ledger, rules = safety.ledger, loop_context.rules
    minutes = minutes_since(ledger, ledger.session_started_at, at)
    return minutes > rules.long_session_minutes or ledger.session_n > rules.long_session_items


def is_night_use_frequent(safety: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(d) Minutes of activity in night hours, on several of the last nights."""
    rules, tonight = loop_context.rules, night_number(at, loop_context.zone)
    recent = [ms for number, ms in safety.loop.nights if number > tonight - rules.night_window]
    return sum(ms >= rules.night_minutes * MINUTE for ms in recent) >= rules.night_count


def is_topic_narrowing(safety: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(e) The topics' entropy of 7 days against its average of 28."""
    now, average = week_entropy(safety.loop, loop_context.rules, at // DAY), safety.loop.entropy
    if now is None or not average:
        return False
    return (average - now) / average >= loop_context.rules.entropy_drop


SIGNALS: Final[Mapping[str, Callable[[SafetyState, LoopContext, Millis], bool]]] = {
    "a": is_risk_heavy,
    "b": is_r2_completion_high,
    "c": is_long_session,
    "d": is_night_use_frequent,
    "e": is_topic_narrowing,
}


# Single acts


def harm_match_of_request(request: FeedRequest, items: Items, harm_terms: HarmTerms) -> HarmMatch | None:
    """
    (f) Whether a request looks for R3 or R4: a search with such a term, or more like such an item.

    It takes no state, so that a card comes without a ledger too.
    """
    if request.surface == "search":
        return harm_match(harm_terms, request.query)
    anchor = items.index.get(request.anchor_item_id or "") if request.surface == "related" else None
    return "exact" if anchor is not None and items.tier[anchor] >= 3 else None


def harm_match_of_event(event: Event, items: Items, rules: LoopRules) -> HarmMatch | None:
    """
    (f) Whether an event looks for R3 or R4: a search for such a term, or a follow of a creator known for such items.

    Known for them is who made one at least, and the policy's share of all they made, also of what was taken down.
    """
    if event.kind == "search":
        return stored_match(event.query)
    if event.kind != "follow" or event.creator_id is None:
        return None
    is_harm = items.tier[items.creator_no == creator_number(event.creator_id)] >= 3
    return "exact" if is_harm.any() and is_harm.mean() >= rules.follow_share else None


def is_harm_shared(event: Event, items: Items) -> bool:
    """(f) Whether an event shares an R3 or R4 item."""
    item_no = items.index.get(event.item_id or "")
    return event.kind == "share" and item_no is not None and bool(items.tier[item_no] >= 3)


def is_distress(event: Event, tier: int, rules: LoopRules) -> bool:
    """(g) "Too much", a report whose reason says so, or a report of an item of R1 or above that gives no reason."""
    if event.kind == "too_much":
        return True
    if event.kind != "report":
        return False
    return event.value in rules.distressing if event.value else tier >= 1
