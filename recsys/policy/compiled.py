"""
The layers of a person's effective policy, and who set which number.

market and age band, guardian, the person, night, loop level, experiment: each is a `Limits`; the effective policy
is their meet. Night and level are absolute numbers, computed once from the age band's base (policy-spec 0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from recsys.clock import MINUTE, Millis, to_datetime, zone, zones_of
from recsys.policy.limits import Limits, Windows, flatten, meet, minutes
from recsys.policy.schema import AgeRules, Market, Night, parse_hours, tier_number
from recsys.user.state import Controls, Guardian
from recsys.vocabulary import EFFECTIVE_BANDS

LEVELS = (0, 1, 2)


def base_limits(rules: AgeRules) -> Limits:
    """What an age band allows by day at level 0."""
    return Limits(
        windows=dict(rules.windows),
        gaps={counter: gap for counter, gap in rules.gaps.items() if gap},
        supportive_floor=rules.supportive_floor,
        blocked_tiers=frozenset(tier_number(t) for t in rules.blocked_tiers),
        daily_minutes=rules.daily_minutes,
        labelled_only=rules.labelled_only,
        non_personalised=rules.non_personalised,
        night=minutes(parse_hours(h) for h in rules.night.hours),
    )


def market_limits(market: Market) -> Limits:
    """What holds for everybody in a market."""
    return Limits(
        creator_last_20=market.locality.creator_last_20,
        local_floor=market.locality.floor,
        blocked_tiers=frozenset(tier_number(t) for t in market.never_served),
    )


def night_limits(rules: AgeRules, night: Night) -> Limits:
    """Absolute numbers for the night: half of the base rounded down, or zero."""
    halved: dict[str, Windows] = {c: rules.windows[c].map(lambda cap: cap // 2) for c in night.half}
    zeroed: dict[str, Windows] = {c: Windows(last_20=0, session=0, rolling_24h=0, rolling_7d=0) for c in night.zero}
    return Limits(windows={**halved, **zeroed})


def level_limits(rules: AgeRules, level: int) -> Limits:
    """What a loop level sets; nothing at level 0."""
    if level == 0:
        return Limits()
    tabled = rules.levels[level]
    return Limits(windows=dict(tabled.windows), gaps=dict(tabled.gaps), supportive_floor=tabled.supportive_floor)


def guardian_limits(guardian: Guardian | None) -> Limits:
    """What a guardian set."""
    if guardian is None:
        return Limits()
    allowed = 5 if guardian.max_tier is None else tier_number(guardian.max_tier) + 1
    return Limits(
        daily_minutes=guardian.daily_minutes,
        night=minutes(guardian.night),
        blocked_tiers=frozenset(range(allowed, 5)),
        labelled_only=guardian.labelled_only,
    )


def person_limits(controls: Controls, *, personalised: bool) -> Limits:
    """What the person set, and every other "no" to personalisation."""
    return Limits(
        daily_minutes=controls.daily_minutes,
        blocked_topics=frozenset(controls.muted_topics),
        blocked_creators=frozenset(controls.muted_creators),
        blocked_words=frozenset(controls.muted_words),
        non_personalised=not (controls.personalised and personalised),
    )


def is_night(at: Millis, zones: Sequence[ZoneInfo], night: frozenset[int]) -> bool:
    """Whether the local minute at `at` is one of `night` in any of the zones."""
    instant = to_datetime(at)
    return any(60 * local.hour + local.minute in night for local in map(instant.astimezone, zones))


def next_day(at: Millis, zones: Sequence[ZoneInfo], night: frozenset[int]) -> Millis:
    """The first instant at or after `at` that is night in none of the zones (at most 48 h on)."""
    start = at - at % MINUTE
    for step in range(48 * 60):
        moment = start + step * MINUTE
        if not is_night(moment, zones, night):
            return max(at, moment)
    return at


def effective_band(market: Market, *, stored: str | None, source: str, given: str | None) -> str:
    """
    The band that counts: the stricter of what is stored and what a request says; doubtful is 13-15.

    A verified band counts as stored; a declared 18+ counts only where the market trusts declarations.
    """
    if stored == "under_13" or (source == "verified" and stored in EFFECTIVE_BANDS):
        own = stored
    elif source == "declared" and stored == "18+" and market.trust_declared_age:
        own = "18+"
    else:
        own = "13-15"
    said = own if given is None else {"unknown": "13-15"}.get(given, given)
    return min(own, said, key=EFFECTIVE_BANDS.index)


@dataclass(frozen=True)
class CompiledPolicy:
    """
    A market's layers, worked out once: `limits[band, level, is_night]` is the meet of market, age, level and night.
    """

    market: Market

    @cached_property
    def zone(self) -> ZoneInfo:
        """The market's time zone."""
        return zone(self.market.time_zone)

    def zones(self, country: str | None) -> tuple[ZoneInfo, ...]:
        """
        The zones whose night binds a person: the market's, and those of another country that the person or a request
        names. Nobody gets out of the night by naming a country; where it has several zones, each adds its hours.
        """
        return (self.zone, *(zones_of(country) if country and country != self.market.market else ()))

    @cached_property
    def limits(self) -> Mapping[tuple[str, int, bool], Limits]:
        """The precomputed meets."""
        keys = [(band, level, night) for band in self.market.ages for level in LEVELS for night in (False, True)]
        return {key: meet(*(layer for _, layer in self.layers(*key))) for key in keys}

    def layers(self, band: Any, level: int, night: bool) -> list[tuple[str, Limits]]:
        """The market's own layers by name, in order."""
        rules = self.market.ages[band]
        named = [("market", market_limits(self.market)), (f"age {band}", base_limits(rules))]
        if level:
            named.append((f"level {level}", level_limits(rules, level)))
        if night:
            named.append(("night", night_limits(rules, rules.night)))
            if level:
                named.append((f"night at level {level}", night_limits(rules, rules.levels[level].night)))
        return named


def explain(named: list[tuple[str, Limits]]) -> list[tuple[str, Any, str]]:
    """Per policy path: the effective value, and the first layer that set it so."""
    effective = flatten(meet(*(layer for _, layer in named)))
    rows = []
    for path, value in effective.items():
        so_far: list[Limits] = []
        for name, layer in named:
            so_far.append(layer)
            if flatten(meet(*so_far)).get(path) == value:
                rows.append((path, value, name))
                break
    return rows


def local_time(at: Millis, zone: ZoneInfo) -> datetime:
    """The wall clock of the market at `at`."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
