"""
The levels of the loop breaker: 0 to 2, which tighten at once and loosen slowly (policy-spec 0 and 4).

    observe_event   per event: single acts raise the level at once (signals f and g), everything else is remembered
    update_level    once per page, before selection: two signals of a to e raise the level, clean days loosen it
    note_page       after a page: what it held, and how often a cap refused what the ranker wanted

Every function is pure. An event can only tighten: nothing but clean days lowers a level, and the caps of level 0 do not
depend on any event.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.items import Items, topic_names
from recsys.clock import DAY, Millis, to_text
from recsys.policy.limits import Limits
from recsys.policy.schema import LoopRules, Market, tier_number
from recsys.safety.harm_terms import HarmMatch
from recsys.safety.ledger import server_time
from recsys.safety.loop.signals import (
    harm_match_of_event,
    is_distress,
    is_harm_shared,
    signals,
)
from recsys.safety.loop.state import (
    WATCH_EVENTS,
    LoopContext,
    drop_old_topics_off,
    note_activity,
    note_negative_feedback,
    note_refusals,
    note_topics,
    note_watch,
    off_and_reduced_ms,
    recent_negative_feedback,
    request_card,
)
from recsys.safety.loop.wording import describe_reason
from recsys.stores.protocols import Logged
from recsys.types import Event, Floats, JsonObject
from recsys.user.state import Delivery, Ledger, LoopState, Reason, UserState
from recsys.vocabulary import FAMILIES, TOPICS

HIGHEST_LEVEL: Final = 2
MAX_REASONS: Final = 6
MAX_ONE_SHOT_EVENTS: Final = 4  # event ids remembered; two of them are enough for the highest level


# What happens


def observe_event(loop: LoopState, ledger: Ledger, entry: Logged, items: Items, loop_context: LoopContext) -> LoopState:
    """
    The memory after one logged event, whose activity the ledger already knows.

    The server's time of receipt counts, never the reporter's. `undo` changes nothing here.
    """
    event, rules = entry.event, loop_context.rules
    at = server_time(ledger, entry.received_at)
    loop = note_activity(loop, ledger, loop_context)
    item_no = items.index.get(event.item_id or "")
    tier = 0 if item_no is None else _tier(items, item_no, loop_context)
    if item_no is None and event.item_id:  # it was shown to this person as what nobody labelled
        tier = 2
    if item_no is not None and event.kind in WATCH_EVENTS:
        loop = note_watch(loop, event, item_no, tier, loop_context, at)
    if item_no is not None and event.kind == "not_interested":
        names = _risk_names(items, item_no, tier, loop_context.market)
        loop = note_negative_feedback(loop, tier, names, rules, at)
        loop = _raise_when_repeated(loop, event, tier, rules, at)
    if event.kind == "support_requested":
        loop = request_card(loop, "support")
    harm = harm_match_of_event(event, items, rules)
    if harm is not None:
        loop = request_card(loop, "crisis")
    if harm == "exact" or is_harm_shared(event, items):
        loop = _raise_once(loop, event.event_id, "f", at)
    if is_distress(event, tier, rules):
        loop = _raise_once(loop, event.event_id, "g", at)
    return loop


def _tier(items: Items, item_no: int, loop_context: LoopContext) -> int:
    return int((items.minor_tier if loop_context.is_minor else items.tier)[item_no])


def _risk_names(items: Items, item_no: int, tier: int, market: Market) -> list[str]:
    """
    The risk topics of an item: its R2 family, and its topics that are not supportive.

    A supportive topic stays: refusing a heavy video about asking for help must not hide help. Unlabelled is no topic.
    """
    if tier == 0 or not items.is_labelled[item_no]:
        return []
    family = int(items.family[item_no])
    topics = [name for name in topic_names(int(items.topics[item_no])) if name not in market.supportive_topics]
    return ([FAMILIES[family]] if tier >= 2 and family >= 0 else []) + topics


def _raise_when_repeated(loop: LoopState, event: Event, tier: int, rules: LoopRules, at: Millis) -> LoopState:
    """(g) Repeated "not interested" raises the level; each one counts towards one raise."""
    if tier < tier_number(rules.not_interested_from):
        return loop
    fresh = [t for t in recent_negative_feedback(loop, rules, at) if t > loop.negative_feedback_raised_at]
    if len(fresh) < rules.repeated:
        return loop
    return msgspec.structs.replace(_raise_once(loop, event.event_id, "g", at), negative_feedback_raised_at=at)


def note_harm_seeking(state: UserState, request_id: str | None, harm: HarmMatch | None, at: Millis) -> UserState:
    """
    The state after a request that matched harm: a card is due, and an exact match raises the level at once.

    The query itself is written nowhere.
    """
    if harm is None:
        return state
    loop = request_card(state.safety.loop, "crisis")
    return _with_loop(state, _raise_once(loop, f"request:{request_id}", "f", at) if harm == "exact" else loop)


def raise_for_calm_mode(state: UserState, event_id: str, at: Millis) -> UserState:
    """(h) A person or a guardian turned calm mode on, which raises the level once."""
    return _with_loop(state, _raise_once(state.safety.loop, event_id, "h", server_time(state.safety.ledger, at)))


def note_page(
    state: UserState, *, refusals: int, deliveries: Sequence[Delivery], loop_context: LoopContext, at: Millis
) -> UserState:
    """The state after a page: how often a cap refused what the ranker wanted, and the topics of the day."""
    loop = note_refusals(state.safety.loop, refusals, state.safety.ledger.session_started_at)
    return _with_loop(state, note_topics(loop, deliveries, loop_context, at))


def _with_loop(state: UserState, loop: LoopState) -> UserState:
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, loop=loop))


# Up and down


def update_level(state: UserState, loop_context: LoopContext, at: Millis) -> UserState:
    """
    The state with the level of this page. The ledger knows of the activity at `at` (`ledger.touch`).

    Two true signals, one of them new since the last raise, raise the level, once per session. While two are true no
    day is clean; without, each `clean_days` since the last one loosen one level. Calm mode keeps the level at 1.
    """
    safety, rules = state.safety, loop_context.rules
    loop = note_activity(safety.loop, safety.ledger, loop_context)
    if _is_calm(state) and loop.level == 0:
        loop = _raise_level(loop, ("h",), at)
    now = signals(msgspec.structs.replace(safety, loop=loop), loop_context, at)
    still_active = tuple(letter for letter in loop.active_signals if letter in now)
    loop = msgspec.structs.replace(loop, active_signals=still_active)
    if len(now) >= rules.signals_to_raise:
        loop = _tighten(loop, now, safety.ledger.session_started_at, at)
    else:
        loop = _loosen(loop, _clean_ms(rules, is_minor=loop_context.is_minor), int(_is_calm(state)), at)
    return _with_loop(state, drop_old_topics_off(loop, rules, at))


def _is_calm(state: UserState) -> bool:
    guardian = state.person.guardian
    return state.person.controls.calm_mode or (guardian is not None and guardian.calm_mode)


def _tighten(loop: LoopState, now: tuple[str, ...], session: Millis, at: Millis) -> LoopState:
    """A raise condition holds: the clean time starts anew, and the level rises where it may."""
    loop = msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    if set(now) <= set(loop.active_signals) or loop.raised_session_at == session or loop.level == HIGHEST_LEVEL:
        return loop
    return msgspec.structs.replace(_raise_level(loop, now, at), active_signals=now, raised_session_at=session)


def _loosen(loop: LoopState, clean_ms: Millis, lowest: int, at: Millis) -> LoopState:
    """One level less for each clean period, down to `lowest`, where no clean time is saved up."""
    if loop.level == 0:
        return loop
    if loop.level <= lowest:
        return msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    steps = min(max(0, at - loop.clean_since) // clean_ms, loop.level - lowest)
    level = loop.level - steps
    return msgspec.structs.replace(
        loop,
        level=level,
        clean_since=loop.clean_since + steps * clean_ms,
        reasons=loop.reasons if level else (),
    )


def _clean_ms(rules: LoopRules, *, is_minor: bool) -> Millis:
    """How long the time without a raise condition must last to loosen one level."""
    return (rules.clean_days_minor if is_minor else rules.clean_days) * DAY


def _raise_once(loop: LoopState, event_id: str, letter: str, at: Millis) -> LoopState:
    """A single act raises the level, but only once however often it is reported."""
    number = int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=4).digest(), "big")
    if number in loop.one_shot_events:
        return loop
    events = (*loop.one_shot_events, number)[-MAX_ONE_SHOT_EVENTS:]
    return msgspec.structs.replace(_raise_level(loop, (letter,), at), one_shot_events=events)


def _raise_level(loop: LoopState, letters: Sequence[str], at: Millis) -> LoopState:
    """One level more, up to 2, with its reasons; the clean time starts anew."""
    loop = msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    if loop.level == HIGHEST_LEVEL:
        return loop
    reasons = (*loop.reasons, *(Reason(signal=letter, at=at) for letter in letters))[-MAX_REASONS:]
    return msgspec.structs.replace(loop, level=loop.level + 1, raised_at=at, reasons=reasons)


# "Not interested" on a risk topic


def topic_limits(loop: LoopState, rules: LoopRules, at: Millis) -> Limits:
    """The layer of what the person refused lately: topics and families off for `topic_off_days`."""
    off = {name for name, since in loop.topic_off if at - since <= rules.topic_off_days * DAY}
    return Limits(
        blocked_topics=frozenset(off & set(TOPICS)),
        blocked_families=frozenset(off & set(FAMILIES)),
    )


def topic_factors(loop: LoopState, rules: LoopRules, at: Millis) -> Mapping[str, float]:
    """How much of a refused topic or family is left, from `topic_reduced_from` up to 1, once it is no longer off."""
    factors = {}
    for name, since in loop.topic_off:
        days = (at - since) / DAY - rules.topic_off_days
        if 0 < days < rules.topic_reduced_days:
            share = days / rules.topic_reduced_days
            factors[name] = rules.topic_reduced_from + (1 - rules.topic_reduced_from) * share
    return factors


def reduce_scores(scores: Floats, factors: Floats) -> Floats:
    """
    Scores moved towards the worst one of the page: factor 1 leaves a score, 0 makes it the worst.

    Shapes: scores (n,), factors (n,) in [0, 1]; returns (n,). Non-finite scores stay as they are.
    """
    is_finite = np.isfinite(scores)
    if not is_finite.any():
        return scores
    worst = scores[is_finite].min()
    return np.where(is_finite, worst + (scores - worst) * factors, scores).astype(np.float32)


# What a person is told


def expires_at(loop: LoopState, rules: LoopRules, *, is_minor: bool) -> Millis | None:
    """When the level loosens next if every day until then is clean; None at level 0."""
    return loop.clean_since + _clean_ms(rules, is_minor=is_minor) if loop.level else None


def describe_loop(state: UserState, market: Market, *, is_minor: bool, languages: Sequence[str] = ()) -> JsonObject:
    """The level, why it rose (in the person's language), when it loosens, and what is off: for the person alone."""
    loop, rules = state.safety.loop, market.loop
    until = expires_at(loop, rules, is_minor=is_minor)
    return {
        "level": loop.level,
        "reasons": [describe_reason(reason, languages) for reason in loop.reasons],
        "expires_at": None if until is None else to_text(until),
        "topics_off": [
            {
                "name": name,
                "off_until": to_text(since + rules.topic_off_days * DAY),
                "reduced_until": to_text(since + off_and_reduced_ms(rules)),
            }
            for name, since in loop.topic_off
        ],
    }
