"""
Reading a policy file: the schema checks each field, then the checks here compare fields with each other.

A problem is a key of the file and a sentence; the reader puts the line of the key in front.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfoNotFoundError

from recsys.clock import zone
from recsys.config import load, loads
from recsys.errors import ConfigError
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import Limits, LimitValue, changed, hours_text, meet
from recsys.policy.schema import Market
from recsys.source import SourceFile
from recsys.vocabulary import EFFECTIVE_BANDS, HEADS, PAUSE_KINDS, TOPICS

Problem = tuple[str, str]
"""A key such as `locality.target`, and what is wrong with its value."""

_WEIGHTS: Final = ("cf", "content", "popular", "fresh", "followed", "local", "supportive", "language", *HEADS)
_KEYS: Final = {
    "supportive.floor": "supportive_floor",
    "blocked.tiers": "blocked_tiers",
    "budget.daily_minutes": "daily_minutes",
    "night": "night.hours",
}
"""Where a limit stands under an age band, for limits that are spelled otherwise there."""


def load_market(path: Path) -> Market:
    """A policy file. Raises ConfigError with every problem, each with its line."""
    market = load(path, Market)
    return _checked(market, lambda: SourceFile(str(path), path.read_text("utf-8")))


def market_of(text: str) -> Market:
    """As `load_market`, from the text of a file."""
    return _checked(loads(text, Market, name="policy"), lambda: SourceFile("policy", text))


def _checked(market: Market, source: Callable[[], SourceFile]) -> Market:
    """The market itself. Raises ConfigError when fields contradict each other, or the scorer has no such weight."""
    problems = [*_problems(market), *_order_problems(market)]
    if problems:
        file = source()  # the lines are worked out for a problem only
        raise ConfigError(*(file.problem(_written_key(file, key), sentence) for key, sentence in problems))
    return market


def _written_key(source: SourceFile, key: str) -> str:
    """The key of a loop level where the file has it, else the key of the age band, which then holds."""
    if ".levels." not in key or key in source.lines:
        return key
    band, _, rest = key.partition(".levels.")
    return f"{band}.{rest.partition('.')[2]}"


def _problems(market: Market) -> Iterator[Problem]:
    """What contradicts another field of a policy file."""
    try:
        zone(market.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield "time_zone", f"found {market.time_zone}, expected a zone such as Africa/Casablanca"
    floor, target = market.locality.floor, market.locality.target
    if target < floor:
        yield "locality.target", f"found {target:g}, expected locality.floor, which is {floor:g}, or more"
    if not {"R3", "R4"} <= set(market.never_served):
        yield "never_served", f"found {_listed(market.never_served)}, expected R3 and R4 among them"
    yield from _key_problems("ages", market.ages, EFFECTIVE_BANDS)
    yield from _key_problems("topics", market.topics, TOPICS)
    yield from _key_problems("pauses", market.pauses, PAUSE_KINDS)
    for code, region in market.regions.items():
        for name in region.neighbours:
            if name not in market.regions:
                yield f"regions.{code}.neighbours", f"found {name}, expected one of {_listed(market.regions)}"
            elif code not in market.regions[name].neighbours:
                yield (
                    f"regions.{code}.neighbours",
                    f"found {name}, which does not name {code}; expected both or neither",
                )
    for name in sorted(set(market.weights) - set(_WEIGHTS)):
        yield f"weights.{name}", f"found a weight {name}, expected one of {_listed(_WEIGHTS)}"


def _key_problems(key: str, found: Collection[str], wanted: Collection[str]) -> Iterator[Problem]:
    for name in wanted:
        if name not in found:
            yield key, f"{name} is missing, expected {_listed(wanted)}"
    for name in found:
        if name not in wanted:
            yield f"{key}.{name}", f"found {name}, expected one of {_listed(wanted)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _order_problems(market: Market) -> Iterator[Problem]:
    """A younger band must never be allowed more than an older one, at any level, by day or night."""
    if set(market.ages) != set(EFFECTIVE_BANDS):
        return
    limits = CompiledPolicy(market).limits
    for older, younger in pairwise(reversed(EFFECTIVE_BANDS)):
        known: set[str] = set()
        for _, level, night in [key for key in limits if key[0] == older]:
            looser = _looser(limits[older, level, night], limits[younger, level, night])
            when = (f" at level {level}" if level else "") + (" at night" if night else "")
            for path, (found, most) in looser.items():
                if path not in known:
                    sentence = (
                        f"found {_shown(path, found)}, which is looser than {_shown(path, most)} of {older}{when}"
                    )
                    yield _key_of(younger, level, path), f"{sentence}; expected {_shown(path, most)} or stricter"
            known |= set(looser)


def _key_of(band: str, level: int, path: str) -> str:
    key = _KEYS.get(path, path)
    return f"ages.{band}.levels.{level}.{key}" if level else f"ages.{band}.{key}"


def _shown(path: str, value: LimitValue | None) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, frozenset):
        if path == "night":
            return hours_text(value)
        return _listed(sorted(f"R{part}" if path == "blocked.tiers" else str(part) for part in value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _looser(older: Limits, younger: Limits) -> dict[str, tuple[LimitValue | None, LimitValue | None]]:
    """Paths in which the younger band may do more, with both values; a gap beside a cap of 0 limits nothing."""
    closed = [counter for counter, windows in younger.windows.items() if windows.last_20 == 0]
    differences = changed(younger, meet(older, younger))
    return {path: values for path, values in differences.items() if path not in {f"gaps.{c}" for c in closed}}
