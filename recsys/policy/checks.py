"""
Reading a policy file: the schema checks each field, then the checks here compare fields with each other.
"""

from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

from recsys.clock import zone
from recsys.config import load, loads
from recsys.errors import ConfigError
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import Limits, changed, meet
from recsys.policy.schema import Market
from recsys.vocabulary import EFFECTIVE_BANDS, HEADS, PAUSE_KINDS, TOPICS


def load_market(path: Path) -> Market:
    """A policy file. Raises ConfigError with every problem."""
    return _checked(load(path, Market), str(path))


def market_of(text: str) -> Market:
    """As `load_market`, from the text of a file."""
    return _checked(loads(text, Market, name="policy"), "policy")


def _checked(market: Market, path: str) -> Market:
    """The market itself. Raises ConfigError when fields contradict each other, or the scorer has no such weight."""
    if problems := problems_of(market):
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    known = ("cf", "content", "popular", "fresh", "followed", "local", "supportive", "language", *HEADS)
    unknown = sorted(set(market.weights) - set(known))
    if unknown:
        raise ConfigError(f"{path}: weights: found {', '.join(unknown)}, expected some of {', '.join(known)}")
    return market


def problems_of(market: Market) -> list[str]:
    """What contradicts another field of a policy file, as sentences."""
    problems = []
    try:
        zone(market.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(f"time_zone: found {market.time_zone}, expected a zone such as Africa/Casablanca")
    if market.locality.target < market.locality.floor:
        target, floor = market.locality.target, market.locality.floor
        problems.append(f"locality.target: found {target:g}, expected the floor, {floor:g}, or more")
    bands = set(EFFECTIVE_BANDS)
    if set(market.ages) != bands:
        problems.append(f"ages: found {sorted(market.ages)}, expected {sorted(bands)}")
    if not {"R3", "R4"} <= set(market.never_served):
        problems.append(f"never_served: found {list(market.never_served)}, expected R3 and R4 among them")
    if set(market.topics) != set(TOPICS):
        problems.append(f"topics: found {sorted(market.topics)}, expected {', '.join(TOPICS)}")
    if set(market.pauses) != set(PAUSE_KINDS):
        problems.append(f"pauses: found {sorted(market.pauses)}, expected break, budget, guardian and night")
    for code, region in market.regions.items():
        strangers = [n for n in region.neighbours if code not in getattr(market.regions.get(n), "neighbours", ())]
        if strangers:
            problems.append(f"regions.{code}: found neighbours {strangers} that do not name it back")
    if set(market.ages) == bands:
        problems += _order_problems(market)
    return problems


def _order_problems(market: Market) -> list[str]:
    """A younger band must never be allowed more than an older one, at any level, by day or night."""
    limits = CompiledPolicy(market).limits
    problems = []
    for older, younger in pairwise(reversed(EFFECTIVE_BANDS)):
        known: set[str] = set()
        for _, level, night in [key for key in limits if key[0] == older]:
            looser = set(_looser(limits[older, level, night], limits[younger, level, night])) - known
            when = (f" at level {level}" if level else "") + (" at night" if night else "")
            if looser:
                problems.append(f"ages.{younger}: looser than {older}{when} in {', '.join(sorted(looser))}")
            known |= looser
    return problems


def _looser(older: Limits, younger: Limits) -> list[str]:
    """Paths in which the younger band may do more; a gap beside a cap of 0 limits nothing."""
    closed = [counter for counter, windows in younger.windows.items() if windows.last_20 == 0]
    return [path for path in changed(younger, meet(older, younger)) if path not in {f"gaps.{c}" for c in closed}]
