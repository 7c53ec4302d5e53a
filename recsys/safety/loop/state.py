"""
The loop breaker's memory: what one event, one page or one stretch of activity adds to `LoopState`. Pure.

The memory holds counters, times and item numbers of the last days, and no word of what somebody searched for. Nothing
here changes the level; `recsys.safety.loop.levels` does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from itertools import zip_longest
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from recsys.clock import DAY, MINUTE, Millis
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.effective import guardian_limits
from recsys.policy.nights import is_night, local_time
from recsys.policy.schema import LoopRules, Market, tier_number
from recsys.safety.harm_terms import NO_TERMS, HarmTerms
from recsys.types import Event
from recsys.user.state import Delivery, Guardian, Ledger, LoopState
from recsys.vocabulary import TOPICS

MAX_R2_EXPOSURES: Final = 9  # items; the newest R2 exposures are enough to see a habit
WATCH_EVENTS: Final = frozenset({"view", "rewatch", "complete"})
_NOON: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopContext:
    """What the loop breaker reads beside the state. `night` holds minutes of the local day."""

    market: Market
    is_minor: bool
    night: frozenset[int]
    zone: ZoneInfo
    harm_terms: HarmTerms = NO_TERMS

    @property
    def rules(self) -> LoopRules:
        """The market's thresholds."""
        return self.market.loop


def loop_context_of(policy: CompiledPolicy, band: str, guardian: Guardian | None, harm_terms: HarmTerms) -> LoopContext:
    """The context of a person of an effective age band; a guardian's hours lengthen the night."""
    night = policy.limits[band, 0, False].night | guardian_limits(guardian).night
    is_minor = policy.market.ages[band].is_minor
    return LoopContext(market=policy.market, is_minor=is_minor, night=night, zone=policy.zone, harm_terms=harm_terms)


# Nights


def night_number(at: Millis, zone: ZoneInfo) -> int:
    """The night that an instant belongs to, from local noon to noon, as the number of the day on which it begins."""
    return (local_time(at, zone) - _NOON).toordinal()


def note_activity(loop: LoopState, ledger: Ledger, loop_context: LoopContext) -> LoopState:
    """
    The memory with the ledger's newest activity counted into the nights it fell in.

    As in the ledger's minutes, a pause between two activities counts for at most `gap_minutes`, from its start.
    """
    if ledger.active_at <= loop.active_until:
        return loop
    end = min(ledger.active_at, loop.active_until + loop_context.market.session.gap_minutes * MINUTE)
    nights, start = dict(loop.nights), loop.active_until or end
    while start < end:
        until = min(end, start - start % MINUTE + MINUTE)
        if is_night(start, (loop_context.zone,), loop_context.night):
            number = night_number(start, loop_context.zone)
            nights[number] = nights.get(number, 0) + until - start
        start = until
    oldest = night_number(ledger.active_at, loop_context.zone) - loop_context.rules.night_window
    recent = tuple((number, ms) for number, ms in nights.items() if number > oldest)
    return msgspec.structs.replace(loop, nights=recent, active_until=ledger.active_at)


# What was watched


def note_watch(
    loop: LoopState, event: Event, item_no: int, tier: int, loop_context: LoopContext, at: Millis
) -> LoopState:
    """
    The memory with one view counted as an exposure, and as watched to the end when it was. R1 counts for neither side.

    Of one item, all views of a day are one exposure. At most `counted_daily` exposures of a day count, R0 and R2 apart:
    a flood of events cannot drown what was watched.
    """
    rules, day = loop_context.rules, at // DAY
    is_complete = event.kind != "view" or (event.watch_fraction or 0.0) >= rules.completed_from
    if tier >= 2:
        return _note_r2(loop, item_no, is_complete, day, rules)
    return _note_r0(loop, item_no, is_complete, day, rules) if tier == 0 else loop


def _note_r2(loop: LoopState, item_no: int, is_complete: bool, day: int, rules: LoopRules) -> LoopState:
    recent = [entry for entry in loop.r2_watched if entry[1] > day - rules.completion_days]
    place = next((n for n, entry in enumerate(recent) if entry[0] == item_no), None)
    if place is not None:
        recent[place] = (item_no, recent[place][1], recent[place][2] or is_complete)
    elif sum(entry[1] == day for entry in recent) < rules.counted_daily:
        recent.append((item_no, day, is_complete))
    return msgspec.structs.replace(loop, r2_watched=tuple(recent[-MAX_R2_EXPOSURES:]))


def _note_r0(loop: LoopState, item_no: int, is_complete: bool, day: int, rules: LoopRules) -> LoopState:
    if day > loop.r0_day:
        fade = math.exp((loop.r0_day - day) / rules.baseline_days)
        completed = (loop.r0_completion[0] + sum(done for _, done in loop.r0_today)) * fade
        exposures = (loop.r0_completion[1] + len(loop.r0_today)) * fade
        loop = msgspec.structs.replace(loop, r0_completion=(completed, exposures), r0_day=day, r0_today=())
    today = dict(loop.r0_today)
    if item_no in today or len(today) < rules.counted_daily:
        today[item_no] = today.get(item_no, False) or is_complete
    return msgspec.structs.replace(loop, r0_today=tuple(today.items()))


