"""
What an experiment may change, and the one place where an override becomes effect.

Two kinds of parameters. Caps, gaps and floors (policy paths) can only be tightened from what the market gives an
adult, by any layer. Weights of the score move within bounds, and belong to one layer each. Everything else (tiers,
session length, cards, ages, night hours, ledger, surfaces) has no path here, so no file can spell it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from recsys.experiments.schema import ANY, ParameterRules
from recsys.policy.compiled import base_limits, market_limits
from recsys.policy.limits import PATHS, WINDOWS, Limits, Windows, flatten, meet
from recsys.policy.schema import Market
from recsys.user.state import LAST
from recsys.vocabulary import COUNTERS

BAND: Final = "18+"  # the only band that experiments reach
WEIGHTS: Final = "weights."
Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A path with the values it may take for one market, both ends allowed."""

    path: str
    type: Literal["int", "float"]
    low: Number
    high: Number
    layer: str
    tighten: Literal["lower", "higher"] | None = None


_SHARE: Final = Parameter(path="", type="float", low=0.0, high=1.0, layer=ANY, tighten="higher")
_CAP: Final = Parameter(path="", type="int", low=0, high=10_000, layer=ANY, tighten="lower")
_GAP: Final = Parameter(path="", type="int", low=0, high=LAST - 1, layer=ANY, tighten="higher")
_WEIGHT: Final = Parameter(path="", type="float", low=0.0, high=10.0, layer="")
KNOWN: Final[Mapping[str, Parameter]] = {
    **{f"windows.{counter}.{window}": _CAP for counter in COUNTERS for window in WINDOWS},
    **{f"gaps.{counter}": _GAP for counter in COUNTERS},
    PATHS["creator_last_20"]: _CAP,
    PATHS["supportive_floor"]: _SHARE,
    PATHS["local_floor"]: _SHARE,
}


def baseline(market: Market) -> Mapping[str, Any]:
    """What the market gives an adult by day at loop level 0, by policy path."""
    return flatten(meet(market_limits(market), base_limits(market.ages[BAND])))


def known(market: Market) -> Mapping[str, Parameter]:
    """Every path that a registry may list, with the widest bounds it may have."""
    return {**KNOWN, **{WEIGHTS + name: _WEIGHT for name in market.weights}}


def resolve(path: str, rules: ParameterRules, market: Market) -> Parameter:
    """A registry entry with the market's value as the loose end of its range."""
    widest, base = known(market)[path], baseline(market).get(path)
    low = widest.low if rules.min is None else rules.min
    high = widest.high if rules.max is None else rules.max
    if rules.tighten == "lower" and base is not None:
        high = base
    if rules.tighten == "higher" and base is not None:
        low = base
    if rules.type == "int":
        low, high = round(low), round(high)
    return Parameter(path=path, type=rules.type, low=low, high=high, layer=rules.layer, tighten=rules.tighten)


def problem_with(parameter: Parameter, value: object) -> str | None:
    """Why a value cannot be taken, as a sentence; None when it can. Never raises, whatever the value is."""
    kind = "a whole number" if parameter.type == "int" else "a number"
    expected = f"expected {kind} from {parameter.low:g} to {parameter.high:g}"
    allowed = (int,) if parameter.type == "int" else (int, float)
    if type(value) not in allowed or not math.isfinite(_number(value)):
        return f"found {_shown(value)}, {expected}"
    number = _number(value)
    if parameter.low <= number <= parameter.high:
        return None
    is_looser = number > parameter.high if parameter.tighten == "lower" else number < parameter.low
    if parameter.tighten and is_looser:
        return f"found {_shown(value)}, {expected}: looser than the market, and an experiment can only tighten"
    return f"found {_shown(value)}, {expected}"


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the floats
        return math.inf


def _shown(value: object) -> str:
    if value is not None and not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"  # nested values can be too deep to print
    if isinstance(value, int) and abs(value) >= 10**30:  # and integers too long
        return "a number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


@dataclass(frozen=True, slots=True)
class Drawn:
    """The variant of one experiment that a person is in, and what its payload says, not yet believed."""

    experiment: str
    layer: str
    variant: str
    overrides: object


@dataclass(frozen=True, slots=True)
class Merged:
    """What survives of all overrides: limits to meet with the base, weights to replace, an audit line per refusal."""

    limits: Limits
    weights: Mapping[str, float]
    problems: tuple[str, ...]


def merge(parameters: Mapping[str, Parameter], drawn: Sequence[Drawn]) -> Merged:
    """
    All overrides together. Order does not matter for limits: caps by min, gaps and floors by max.

    Anything that is not a number of the right type within the parameter's range is left out with an audit line.
    """
    problems: list[str] = []
    limits: dict[str, Number] = {}
    weights: dict[str, float] = {}
    for path, value, parameter in _accepted(parameters, drawn, problems):
        if parameter.tighten is None:
            weights[path.removeprefix(WEIGHTS)] = float(value)
        else:
            tighter = min if parameter.tighten == "lower" else max
            limits[path] = tighter(value, limits.get(path, value))
    return Merged(limits_of(limits), weights, tuple(problems))


def _accepted(
    parameters: Mapping[str, Parameter], drawn: Sequence[Drawn], problems: list[str]
) -> Iterator[tuple[str, Number, Parameter]]:
    for one in drawn:
        if not isinstance(one.overrides, Mapping):
            problems.append(f"{one.experiment}: found overrides {_shown(one.overrides)}, expected a mapping; left out")
            continue
        for path, value in one.overrides.items():
            parameter = parameters.get(path) if isinstance(path, str) else None
            if parameter is None:
                wrong: str | None = "found a path that no experiment may change"
            elif parameter.layer not in (ANY, one.layer):
                wrong = f"found in layer {one.layer}, expected in layer {parameter.layer}"
            else:
                wrong = problem_with(parameter, value)
            if parameter is None or wrong:
                problems.append(f"{one.experiment}: {_shown(path)}: {wrong}; the market's value stays")
            else:
                yield parameter.path, value, parameter


def limits_of(values: Mapping[str, Any]) -> Limits:
    """Policy paths and values as limits; the other way of `flatten`."""
    windows: dict[str, dict[str, int]] = {}
    gaps: dict[str, int] = {}
    for path, value in values.items():
        match path.split("."):
            case ["windows", counter, window]:
                windows.setdefault(counter, {})[window] = value
            case ["gaps", counter]:
                gaps[counter] = value
    single = {name: values[path] for name, path in PATHS.items() if path in values}
    return Limits(windows={counter: Windows(**caps) for counter, caps in windows.items()}, gaps=gaps, **single)
