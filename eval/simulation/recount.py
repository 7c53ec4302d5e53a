"""
An independent recount of all deliveries to one person, from the answers alone.

Written from policy-spec 0 and 3, not from the engine. It shares no arithmetic with the ledger, the slot loop or the
validator and reads no stored state. At every delivery it counts every window again over the whole history. It trusts
the answers' tiers, families, topics, age band and loop level, and the numbers of the market's file.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eval.simulation.closed_loop import PersonLog, Report
from recsys.clock import DAY, HOUR, MINUTE, Millis, to_datetime, zone
from recsys.messages import FeedItem
from recsys.policy.schema import AgeRules, Market

RUN_LENGTH: Final = 20  # deliveries of the window `last_20`
UNCAPPED: Final = 10**6
MAX_PER_SESSION: Final = 200  # counted deliveries back to which a session is searched
WINDOWS: Final = ("last_20", "session", "rolling_24h", "rolling_7d")
MAX_REMEMBERED: Final = 2_000  # items seen, within which one must not come again


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedDelivery:
    """
    One delivery: instant (never before an earlier one), session, age band, loop level, night, page number, and whether
    it answers a search.
    """

    at: Millis
    session: int
    item: FeedItem
    band: str
    level: int
    is_night: bool
    page: int
    is_search: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FullestWindow:
    """The largest count `n` that a window of a counter ever had, and the cap at that time."""

    n: int
    cap: int


@dataclass(slots=True, kw_only=True)
class Recount:
    """Violations as sentences, and by (band, counter, window) the fullest window."""

    violations: list[str] = field(default_factory=list)
    fullest: dict[tuple[str, str, str], FullestWindow] = field(default_factory=dict)


def deliveries_of(log: PersonLog, market: Market) -> tuple[list[CountedDelivery], list[str]]:
    """
    Every delivery in order, and the problems of repeated requests. Sessions and instants follow from the person's
    activity: a session ends after 30 minutes without a request or an event, and only a request begins one. A request by
    a clock that is behind is of the time of the event before it: the service's time of a person never runs back.
    """
    idle = market.session.idle_minutes * MINUTE
    deliveries: list[CountedDelivery] = []
    problems: list[str] = []
    active, session, reported = 0, 0, deque(log.reported)
    for number, page in enumerate(log.pages):
        while reported and reported[0].after_pages <= number:
            arrived = reported.popleft().at
            active = max(active, arrived) if session and arrived - active <= idle else active
        response = page.answer.response
        if response is None or response.degraded:
            problems.append(f"{log.member.user_id}: page {number} is degraded")
            continue
        if page.is_repeat:
            problems += _repeat_problems(log, number)
            if response.replayed:
                continue
        now = max(page.at, active)
        session += not session or now - active > idle
        active = now
        safety = response.safety
        deliveries += [
            CountedDelivery(
                at=now, session=session, item=item, band=safety.age_band, level=safety.loop_level, page=number,
                is_night=_is_night(now, market, safety.age_band, log), is_search=page.surface == "search",
            )
            for item in response.items
        ]  # fmt: skip
    return deliveries, problems


def _repeat_problems(log: PersonLog, number: int) -> Iterator[str]:
    """A repeated request shows the same page or less of it, unless a pause had withheld the whole page."""
    page, before = log.pages[number], log.pages[number - 1].answer
    was_withheld = before.pause is not None and not before.item_ids
    if page.answer.response is not None and not page.answer.response.replayed and not was_withheld:
        yield f"{log.member.user_id}: page {number} is a repeat and was answered anew"
    if not set(page.answer.item_ids) <= set(before.item_ids) and not was_withheld:
        yield f"{log.member.user_id}: page {number} is a repeat and shows something else"


def _is_night(at: Millis, market: Market, band: str, log: PersonLog) -> bool:
    local = to_datetime(at).astimezone(zone(market.time_zone))
    hours = [*market.ages[band].night.hours, *log.member.persona.guardian.get("night", [])]
    return any(_within(60 * local.hour + local.minute, text) for text in hours)


def _within(minute: int, hours: str) -> bool:
    start, end = (60 * int(part[:2]) + int(part[3:]) for part in hours.split("-"))
    return start <= minute < end if start < end else minute >= start or minute < end


def caps(rules: AgeRules, counter: str, level: int, is_night: bool) -> dict[str, int]:
    """A counter's windows: the least of base, level and night; for a family of R2 half of that, rounded up."""
    base, family = ("R2", True) if counter.startswith("R2:") else (counter, False)
    caps_by_window = {}
    for window in WINDOWS:
        day = getattr(rules.windows[base], window)
        allowed = [UNCAPPED if day is None else day]
        if level and base in rules.levels[level].windows:
            allowed.append(getattr(rules.levels[level].windows[base], window))
        if is_night:
            zero = {*rules.night.zero, *(rules.levels[level].night.zero if level else ())}
            allowed += [allowed[0] // 2] if base in rules.night.half else []
            allowed += [0] if base in zero else []
        least = min(cap for cap in allowed if cap is not None)
        caps_by_window[window] = (least + 1) // 2 if family else least
    return caps_by_window


def counters(item: FeedItem) -> tuple[str, ...]:
    """The counters of an item. An unlabelled item is R2 of a family of its own."""
    names = {"R0": (), "R1": ("R1", "R1+R2")}.get(item.tier, ("R2", "R1+R2", f"R2:{item.family}"))
    return (*names, "S4") if "S4" in item.topics else names


def recount(
    deliveries: Sequence[CountedDelivery], market: Market, user_id: str, reported: Sequence[Report] = ()
) -> Recount:
    """Every window, gap, spacing, ban and repeat, at every delivery. `reported`: what their apps said they saw."""
    result = Recount()
    by_counter: dict[str, list[int]] = {}
    for place, delivery in enumerate(deliveries):
        for counter in counters(delivery.item):
            by_counter.setdefault(counter, []).append(place)
    for counter, places in by_counter.items():
        _check_windows(deliveries, counter, places, market, user_id, result)
    result.violations += _bans(deliveries, user_id)
    result.violations += _spacing(deliveries, market, user_id)
    result.violations += _repeats(deliveries, reported, market, user_id)
    return result


def _check_windows(
    deliveries: Sequence[CountedDelivery],
    counter: str,
    places: Sequence[int],
    market: Market,
    user_id: str,
    result: Recount,
) -> None:
    """The windows and gaps of one counter; `places` are the deliveries that count for it."""
    times = [deliveries[place].at for place in places]
    for n, place in enumerate(places):
        delivery = deliveries[place]
        rules = market.ages[delivery.band]
        recent = places[max(0, n - MAX_PER_SESSION) : n + 1]
        counts = {
            "last_20": n + 1 - bisect_left(places, place - RUN_LENGTH + 1, 0, n),
            "session": sum(deliveries[p].session == delivery.session for p in recent),
            "rolling_24h": n + 1 - bisect_left(times, delivery.at - 24 * HOUR, 0, n),
            "rolling_7d": n + 1 - bisect_left(times, delivery.at - 7 * DAY, 0, n),
        }
        for window, cap in caps(rules, counter, delivery.level, delivery.is_night).items():
            if counts[window] > cap:
                result.violations.append(f"{user_id}: {counter} {window} {counts[window]} > {cap} at delivery {place}")
            key = (delivery.band, counter, window)
            result.fullest[key] = _fuller(result.fullest.get(key), FullestWindow(n=counts[window], cap=cap))
        gap = max(_gap(rules, counter, delivery.level), 0)
        if n and place - places[n - 1] - 1 < gap:
            between = place - places[n - 1] - 1
            result.violations.append(f"{user_id}: {counter} gap {between} < {gap} at delivery {place}")


def _gap(rules: AgeRules, counter: str, level: int) -> int:
    at_level: Mapping[str, int] = rules.levels[level].gaps if level else {}
    return max(rules.gaps.get(counter, 0), at_level.get(counter, 0))


def _fuller(old: FullestWindow | None, new: FullestWindow) -> FullestWindow:
    """The fuller of two windows; of equal ones that with the lower cap, else the older."""
    return new if old is None or (new.n, -new.cap) > (old.n, -old.cap) else old


def _bans(deliveries: Sequence[CountedDelivery], user_id: str) -> Iterator[str]:
    for place, delivery in enumerate(deliveries):
        if delivery.item.tier in ("R3", "R4"):
            yield f"{user_id}: {delivery.item.tier} at delivery {place}"
        if delivery.level == 2 and delivery.item.tier == "R2":
            yield f"{user_id}: R2 at level 2 at delivery {place}"
        if delivery.band != "18+" and delivery.item.family == "unlabelled":
            yield f"{user_id}: an unlabelled item for a minor at delivery {place}"


def _spacing(deliveries: Sequence[CountedDelivery], market: Market, user_id: str) -> Iterator[str]:
    creators = [delivery.item.creator_id for delivery in deliveries]
    for place, creator in enumerate(creators):
        n = creators[max(0, place - RUN_LENGTH + 1) : place + 1].count(creator)
        if n > market.locality.creator_last_20:
            yield f"{user_id}: {n} of creator {creator} in 20 at delivery {place}"


def _repeats(
    deliveries: Sequence[CountedDelivery], reported: Sequence[Report], market: Market, user_id: str
) -> Iterator[str]:
    """
    An item comes again only after the newest 2,000 that were seen, or 30 days. Seen is what was delivered, and what an
    event says: reports of items that had left the memory take places in it too.
    """
    last: dict[str, int] = {}
    for place, delivery in enumerate(deliveries):
        before = last.get(delivery.item.item_id)
        last[delivery.item.item_id] = place
        if before is None or delivery.is_search:  # a search may show again what a person asks for
            continue
        since = deliveries[before].at
        seen = {past.item.item_id for past in deliveries[before:place]}
        if len(seen) <= MAX_REMEMBERED and delivery.at - since <= market.session.seen_days * DAY:
            seen |= {
                report.item_id
                for report in reported
                if report.item_id and since <= report.at <= delivery.at and report.kind in market.session.seen_events
            }
            if len(seen) <= MAX_REMEMBERED:
                yield f"{user_id}: item {delivery.item.item_id} again after {len(seen)} seen"


def most_in_any_run(flags: Sequence[bool], run: int) -> int:
    """The largest count in any `run` neighbours."""
    best = count = 0
    for place, flag in enumerate(flags):
        count += flag - (flags[place - run] if place >= run else False)
        best = max(best, count)
    return best


def longest_streak(flags: Sequence[bool]) -> int:
    """The length of the longest unbroken row."""
    best = length = 0
    for flag in flags:
        length = length + 1 if flag else 0
        best = max(best, length)
    return best
