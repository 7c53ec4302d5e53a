"""
The layers that a policy file sets, worked out once: the market, an age band, the night and a loop level.

Each is a `Limits`; what holds is their meet. Night and level are absolute numbers, computed from the age band's base
(policy-spec 0). The layers of one person are in `recsys.policy.effective`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

from recsys.clock import zone, zones_of
from recsys.policy.limits import Limits, LimitValue, Windows, flatten, meet, minutes
from recsys.policy.schema import AgeRules, Market, Night, parse_hours, tier_number

LEVELS: Final = (0, 1, 2)  # of the loop breaker


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

    def layers(self, band: str, level: int, night: bool) -> list[tuple[str, Limits]]:
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


def explain_limits(named: list[tuple[str, Limits]]) -> list[tuple[str, LimitValue, str]]:
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
