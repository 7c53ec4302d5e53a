"""
The loop breaker: levels 0 to 2 that tighten at once and loosen slowly (policy-spec 0 and 4).

    observe    per event: what a person says or does raises the level by itself (signals f, g, h), the rest is counted
    evaluate   once per page, before selection: two signals of a to e raise the level, clean days loosen it
    note_page  after a page: what it showed, and how often the ranker was refused

Every function is pure. An event can only tighten: nothing here lowers a level but clean days, and base caps do not
depend on any event.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from recsys.catalogue.items import Items, creator_number, topic_names
from recsys.clock import DAY, Millis, to_text
from recsys.messages import FeedRequest
from recsys.policy.limits import Limits
from recsys.policy.schema import LoopRules, Market, tier_number
from recsys.safety.harm_terms import HARM_SEEKING, TermList, mentions_harm
from recsys.safety.ledger import server_time
from recsys.safety.loop.signals import WATCHES, LoopContext, awake, signals, topics_shown, watched
from recsys.stores.protocols import Logged
from recsys.types import Event, Floats
from recsys.user.state import Delivery, LoopState, Reason, UserState
from recsys.vocabulary import FAMILIES, TOPICS

TOP: Final = 2
MAX_REASONS: Final = 6
MAX_STARRED: Final = 4  # two of them are enough for the highest level


def observe(state: UserState, entry: Logged, items: Items, loop_context: LoopContext) -> UserState:
    """
    The state after one logged event, whose activity the ledger already knows.

    The server's time of receipt counts, never the reporter's. `undo` changes nothing here.
    """
    event, ledger = entry.event, state.safety.ledger
    at = server_time(ledger, entry.received_at)
    loop = awake(state.safety.loop, ledger, loop_context)
    item_no = items.index.get(event.item_id or "")
    tier = 0 if item_no is None else _tier(items, item_no, loop_context)
    if item_no is not None and event.kind in WATCHES:
        loop = watched(loop, event, item_no, tier, loop_context, at)
    if item_no is not None and event.kind == "not_interested":
        loop = _refused(
            loop, event, tier, _risk_names(items, item_no, tier, loop_context.market), loop_context.rules, at
        )
    if event.kind == "support_requested":
        loop = _asked_for(loop, "support")
    is_looking = _is_looking(event, items, loop_context)
    if is_looking:
        loop = _asked_for(loop, "crisis")
    if is_looking or (event.kind == "share" and item_no is not None and items.tier[item_no] >= 3):
        loop = _raised_once(loop, event.event_id, "f", at)
    if event.kind == "too_much" or _is_distressed(event, tier, loop_context.rules):
        loop = _raised_once(loop, event.event_id, "g", at)
    return _with_loop(state, loop)


def _tier(items: Items, item_no: int, loop_context: LoopContext) -> int:
    return int((items.minor_tier if loop_context.is_minor else items.tier)[item_no])


def _is_looking(event: Event, items: Items, loop_context: LoopContext) -> bool:
    """
    A search for an R3 or R4 term, or a follow of somebody known for R3 or R4 items: one at least, and the policy's
    share of all they made, also of what was taken down.
    """
    if event.kind == "search":
        return event.query == HARM_SEEKING
    if event.kind != "follow" or event.creator_id is None:
        return False
    is_harm = items.tier[items.creator_no == creator_number(event.creator_id)] >= 3
    return bool(is_harm.any() and is_harm.mean() >= loop_context.rules.follow_share)


def _is_distressed(event: Event, tier: int, rules: LoopRules) -> bool:
    """A report that says so, or one of a heavy item that gives no reason."""
    if event.kind != "report":
        return False
    return event.value in rules.distressing if event.value else tier >= 1


def _refused(loop: LoopState, event: Event, tier: int, names: Sequence[str], rules: LoopRules, at: Millis) -> LoopState:
    """
    After "not interested": risk topics go off, and repeated refusals raise the level, each counted once.

    While the last refusals are near each other no day is clean, so that one more never ends the tightening earlier.
    """
    kept = tuple(pair for pair in loop.topic_off if pair[0] not in names)
    loop = msgspec.structs.replace(loop, topic_off=(*kept, *((name, at) for name in names)))
    if tier < tier_number(rules.not_interested_from):
        return loop
    if sum(t >= at - DAY for t in loop.asks) < rules.counted_daily:
        newest = max(rules.repeated, rules.counted_daily)
        loop = msgspec.structs.replace(loop, asks=(*loop.asks, at)[-newest:])
    near = [t for t in loop.asks if t >= at - rules.repeated_days * DAY]
    if len(near) < rules.repeated:
        return loop
    loop = msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    if sum(t > loop.asked_at for t in near) < rules.repeated:
        return loop
    return msgspec.structs.replace(_raised_once(loop, event.event_id, "g", at), asked_at=at)


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


def _asked_for(loop: LoopState, card: str) -> LoopState:
    return msgspec.structs.replace(loop, cards_due=tuple(sorted({*loop.cards_due, card})))


def note_harm_seeking(
    state: UserState, request: FeedRequest, items: Items, loop_context: LoopContext, at: Millis
) -> UserState:
    """
    The state after a request that looks for R3 or R4: a search with such a term, or more like such an item.

    The level rises at once and a card is due; the query itself is kept nowhere.
    """
    if not is_harm_seeking(request, items, loop_context.harm_terms):
        return state
    loop = _asked_for(state.safety.loop, "crisis")
    return _with_loop(state, _raised_once(loop, f"request:{request.request_id}", "f", at))


def is_harm_seeking(request: FeedRequest, items: Items, harm_terms: TermList) -> bool:
    """Whether a request looks for R3 or R4; it takes no state, so that a card comes without a ledger too."""
    if request.surface == "search":
        return mentions_harm(harm_terms, request.query)
    anchor = items.index.get(request.anchor_item_id or "") if request.surface == "related" else None
    return anchor is not None and bool(items.tier[anchor] >= 3)


def calm(state: UserState, event_id: str, at: Millis) -> UserState:
    """(h) A person or a guardian turned calm mode on, which raises the level once."""
    return _with_loop(state, _raised_once(state.safety.loop, event_id, "h", server_time(state.safety.ledger, at)))


def evaluate(state: UserState, loop_context: LoopContext, at: Millis) -> UserState:
    """
    The state with the level of this page. The ledger knows of the activity at `at` (`ledger.touch`).

    Two true signals, one of them new since the last raise, raise the level, once per session. While two are true no
    day is clean; without, each `clean_days` since the last one loosen one level. Calm mode keeps the level at 1.
    """
    counted, rules = state.safety, loop_context.rules
    loop = awake(counted.loop, counted.ledger, loop_context)
    if _is_calm(state) and loop.level == 0:
        loop = _raised(loop, ("h",), at)
    now = signals(msgspec.structs.replace(counted, loop=loop), loop_context, at)
    loop = msgspec.structs.replace(loop, held=tuple(letter for letter in loop.held if letter in now))
    if len(now) >= rules.signals_to_raise:
        loop = _tightened(loop, now, counted.ledger.session_started_at, at)
    else:
        loop = _loosened(loop, _period(rules, is_minor=loop_context.is_minor), int(_is_calm(state)), at)
    kept = tuple(pair for pair in loop.topic_off if at - pair[1] <= _off_and_reduced(rules))
    return _with_loop(state, msgspec.structs.replace(loop, topic_off=kept))


def _is_calm(state: UserState) -> bool:
    guardian = state.person.guardian
    return state.person.controls.calm_mode or (guardian is not None and guardian.calm_mode)


def _tightened(loop: LoopState, now: tuple[str, ...], session: Millis, at: Millis) -> LoopState:
    """A raise condition holds: the clean time starts anew, and the level rises where it may."""
    loop = msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    if set(now) <= set(loop.held) or loop.raised_session_at == session or loop.level == TOP:
        return loop
    return msgspec.structs.replace(_raised(loop, now, at), held=now, raised_session_at=session)


def _loosened(loop: LoopState, period: Millis, lowest: int, at: Millis) -> LoopState:
    """One level less for each clean period, down to `lowest`, where no clean time is saved up."""
    if loop.level == 0:
        return loop
    if loop.level <= lowest:
        return msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    steps = min(max(0, at - loop.clean_since) // period, loop.level - lowest)
    level = loop.level - steps
    return msgspec.structs.replace(
        loop,
        level=level,
        clean_since=loop.clean_since + steps * period,
        reasons=loop.reasons if level else (),
    )


def _period(rules: LoopRules, *, is_minor: bool) -> Millis:
    return (rules.clean_days_minor if is_minor else rules.clean_days) * DAY


def _raised_once(loop: LoopState, event_id: str, letter: str, at: Millis) -> LoopState:
    """A starred event raises the level, but only once however often it is reported."""
    number = int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=4).digest(), "big")
    if number in loop.starred:
        return loop
    return msgspec.structs.replace(_raised(loop, (letter,), at), starred=(*loop.starred, number)[-MAX_STARRED:])


def _raised(loop: LoopState, letters: Sequence[str], at: Millis) -> LoopState:
    """One level more, up to 2, with its reasons; the clean time starts anew."""
    loop = msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))
    if loop.level == TOP:
        return loop
    reasons = (*loop.reasons, *(Reason(signal=letter, at=at) for letter in letters))[-MAX_REASONS:]
    return msgspec.structs.replace(loop, level=loop.level + 1, raised_at=at, reasons=reasons)


def note_page(
    state: UserState, *, refusals: int, deliveries: Sequence[Delivery], loop_context: LoopContext, at: Millis
) -> UserState:
    """The state after a page: how often the ranker was refused in this session, and the topics of the day."""
    loop, session = state.safety.loop, state.safety.ledger.session_started_at
    so_far = loop.refusals if loop.refused_session_at == session else 0
    loop = msgspec.structs.replace(loop, refusals=so_far + refusals, refused_session_at=session)
    return _with_loop(state, topics_shown(loop, deliveries, loop_context, at))


def _with_loop(state: UserState, loop: LoopState) -> UserState:
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, loop=loop))


def remains(loop: LoopState) -> LoopState:
    """What outlives an erasure: the level and its clock, nothing of what was watched, refused or asked for."""
    return LoopState(level=loop.level, raised_at=loop.raised_at, clean_since=loop.clean_since)


# "Not interested" on a risk topic


def _off_and_reduced(rules: LoopRules) -> Millis:
    return (rules.topic_off_days + rules.topic_reduced_days) * DAY


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
            part = days / rules.topic_reduced_days
            factors[name] = rules.topic_reduced_from + (1 - rules.topic_reduced_from) * part
    return factors


def reduced(scores: Floats, factors: Floats) -> Floats:
    """
    Scores moved towards the worst one of the page: factor 1 leaves a score, 0 makes it the worst.

    Shapes: scores (n,), factors (n,) in [0, 1]; returns (n,). Non-finite scores stay as they are.
    """
    is_known = np.isfinite(scores)
    if not is_known.any():
        return scores
    worst = scores[is_known].min()
    return np.where(is_known, worst + (scores - worst) * factors, scores).astype(np.float32)


# What a person is told


def expires_at(loop: LoopState, rules: LoopRules, *, is_minor: bool) -> Millis | None:
    """When the level loosens next if every day until then is clean; None at level 0."""
    return loop.clean_since + _period(rules, is_minor=is_minor) if loop.level else None


def shown(state: UserState, market: Market, *, is_minor: bool) -> dict[str, Any]:
    """The level, why it rose, when it loosens, and what is off: for the person alone."""
    loop, rules = state.safety.loop, market.loop
    until = expires_at(loop, rules, is_minor=is_minor)
    return {
        "level": loop.level,
        "reasons": [{"signal": reason.signal, "at": to_text(reason.at)} for reason in loop.reasons],
        "expires_at": None if until is None else to_text(until),
        "topics_off": [
            {
                "name": name,
                "off_until": to_text(since + rules.topic_off_days * DAY),
                "reduced_until": to_text(since + _off_and_reduced(rules)),
            }
            for name, since in loop.topic_off
        ],
    }
