"""
The exposure ledger: pure functions from one `Ledger` to the next. What is delivered counts as shown. Nothing is ever
released; entries leave only by age. Windows are closed: an entry exactly 24 h old still counts.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from recsys.clock import DAY, MINUTE, Millis, to_text
from recsys.errors import StageError
from recsys.policy.limits import MAX_CAP, Limits, Windows, family_cap
from recsys.policy.schema import SessionRules
from recsys.user.state import LAST, Delivery, Ledger, Span
from recsys.vocabulary import FAMILIES

RUN: Final = 20  # deliveries: the length of the run that last_20 and the floors speak of
LEDGER_SPAN_MS: Final[Millis] = 7 * DAY  # how far back the longest window of a cap looks
MAX_COUNTED: Final = MAX_CAP  # times held per counter; no cap may be higher
MAX_SPANS: Final = 32  # stretches of activity
MAX_OPENS: Final = 20  # opens elsewhere of each kind among the last deliveries
UNLIMITED_ROOM: Final = 10_000  # deliveries: the room that is left where no window is capped
NO_CAPS: Final = Windows()
FAMILY_COUNTERS: Final = tuple(f"R2:{family}" for family in FAMILIES)


@lru_cache(maxsize=1_024)
def counters_of(tier: int, family: int, is_s4: bool) -> tuple[str, ...]:
    """The counters that a delivery of this kind adds to. A tier above R2, learned after delivery, counts as R2."""
    names: list[str] = []
    if tier == 1:
        names = ["R1", "R1+R2"]
    elif tier >= 2:
        names = ["R2", "R1+R2"] + ([FAMILY_COUNTERS[family]] if family >= 0 else [])
    if is_s4:
        names.append("S4")
    return tuple(names)


def windows_of(limits: Limits, counter: str) -> Windows:
    """The caps of a counter; one R2 family may fill half of every R2 cap, rounded up."""
    if counter in FAMILY_COUNTERS:
        return _of_family(limits.windows.get("R2", NO_CAPS))
    return limits.windows.get(counter, NO_CAPS)


@lru_cache(maxsize=256)
def _of_family(windows: Windows) -> Windows:
    return windows.map(lambda cap: family_cap(cap) or 0)


def times_of(ledger: Ledger, counter: str) -> Sequence[Millis]:
    """Exact times of a counter's deliveries in the last 7 days, ascending."""
    if counter == "R1+R2":
        return sorted((*ledger.capped.get("R1", ()), *ledger.capped.get("R2", ())))
    return ledger.capped.get(counter, ())


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a counter was delivered: in the session, 24 hours and 7 days."""

    session: int
    rolling_24h: int
    rolling_7d: int


def counts(ledger: Ledger, counter: str, at: Millis) -> Counts:
    """The counter's deliveries at `at`, before anything else is delivered."""
    times = times_of(ledger, counter)
    total = len(times)
    return Counts(
        session=total - bisect_left(times, ledger.session_started_at) if ledger.session_started_at else 0,
        rolling_24h=total - bisect_left(times, at - DAY),
        rolling_7d=total - bisect_left(times, at - LEDGER_SPAN_MS),
    )


def room(ledger: Ledger, limits: Limits, counter: str, at: Millis) -> int:
    """How many more the session, 24-hour and 7-day windows of a counter admit; a large number where none is set."""
    windows, now = windows_of(limits, counter), counts(ledger, counter, at)
    pairs = [
        (windows.session, now.session),
        (windows.rolling_24h, now.rolling_24h),
        (windows.rolling_7d, now.rolling_7d),
    ]
    return max(0, min([UNLIMITED_ROOM, *(cap - used for cap, used in pairs if cap is not None)]))


def remaining(ledger: Ledger, limits: Limits, counter: str, at: Millis) -> Mapping[str, int]:
    """What each window of a counter still admits, for people to see."""
    return remaining_of(ledger, limits, (counter,), at)[counter]


def remaining_of(
    ledger: Ledger, limits: Limits, counters: Iterable[str], at: Millis
) -> Mapping[str, Mapping[str, int]]:
    """`remaining` of several counters."""
    recent = [names for place, names in placed(ledger) if place > -RUN]
    return {
        counter: _remaining(ledger, limits, counter, sum(counter in names for names in recent), at)
        for counter in counters
    }


