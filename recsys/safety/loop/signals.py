"""
The signals of a harmful loop that are read from what was delivered and watched (policy-spec 4, a to e), and the small
memory behind them. Pure; whatever they say can only make a feed calmer.

| signal | true when |
|--------|-----------|
| a | much of the last deliveries is R1 or R2, or the ranker wanted more of it than the caps admit |
| b | R2 is watched to the end more often than the person's own R0 |
| c | the session is long |
| d | the person is awake on many nights |
| e | the topics get fewer and fewer |
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from itertools import zip_longest
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from recsys.clock import DAY, MINUTE, Millis
from recsys.policy.compiled import CompiledPolicy, guardian_limits, is_night, local_time
from recsys.policy.schema import LoopRules, Market
from recsys.safety.harm_terms import NO_TERMS, TermList
from recsys.safety.ledger import minutes_since
from recsys.types import Event
from recsys.user.state import Delivery, Guardian, Ledger, LoopState, SafetyState
from recsys.vocabulary import TOPICS

NOON: Final = timedelta(hours=12)
MAX_EXPOSURES: Final = 9  # the newest R2 exposures are enough to see a habit
WATCHES: Final = frozenset({"view", "rewatch", "complete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopContext:
    """What the loop breaker reads beside the state. `night` holds minutes of the local day."""

    market: Market
    is_minor: bool
    night: frozenset[int]
    zone: ZoneInfo
    harm_terms: TermList = NO_TERMS

    @property
    def rules(self) -> LoopRules:
        """The market's thresholds."""
        return self.market.loop


def loop_context_of(policy: CompiledPolicy, band: str, guardian: Guardian | None, harm_terms: TermList) -> LoopContext:
    """The frame of a person of an effective age band; a guardian's hours lengthen the night."""
    night = policy.limits[band, 0, False].night | guardian_limits(guardian).night
    is_minor = policy.market.ages[band].is_minor
    return LoopContext(market=policy.market, is_minor=is_minor, night=night, zone=policy.zone, harm_terms=harm_terms)


def signals(counted: SafetyState, loop_context: LoopContext, at: Millis) -> tuple[str, ...]:
    """The letters of the signals that are true at `at`. The ledger knows of the activity at `at`."""
    return tuple(letter for letter, is_true in SIGNALS.items() if is_true(counted, loop_context, at))


def is_risk_heavy(counted: SafetyState, loop_context: LoopContext, _at: Millis) -> bool:
    """(a) The share of R1 and R2 in the last 50 deliveries, or the refusals of this session."""
    last, rules = [d for d in counted.ledger.last if d.tier >= 1 or not d.is_open], loop_context.rules
    share = sum(d.tier >= 1 for d in last) / max(1, len(last))
    is_same_session = counted.loop.refused_session_at == counted.ledger.session_started_at
    refusals = counted.loop.refusals if is_same_session else 0
    return (len(last) >= rules.risk_share_items and share >= rules.risk_share) or refusals >= rules.refusals