def r0_completion(loop: LoopState, rules: LoopRules) -> float | None:
    """The share of R0 that the person watches to the end, in [0, 1]; None while too little is known."""
    completed = loop.r0_completion[0] + sum(is_complete for _, is_complete in loop.r0_today)
    exposures = loop.r0_completion[1] + len(loop.r0_today)
    return completed / exposures if exposures >= rules.completion_exposures else None


# Topics that were delivered


def note_topics(loop: LoopState, deliveries: Sequence[Delivery], loop_context: LoopContext, at: Millis) -> LoopState:
    """The memory with a page counted by topic. On the first page of a day the entropy so far enters the average."""
    rules, day = loop_context.rules, at // DAY
    loop = _average_entropy(loop, rules, day)
    if not deliveries:
        return loop
    daily = dict(loop.daily)
    topics = [first_topic(delivery.topics) for delivery in deliveries]
    daily[day] = _add_counts(daily.get(day, ()), tuple(topics.count(topic) for topic in range(len(TOPICS) + 1)))
    recent = sorted((d, counts) for d, counts in daily.items() if d > day - rules.entropy_days)
    return msgspec.structs.replace(loop, daily=tuple(recent))


def _add_counts(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip_longest(a, b, fillvalue=0))


def first_topic(bits: int) -> int:
    """1 to 12 for the first of an item's topics, 0 for none: each delivery counts once."""
    return (bits & -bits).bit_length()


def _average_entropy(loop: LoopState, rules: LoopRules, day: int) -> LoopState:
    """The average moves towards the entropy of the last whole days, by as much as time has passed since it last did."""
    now = week_entropy(loop, rules, day - 1)
    if day <= loop.entropy_day or now is None:
        return loop
    before = now if loop.entropy is None else loop.entropy
    pull = 1 - (1 - 1 / rules.entropy_memory_days) ** (day - loop.entropy_day)
    return msgspec.structs.replace(loop, entropy=before + pull * (now - before), entropy_day=day)


def week_entropy(loop: LoopState, rules: LoopRules, day: int) -> float | None:
    """Bits of entropy over the topics delivered in the days up to `day`; None under `entropy_items` deliveries."""
    days = [counts for d, counts in loop.daily if day - rules.entropy_days < d <= day]
    totals: tuple[int, ...] = reduce(_add_counts, days, (0,))
    n = sum(totals)
    if n < rules.entropy_items:
        return None
    return -sum(count / n * math.log2(count / n) for count in totals if count)


# What a person says


def note_negative_feedback(loop: LoopState, tier: int, names: Sequence[str], rules: LoopRules, at: Millis) -> LoopState:
    """
    The memory after "not interested": the risk topics and families in `names` go off, and what counts gets its time.

    While the last ones are near each other no day is clean, so that one more never ends the tightening earlier.
    """
    others = tuple(pair for pair in loop.topic_off if pair[0] not in names)
    loop = msgspec.structs.replace(loop, topic_off=(*others, *((name, at) for name in names)))
    if tier < tier_number(rules.not_interested_from):
        return loop
    if sum(t >= at - DAY for t in loop.negative_feedback_times) < rules.counted_daily:
        newest = max(rules.repeated, rules.counted_daily)
        times = (*loop.negative_feedback_times, at)[-newest:]
        loop = msgspec.structs.replace(loop, negative_feedback_times=times)
    if len(recent_negative_feedback(loop, rules, at)) < rules.repeated:
        return loop
    return msgspec.structs.replace(loop, clean_since=max(loop.clean_since, at))


def recent_negative_feedback(loop: LoopState, rules: LoopRules, at: Millis) -> Sequence[Millis]:
    """The counted times of "not interested" that are near enough to each other to count as repeated."""
    return [t for t in loop.negative_feedback_times if t >= at - rules.repeated_days * DAY]


def request_card(loop: LoopState, card: str) -> LoopState:
    """The memory with a card that is due until it was shown."""
    return msgspec.structs.replace(loop, cards_due=tuple(sorted({*loop.cards_due, card})))


def note_refusals(loop: LoopState, refusals: int, session: Millis) -> LoopState:
    """The memory with how often a cap refused what the ranker wanted, added up within the session that began then."""
    before = loop.refusals if loop.refused_session_at == session else 0
    return msgspec.structs.replace(loop, refusals=before + refusals, refused_session_at=session)


def drop_old_topics_off(loop: LoopState, rules: LoopRules, at: Millis) -> LoopState:
    """The memory without the topics and families that are neither off nor reduced any more."""
    lasting = tuple(pair for pair in loop.topic_off if at - pair[1] <= off_and_reduced_ms(rules))
    return msgspec.structs.replace(loop, topic_off=lasting)


def off_and_reduced_ms(rules: LoopRules) -> Millis:
    """How long "not interested" acts on a risk topic: first off, then reduced."""
    return (rules.topic_off_days + rules.topic_reduced_days) * DAY


def retain_after_erasure(loop: LoopState) -> LoopState:
    """What outlives an erasure: the level and its clock, nothing of what was watched, refused or asked for."""
    return LoopState(level=loop.level, raised_at=loop.raised_at, clean_since=loop.clean_since)
