"""
An independent recount of everything one person was ever shown, from the answers alone.

Written from policy-spec 0 and 3, not from the engine: it shares no arithmetic with the ledger, the slot loop or the
validator, reads no stored state, and counts every window again at every delivery, over the whole history. What it
believes are the answers' tiers, families, topics, age band and loop level, and the market file's numbers.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eval.simulation.closed_loop import Life
from recsys.clock import DAY, HOUR, MINUTE, Millis, to_datetime, zone
from recsys.messages import FeedItem
from recsys.policy.schema import AgeRules, Market

RUN: Final = 20
UNCAPPED: Final = 10**6
WINDOWS: Final = ("last_20", "session", "rolling_24h", "rolling_7d")
SEEN_AT_MOST: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One delivery: when (never behind what came before), in which session, under which band, level and night."""

    at: Millis
    session: int
    item: FeedItem
    band: str
    level: int
    is_night: bool
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The fullest that a window of a counter ever was, and under which cap."""

    found: int
    cap: int


@dataclass(slots=True, kw_only=True)
class Recount:
    """What was found: sentences of violations, and per (band, counter, window) the fullest window."""

    violations: list[str] = field(default_factory=list)
    worst: dict[tuple[str, str, str], Worst] = field(default_factory=dict)


def history(life: Life, market: Market) -> tuple[list[Shown], list[str]]:
    """
    Every delivery in order, and what is wrong with repeats. Sessions and times are worked out from when the person
    was active: a session ends after 30 minutes without a request or an event, and only a request begins one.
    """
    idle = market.session.idle_minutes * MINUTE
    shown: list[Shown] = []
    wrong: list[str] = []
    active, session, received = 0, 0, sorted(life.received)
    for number, page in enumerate(life.pages):
        while received and received[0] <= page.at:
            arrived = received.pop(0)
            active = max(active, arrived) if session and arrived - active <= idle else active
        response = page.answer.response
        if response is None or response.degraded:
            wrong.append(f"{life.member.user_id}: page {number} is degraded")
            continue
        if page.is_repeat:
            wrong += _repeat_problems(life, number)
            if response.replayed:
                continue
        now = max(page.at, active)
        session += not session or now - active > idle
        active = now
        safety = response.safety
        shown += [
            Shown(
                at=now, session=session, item=item, band=safety.age_band, level=safety.loop_level, page=number,
                is_night=_is_night(now, market, safety.age_band, life),
            )
            for item in response.items
        ]  # fmt: skip
    return shown, wrong


def _repeat_problems(life: Life, number: int) -> Iterator[str]:
    """A repeated request shows the page before again, or less of it; anew only what a pause had kept back wholly."""
    page, before = life.pages[number], life.pages[number - 1].answer
    was_kept_back = before.pause is not None and not before.item_ids
    if page.answer.response is not None and not page.answer.response.replayed and not was_kept_back:
        yield f"{life.member.user_id}: page {number} is a repeat and was answered anew"
    if not set(page.answer.item_ids) <= set(before.item_ids) and not was_kept_back:
        yield f"{life.member.user_id}: page {number} is a repeat and shows something else"


def _is_night(at: Millis, market: Market, band: str, life: Life) -> bool:
    local = to_datetime(at).astimezone(zone(market.time_zone))
    hours = [*market.ages[band].night.hours, *life.member.persona.guardian.get("night", [])]
    return any(_within(60 * local.hour + local.minute, text) for text in hours)


def _within(minute: int, hours: str) -> bool:
    start, end = (60 * int(part[:2]) + int(part[3:]) for part in hours.split("-"))
    return start <= minute < end if start < end else minute >= start or minute < end


def caps(rules: AgeRules, counter: str, level: int, is_night: bool) -> dict[str, int]:
    """A counter's windows: the least of base, level and night; for a family of R2 half of that, rounded up."""
    base, family = ("R2", True) if counter.startswith("R2:") else (counter, False)
    found = {}
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
        found[window] = (least + 1) // 2 if family else least
    return found


def counters(item: FeedItem) -> tuple[str, ...]:
    """What an item counts as. An unlabelled item is R2 of a family of its own."""
    names = {"R0": (), "R1": ("R1", "R1+R2")}.get(item.tier, ("R2", "R1+R2", f"R2:{item.family}"))
    return (*names, "S4") if "S4" in item.topics else names