def _remaining(ledger: Ledger, limits: Limits, counter: str, recent: int, at: Millis) -> dict[str, int]:
    windows, now = windows_of(limits, counter), counts(ledger, counter, at)
    used = {"last_20": recent, "session": now.session, "rolling_24h": now.rolling_24h, "rolling_7d": now.rolling_7d}
    caps = {name: getattr(windows, name) for name in used}
    return {name: max(0, cap - used[name]) for name, cap in caps.items() if cap is not None}


def placed(ledger: Ledger) -> list[tuple[int, tuple[str, ...]]]:
    """
    The place and the counters of everything in `last`, oldest first; -1 is the newest place.

    An open elsewhere shares the place of the delivery before it. With one of its own, reported opens would push what
    was served out of the last 20, and an event would make room.
    """
    places, n_later = [], 0
    for delivery in reversed(ledger.last):
        places.append((-n_later - 1, counters_of(delivery.tier, delivery.family, delivery.is_s4)))
        n_later += not delivery.is_open
    return places[::-1]


def served(ledger: Ledger, n: int) -> Sequence[Delivery]:
    """The last `n` that were served, oldest first, without opens elsewhere."""
    return [delivery for delivery in ledger.last if not delivery.is_open][-n:]


def server_time(ledger: Ledger, at: Millis) -> Millis:
    """The later of the clock and the last thing the ledger knows: a clock going back never frees a window."""
    newest = ledger.last[-1].at if ledger.last else 0
    return max(at, ledger.active_at, newest)


def touch(ledger: Ledger, at: Millis, rules: SessionRules, *, starts: bool = True) -> Ledger:
    """
    Activity at `at`. A session ends after `idle_minutes` without any; with `starts` False (events) it is only
    prolonged, never begun.
    """
    at = server_time(ledger, at)
    is_over = not ledger.session_started_at or at - ledger.active_at > rules.idle_minutes * MINUTE
    if is_over and not starts:
        return ledger
    ledger = msgspec.structs.replace(ledger, active_at=at, active=_active(ledger.active, at, rules))
    if is_over:
        ledger = msgspec.structs.replace(ledger, session_started_at=at, session_n=0, pause_answered=())
    return ledger


def _active(spans: tuple[Span, ...], at: Millis, rules: SessionRules) -> tuple[Span, ...]:
    """24 h of activity; a pause between two activities counts for at most `gap_minutes`."""
    longest = rules.gap_minutes * MINUTE
    recent = [span for span in spans if span.end + longest >= at - DAY]
    if recent and at - recent[-1].end <= longest:
        return (*recent[:-1], Span(start=recent[-1].start, end=at))
    if recent:
        recent[-1] = Span(start=recent[-1].start, end=recent[-1].end + longest)
    return _join_spans([*recent, Span(start=at, end=at)])


def _join_spans(spans: list[Span]) -> tuple[Span, ...]:
    """At most 32 spans, so that the ledger stays small: the two with the least rest between them become one."""
    if len(spans) > MAX_SPANS:
        n = min(range(len(spans) - 1), key=lambda n: spans[n + 1].start - spans[n].end)
        spans[n : n + 2] = [Span(start=spans[n].start, end=spans[n + 1].end)]
    return tuple(spans)


def minutes_since(ledger: Ledger, since: Millis, at: Millis) -> float:
    """Minutes of activity from `since` to `at`, of which the ledger knows the last 24 hours."""
    return _active_ms(ledger, max(since, at - DAY), at) / MINUTE


def active_minutes(ledger: Ledger, at: Millis) -> float:
    """Minutes of activity in the last 24 hours."""
    return minutes_since(ledger, at - DAY, at)


def _active_ms(ledger: Ledger, since: Millis, at: Millis) -> Millis:
    return sum(max(0, min(span.end, at) - max(span.start, since)) for span in ledger.active)


def under_budget_at(ledger: Ledger, minutes: int, at: Millis) -> Millis | None:
    """
    The first instant from `at` on with less than `minutes` of activity in the 24 hours before it, if nothing more
    happens. None for a budget of 0.
    """
    over = _active_ms(ledger, at - DAY, at) - minutes * MINUTE
    if over < 0:
        return at
    for span in ledger.active:
        start, end = max(span.start, at - DAY), min(span.end, at)
        if end - start > over:  # always true for some span, unless the budget is 0
            return start + over + 1 + DAY
        over -= max(0, end - start)
    return None


