"""
The independent validator: counts a finished page again, from the policy's text and not from the selector.

It shares only the values with the rest of the engine (`Ledger`, `Delivery`, `Limits`) and none of the arithmetic, so
that one mistake cannot hide in both. It runs on every page, after every pass and before anything is reserved.

A history that is already over a cap, because a label was raised afterwards, is no violation; adding to it is. What a
delivery does not carry (muted words, creators by name, hidden items) cannot be validated here.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from recsys.clock import DAY, HOUR, Millis
from recsys.policy.limits import Limits, Windows
from recsys.user.state import Delivery, Ledger
from recsys.vocabulary import FAMILIES, TIERS, TOPICS

RUN: Final = 20  # deliveries that "last 20" speaks of, the one in question included
UNLABELLED: Final = FAMILIES.index("unlabelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """
    One rule that one item breaks.

    `position` is 1-based in the page; `rule` e.g. `cap:R2`, `gap:R1`, `creator_spacing`, `duplicate`, `seen`,
    `blocked_tier`; `window` the window of a cap, else ""; `found` and `allowed` what was counted and the limit.
    """

    position: int
    rule: str
    window: str
    found: int
    allowed: int
    sentence: str


def violations(
    before: Ledger,
    page: Sequence[Delivery],
    limits: Limits,
    *,
    at: Millis,
    seen: Set[int] = frozenset(),
    copies: Set[tuple[int, int]] = frozenset(),
    is_minor: bool = False,
) -> tuple[Violation, ...]:
    """
    Every rule that the page breaks, by position; empty when the page may be served.

    `before` is the ledger that the page is added to, its session already begun; `seen` the items that do not come
    back; `copies` pairs of an item and one that binds it as a copy. Taking an item out moves the others closer
    together: validate what is left again.
    """
    run, n_before = (*before.last, *page), len(before.last)
    counters, places = [_counters(delivery) for delivery in run], _places(run)
    served = [delivery for delivery in run if not delivery.is_open]
    first = len(served) - len(page)
    broken = [
        *_forbidden(page, limits, is_minor),
        *_repeated(page, seen, copies),
        *_crowded(served, first, limits.creator_last_20),
    ]
    for counter in sorted({name for names in counters[n_before:] for name in names}):
        entries = [n for n, names in enumerate(counters) if counter in names]
        times = [run[n].at for n in entries if n < n_before]
        broken += _over_time(before, counter, limits, times, [n - n_before for n in entries if n >= n_before], at)
        broken += _over_run(counter, limits, [places[n] for n in entries], first)
    return tuple(sorted(broken, key=lambda violation: (violation.position, violation.rule, violation.window)))


def _places(run: Sequence[Delivery]) -> list[int]:
    """Places in the order served. What was opened elsewhere stands where the last delivery before it does."""
    return [place - 1 for place in accumulate(not delivery.is_open for delivery in run)]


def _counters(delivery: Delivery) -> tuple[str, ...]:
    """The counters that a delivery adds one to. Whatever is worse than R2 was at least R2."""
    if delivery.tier >= 2:
        family = (f"R2:{FAMILIES[delivery.family]}",) if delivery.family >= 0 else ()
        names: tuple[str, ...] = ("R2", "R1+R2", *family)
    else:
        names = ("R1", "R1+R2") if delivery.tier == 1 else ()
    return (*names, "S4") if delivery.is_s4 else names


def _caps(limits: Limits, counter: str) -> Windows:
    """The caps of a counter; one family of R2 may fill half of each R2 cap, rounded up."""
    if not counter.startswith("R2:"):
        return limits.windows.get(counter, Windows())
    return limits.windows.get("R2", Windows()).map(lambda cap: (cap + 1) // 2)


def _times_of(before: Ledger, counter: str) -> list[Millis]:
    """The times that the ledger holds of a counter, ascending."""
    parts = ("R1", "R2") if counter == "R1+R2" else (counter,)
    return sorted(time for part in parts for time in before.capped.get(part, ()))


def _over_time(
    before: Ledger, counter: str, limits: Limits, of_last: Sequence[Millis], places: Sequence[int], at: Millis
) -> Iterator[Violation]:
    """
    Session, 24 hours and 7 days: closed windows, by a clock that never runs behind the last activity.

    `of_last` are the counter's times among the last deliveries; the ledger's two records are believed whichever says
    more.
    """
    caps, now = _caps(limits, counter), max(at, before.active_at)
    records = (_times_of(before, counter), sorted(of_last))
    windows = (
        ("session", caps.session, before.session_started_at),
        ("rolling_24h", caps.rolling_24h, now - 24 * HOUR),
        ("rolling_7d", caps.rolling_7d, now - 7 * DAY),
    )
    for window, cap, since in windows:
        if cap is None:
            continue
        past = max(len(times) - bisect_left(times, since) for times in records)
        for n, place in enumerate(places, start=1):
            if past + n > cap:
                yield _cap_violation(place, counter, window, past + n, cap)


def _over_run(counter: str, limits: Limits, places: Sequence[int], first: int) -> Iterator[Violation]:
    """Last 20 and gap, over the history and the page as one sequence; `first` is where the page begins."""
    cap, gap = _caps(limits, counter).last_20, limits.gaps.get(counter, 0)
    for n, place in enumerate(places):
        if place < first:
            continue
        if cap is not None and (count := sum(place - RUN < other <= place for other in places)) > cap:
            yield _cap_violation(place - first, counter, "last_20", count, cap)
        if n > 0 and (between := place - places[n - 1] - 1) < gap:
            yield Violation(
                position=place - first + 1,
                rule=f"gap:{counter}",
                window="gap",
                found=between,
                allowed=gap,
                sentence=f"position {place - first + 1} is {counter} after {between} others, expected at least {gap}",
            )


def _cap_violation(place: int, counter: str, window: str, found: int, cap: int) -> Violation:
    return Violation(
        position=place + 1,
        rule=f"cap:{counter}",
        window=window,
        found=found,
        allowed=cap,
        sentence=f"position {place + 1} is number {found} of {counter} in the window {window}, expected at most {cap}",
    )


def _crowded(run: Sequence[Delivery], first: int, cap: int | None) -> Iterator[Violation]:
    """One creator too often in 20 deliveries."""
    if cap is None:
        return
    creators = [delivery.creator_no for delivery in run]
    for place in range(first, len(run)):
        count = creators[max(0, place - RUN + 1) : place + 1].count(creators[place])
        if count > cap:
            yield Violation(
                position=place - first + 1,
                rule="creator_spacing",
                window="last_20",
                found=count,
                allowed=cap,
                sentence=f"position {place - first + 1} is number {count} of creator {creators[place]} in 20 "
                f"deliveries, expected at most {cap}",
            )


def _repeated(page: Sequence[Delivery], seen: Set[int], copies: Set[tuple[int, int]]) -> Iterator[Violation]:
    """
    The same item twice on the page, a copy after what it copies, or what was seen before. Number 0 is no item's: of
    those nobody can tell.
    """
    for position, delivery in enumerate(page, start=1):
        item_no, before = delivery.item_no, [earlier.item_no for earlier in page[: position - 1]]
        if (item_no and item_no in before) or (copies and any((item_no, other) in copies for other in before)):
            yield _violation(position, "duplicate", f"item {item_no} or what it copies is on the page already")
        if item_no in seen:
            yield _violation(position, "seen", f"item {item_no} or what it copies was seen in the last 30 days")


def _forbidden(page: Sequence[Delivery], limits: Limits, is_minor: bool) -> Iterator[Violation]:
    """What may not be on this page at all. R3 and R4 never are, whatever the limits forget."""
    topics = sum(1 << TOPICS.index(topic) for topic in limits.blocked_topics if topic in TOPICS)
    families = {FAMILIES.index(family) for family in limits.blocked_families if family in FAMILIES}
    for position, delivery in enumerate(page, start=1):
        if delivery.tier > 2 or delivery.tier in limits.blocked_tiers:
            yield _violation(position, "blocked_tier", f"tier {TIERS[min(delivery.tier, 4)]} is blocked")
        if delivery.topics & topics:
            yield _violation(position, "blocked_topic", f"topics {_names(delivery.topics & topics)} are blocked")
        if delivery.family in families:
            yield _violation(position, "blocked_family", f"family {FAMILIES[delivery.family]} is blocked")
        if delivery.family == UNLABELLED and (limits.labelled_only or is_minor):
            yield _violation(position, "unlabelled", "the item has no label, and this viewer sees labelled items only")


def _names(topics: int) -> str:
    return ", ".join(topic for n, topic in enumerate(TOPICS) if topics >> n & 1)


def _violation(position: int, rule: str, why: str) -> Violation:
    sentence = f"position {position} may not be served: {why}"
    return Violation(position=position, rule=rule, window="", found=1, allowed=0, sentence=sentence)