def is_gripped(counted: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """
    (b) How often R2 is watched to the end, against the person's own R0.

    Whoever watches everything to the end, or about whom too little is known, counts as gripped when every R2 item is
    watched to the end: no baseline puts the signal out of reach.
    """
    loop, rules = counted.loop, loop_context.rules
    since = at // DAY - rules.completion_days
    done = [is_done for _, day, is_done in loop.r2_watched if day > since]
    if len(done) < rules.completion_exposures or not any(done):
        return False
    own = own_completion(loop, rules)
    return sum(done) / len(done) >= (1.0 if own is None else min(1.0, rules.completion_ratio * own))


def own_completion(loop: LoopState, rules: LoopRules) -> float | None:
    """The share of R0 that the person watches to the end; None while too little is known."""
    completed = loop.own_completion[0] + sum(is_done for _, is_done in loop.own_today)
    exposures = loop.own_completion[1] + len(loop.own_today)
    return completed / exposures if exposures >= rules.completion_exposures else None


def is_long_session(counted: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(c) Minutes of activity, or deliveries, in this session."""
    ledger, rules = counted.ledger, loop_context.rules
    minutes = minutes_since(ledger, ledger.session_started_at, at)
    return minutes > rules.long_session_minutes or ledger.session_n > rules.long_session_items


def is_sleepless(counted: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(d) Minutes of activity in night hours, on several of the last nights."""
    rules, tonight = loop_context.rules, night_number(at, loop_context.zone)
    recent = [ms for number, ms in counted.loop.nights if number > tonight - rules.night_window]
    return sum(ms >= rules.night_minutes * MINUTE for ms in recent) >= rules.night_count


def is_narrowing(counted: SafetyState, loop_context: LoopContext, at: Millis) -> bool:
    """(e) The topics' entropy of 7 days against its memory of 28."""
    now, memory = week_entropy(counted.loop, loop_context.rules, at // DAY), counted.loop.entropy
    if now is None or not memory:
        return False
    return (memory - now) / memory >= loop_context.rules.entropy_drop


SIGNALS: Final[Mapping[str, Callable[[SafetyState, LoopContext, Millis], bool]]] = {
    "a": is_risk_heavy,
    "b": is_gripped,
    "c": is_long_session,
    "d": is_sleepless,
    "e": is_narrowing,
}


# The memory


def night_number(at: Millis, zone: ZoneInfo) -> int:
    """The night that an instant belongs to, from local noon to noon, as the number of the day on which it begins."""
    return (local_time(at, zone) - NOON).toordinal()


def awake(loop: LoopState, ledger: Ledger, loop_context: LoopContext) -> LoopState:
    """
    The loop with the ledger's newest activity counted into the nights it fell in.

    Like the ledger's minutes: a gap counts for at most `gap_minutes`, from its start.
    """
    if ledger.active_at <= loop.awake_at:
        return loop
    end = min(ledger.active_at, loop.awake_at + loop_context.market.session.gap_minutes * MINUTE)
    nights, start = dict(loop.nights), loop.awake_at or end
    while start < end:
        until = min(end, start - start % MINUTE + MINUTE)
        if is_night(start, (loop_context.zone,), loop_context.night):
            number = night_number(start, loop_context.zone)
            nights[number] = nights.get(number, 0) + until - start
        start = until
    oldest = night_number(ledger.active_at, loop_context.zone) - loop_context.rules.night_window
    kept = tuple((number, ms) for number, ms in nights.items() if number > oldest)
    return msgspec.structs.replace(loop, nights=kept, awake_at=ledger.active_at)


def watched(loop: LoopState, event: Event, item_no: int, tier: int, loop_context: LoopContext, at: Millis) -> LoopState:
    """
    The loop after a view, rewatch or completion of an item, which is one exposure however often it is reported.

    The first few exposures of a day count, R0 and R2 apart: a flood of events cannot drown what was watched.
    """
    rules, day = loop_context.rules, at // DAY
    is_done = event.kind != "view" or (event.watch_fraction or 0.0) >= rules.completed_from
    if tier >= 2:
        return _r2_watched(loop, item_no, is_done, day, rules)
    return _own_watched(loop, item_no, is_done, day, rules) if tier == 0 else loop


def _r2_watched(loop: LoopState, item_no: int, is_done: bool, day: int, rules: LoopRules) -> LoopState:
    kept = [entry for entry in loop.r2_watched if entry[1] > day - rules.completion_days]
    known = next((n for n, entry in enumerate(kept) if entry[0] == item_no), None)
    if known is not None:
        kept[known] = (item_no, kept[known][1], kept[known][2] or is_done)
    elif sum(entry[1] == day for entry in kept) < rules.counted_daily:
        kept.append((item_no, day, is_done))
    return msgspec.structs.replace(loop, r2_watched=tuple(kept[-MAX_EXPOSURES:]))


def _own_watched(loop: LoopState, item_no: int, is_done: bool, day: int, rules: LoopRules) -> LoopState:
    if day > loop.own_day:
        fade = math.exp((loop.own_day - day) / rules.baseline_days)
        completed = (loop.own_completion[0] + sum(done for _, done in loop.own_today)) * fade
        exposures = (loop.own_completion[1] + len(loop.own_today)) * fade
        loop = msgspec.structs.replace(loop, own_completion=(completed, exposures), own_day=day, own_today=())
    today = dict(loop.own_today)
    if item_no in today or len(today) < rules.counted_daily:
        today[item_no] = today.get(item_no, False) or is_done
    return msgspec.structs.replace(loop, own_today=tuple(today.items()))


def topics_shown(loop: LoopState, deliveries: Sequence[Delivery], loop_context: LoopContext, at: Millis) -> LoopState:
    """The loop with a page counted by topic. On the first page of a day the entropy so far enters the memory."""
    rules, day = loop_context.rules, at // DAY
    loop = _memorised(loop, rules, day)
    if not deliveries:
        return loop
    daily = dict(loop.daily)
    shown = [first_topic(d.topics) for d in deliveries]
    daily[day] = _added(daily.get(day, ()), tuple(shown.count(topic) for topic in range(len(TOPICS) + 1)))
    kept = sorted((d, c) for d, c in daily.items() if d > day - rules.entropy_days)
    return msgspec.structs.replace(loop, daily=tuple(kept))


def _added(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip_longest(a, b, fillvalue=0))


def first_topic(bits: int) -> int:
    """1 to 12 for the first of an item's topics, 0 for none: each delivery counts once."""
    return (bits & -bits).bit_length()


def _memorised(loop: LoopState, rules: LoopRules, day: int) -> LoopState:
    """The memory moves towards the entropy of the last whole days, by as much as time has passed since it last did."""
    now = week_entropy(loop, rules, day - 1)
    if day <= loop.entropy_day or now is None:
        return loop
    before = now if loop.entropy is None else loop.entropy
    pull = 1 - (1 - 1 / rules.entropy_memory_days) ** (day - loop.entropy_day)
    return msgspec.structs.replace(loop, entropy=before + pull * (now - before), entropy_day=day)


def week_entropy(loop: LoopState, rules: LoopRules, day: int) -> float | None:
    """Bits of entropy over the topics delivered in the days up to `day`; None under `entropy_items` deliveries."""
    days = [counts for d, counts in loop.daily if day - rules.entropy_days < d <= day]
    totals: tuple[int, ...] = reduce(_added, days, (0,))
    n = sum(totals)
    if n < rules.entropy_items:
        return None
    return -sum(count / n * math.log2(count / n) for count in totals if count)