def deliver(ledger: Ledger, deliveries: Sequence[Delivery], at: Millis) -> Ledger:
    """
    The ledger after a page is committed, and after everything too old has left.

    The deliveries carry `server_time(ledger, at)`. Raises StageError when one is older: it would leave its windows, or
    fall out of the session, before its time. An open elsewhere counts in every window, and is no delivery.
    """
    earliest = server_time(ledger, 0)
    if any(d.at < earliest for d in deliveries):
        oldest = to_text(min(d.at for d in deliveries))
        raise StageError(f"found a delivery at {oldest}, expected none before {to_text(earliest)}; use server_time()")
    capped = {name: list(times) for name, times in ledger.capped.items()}
    for d in deliveries:
        for counter in counters_of(d.tier, d.family, d.is_s4):
            if counter != "R1+R2":
                capped.setdefault(counter, []).append(d.at)
    n_served = sum(not d.is_open for d in deliveries)
    return msgspec.structs.replace(
        ledger,
        last=_newest_deliveries((*ledger.last, *deliveries)),
        capped=_drop_old(capped, at),
        n_delivered=ledger.n_delivered + n_served,
        session_n=ledger.session_n + n_served,
    )


def _newest_deliveries(last: tuple[Delivery, ...]) -> tuple[Delivery, ...]:
    """
    The last 50 that were served, and of the opens since the first of them the newest 20 of each kind: opens of one kind
    must not push out those of another.
    """
    places = [n for n, delivery in enumerate(last) if not delivery.is_open]
    last = last[places[-LAST] :] if len(places) >= LAST else last
    kinds: dict[tuple[str, ...], list[int]] = {}
    for n, delivery in enumerate(last):
        if delivery.is_open:
            kinds.setdefault(counters_of(delivery.tier, delivery.family, delivery.is_s4), []).append(n)
    too_old = {n for places in kinds.values() for n in places[:-MAX_OPENS]}
    return tuple(delivery for n, delivery in enumerate(last) if n not in too_old)


def _drop_old(capped: Mapping[str, Sequence[Millis]], at: Millis) -> dict[str, tuple[Millis, ...]]:
    """What still counts. The newest 100 of a counter decide as all would: no cap may be above 100."""
    since = at - LEDGER_SPAN_MS
    recent = {name: tuple(t for t in times[-MAX_COUNTED:] if t >= since) for name, times in sorted(capped.items())}
    return {name: times for name, times in recent.items() if times}


def recount(ledger: Ledger, deliveries: Iterable[Delivery], at: Millis, revision: int) -> Ledger:
    """
    The ledger with every past delivery at its tier of now. Counters only grow: what was counted stays counted.

    `deliveries` are those of the last 8 days with `tier` already the higher of then and now, in commit order.
    """
    counted: dict[str, list[Millis]] = {}
    latest: dict[tuple[Millis, int], Delivery] = {}
    for d in deliveries:
        latest[d.at, d.item_no] = d
        for counter in counters_of(d.tier, d.family, d.is_s4):
            if counter != "R1+R2":
                counted.setdefault(counter, []).append(d.at)
    capped = {
        name: _merge_times(ledger.capped.get(name, ()), counted.get(name, ())) for name in {*ledger.capped, *counted}
    }
    last = tuple(_riskier(d, latest.get((d.at, d.item_no), d)) for d in ledger.last)
    return msgspec.structs.replace(ledger, last=last, capped=_drop_old(capped, at), revision=revision)


def _merge_times(a: Sequence[Millis], b: Sequence[Millis]) -> list[Millis]:
    """Both lists as one: each time as often as in the list that has it more often."""
    times = {*a, *b}
    in_a, in_b = _count_times(a), _count_times(b)
    return sorted(t for t in times for _ in range(max(in_a.get(t, 0), in_b.get(t, 0))))


def _count_times(times: Sequence[Millis]) -> Mapping[Millis, int]:
    counts: dict[Millis, int] = {}
    for t in times:
        counts[t] = counts.get(t, 0) + 1
    return counts


def _riskier(a: Delivery, b: Delivery) -> Delivery:
    return b if b.tier > a.tier else a