def recount(shown: Sequence[Shown], market: Market, who: str) -> Recount:
    """Every window, gap, spacing and ban, at every delivery."""
    result = Recount()
    by_counter: dict[str, list[int]] = {}
    for place, one in enumerate(shown):
        for counter in counters(one.item):
            by_counter.setdefault(counter, []).append(place)
    for counter, places in by_counter.items():
        _windows(shown, counter, places, market, who, result)
    result.violations += _bans(shown, who)
    result.violations += _spacing(shown, market, who)
    result.violations += _repeats(shown, market, who)
    return result


def _windows(
    shown: Sequence[Shown], counter: str, places: Sequence[int], market: Market, who: str, result: Recount
) -> None:
    times = [shown[place].at for place in places]
    for n, place in enumerate(places):
        one = shown[place]
        rules = market.ages[one.band]
        found = {
            "last_20": n + 1 - bisect_left(places, place - RUN + 1, 0, n),
            "session": sum(shown[p].session == one.session for p in places[max(0, n - 200) : n + 1]),
            "rolling_24h": n + 1 - bisect_left(times, one.at - 24 * HOUR, 0, n),
            "rolling_7d": n + 1 - bisect_left(times, one.at - 7 * DAY, 0, n),
        }
        for window, cap in caps(rules, counter, one.level, one.is_night).items():
            if found[window] > cap:
                result.violations.append(f"{who}: {counter} {window} {found[window]} > {cap} at delivery {place}")
            _note(result.worst, (one.band, counter, window), Worst(found=found[window], cap=cap))
        gap = max(_gap(rules, counter, one.level), 0)
        if n and place - places[n - 1] - 1 < gap:
            result.violations.append(f"{who}: {counter} gap {place - places[n - 1] - 1} < {gap} at delivery {place}")


def _gap(rules: AgeRules, counter: str, level: int) -> int:
    tabled: Mapping[str, int] = rules.levels[level].gaps if level else {}
    return max(rules.gaps.get(counter, 0), tabled.get(counter, 0))


def _note(worst: dict[tuple[str, str, str], Worst], key: tuple[str, str, str], new: Worst) -> None:
    old = worst.get(key)
    if old is None or (new.found, -new.cap) > (old.found, -old.cap):
        worst[key] = new


def _bans(shown: Sequence[Shown], who: str) -> Iterator[str]:
    for place, one in enumerate(shown):
        if one.item.tier in ("R3", "R4"):
            yield f"{who}: {one.item.tier} at delivery {place}"
        if one.level == 2 and one.item.tier == "R2":
            yield f"{who}: R2 at level 2 at delivery {place}"
        if one.band != "18+" and one.item.family == "unlabelled":
            yield f"{who}: an unlabelled item for a minor at delivery {place}"


def _spacing(shown: Sequence[Shown], market: Market, who: str) -> Iterator[str]:
    creators = [one.item.creator_id for one in shown]
    for place, creator in enumerate(creators):
        n = creators[max(0, place - RUN + 1) : place + 1].count(creator)
        if n > market.locality.creator_last_20:
            yield f"{who}: {n} of creator {creator} in 20 at delivery {place}"


def _repeats(shown: Sequence[Shown], market: Market, who: str) -> Iterator[str]:
    last: dict[str, int] = {}
    for place, one in enumerate(shown):
        before = last.get(one.item.item_id)
        is_remembered = before is not None and place - before <= SEEN_AT_MOST
        if is_remembered and one.at - shown[before or 0].at <= market.session.seen_days * DAY:
            yield f"{who}: item {one.item.item_id} again after {place - (before or 0)} deliveries"
        last[one.item.item_id] = place


def most_in_any(flags: Sequence[bool], run: int) -> int:
    """The largest count in any `run` neighbours."""
    best = now = 0
    for place, flag in enumerate(flags):
        now += flag - (flags[place - run] if place >= run else False)
        best = max(best, now)
    return best


def longest_run(flags: Sequence[bool]) -> int:
    """The longest unbroken row."""
    best = now = 0
    for flag in flags:
        now = now + 1 if flag else 0
        best = max(best, now)
    return best
