"""
The parameters that an experiment may change, and the one place where an override takes effect.

There are two kinds. Caps, gaps and floors (policy paths) can only be tightened from the market's values for an adult,
by any layer. Weights of the score move within bounds, and each belongs to one layer. Everything else (tiers, session
length, cards, ages, night hours, ledger, surfaces) has no path here, so no file can change it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from recsys.experiments.schema import ANY_LAYER, ParameterRules
from recsys.policy.compiled import base_limits, market_limits
from recsys.policy.limits import PATHS, WINDOWS, Limits, Windows, flatten, meet
from recsys.policy.schema import Market
from recsys.types import Fields
from recsys.user.state import LAST
from recsys.vocabulary import COUNTERS

REACHED_BAND: Final = "18+"  # experiments reach no other
WEIGHTS: Final = "weights."
Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A path with its range for one market, both ends included."""

    path: str
    type: Literal["int", "float"]
    low: Number
    high: Number
    layer: str
    tighten: Literal["lower", "higher"] | None = None


_SHARE: Final = Parameter(path="", type="float", low=0.0, high=1.0, layer=ANY_LAYER, tighten="higher")
_CAP: Final = Parameter(path="", type="int", low=0, high=10_000, layer=ANY_LAYER, tighten="lower")
_GAP: Final = Parameter(path="", type="int", low=0, high=LAST - 1, layer=ANY_LAYER, tighten="higher")
_WEIGHT: Final = Parameter(path="", type="float", low=0.0, high=10.0, layer="")
ADJUSTABLE_LIMITS: Final[Mapping[str, Parameter]] = {
    **{f"windows.{counter}.{window}": _CAP for counter in COUNTERS for window in WINDOWS},
    **{f"gaps.{counter}": _GAP for counter in COUNTERS},
    PATHS["creator_last_20"]: _CAP,
    PATHS["supportive_floor"]: _SHARE,
    PATHS["local_floor"]: _SHARE,
}


def baseline(market: Market) -> Fields:
    """The market's limits for an adult by day at loop level 0, by policy path."""
    return flatten(meet(market_limits(market), base_limits(market.ages[REACHED_BAND])))


def adjustable_parameters(market: Market) -> Mapping[str, Parameter]:
    """Every path that a registry may list, with its widest bounds."""
    return {**ADJUSTABLE_LIMITS, **{WEIGHTS + name: _WEIGHT for name in market.weights}}


def resolve_parameter(path: str, rules: ParameterRules, market: Market) -> Parameter:
    """A registry entry with the market's value as the loose end of its range."""
    widest, base = adjustable_parameters(market)[path], baseline(market).get(path)
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
    """Why a value is refused, as a sentence; None when it is valid. Never raises, whatever the value is."""
    kind = "a whole number" if parameter.type == "int" else "a number"
    expected = f"expected {kind} from {parameter.low:g} to {parameter.high:g}"
    allowed = (int,) if parameter.type == "int" else (int, float)
    if type(value) not in allowed or not math.isfinite(_number(value)):
        return f"found {_describe(value)}, {expected}"
    number = _number(value)
    if parameter.low <= number <= parameter.high:
        return None
    is_looser = number > parameter.high if parameter.tighten == "lower" else number < parameter.low
    if parameter.tighten and is_looser:
        return f"found {_describe(value)}, {expected}: looser than the market, and an experiment can only tighten"
    return f"found {_describe(value)}, {expected}"


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the floats
        return math.inf


def _describe(value: object) -> str:
    if value is not None and not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"  # nested values can be too deep to print
    if isinstance(value, int) and abs(value) >= 10**30:  # and integers too long
        return "a number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


@dataclass(frozen=True, slots=True)
class DrawnVariant:
    """A person's variant of one experiment, with the payload's overrides, not yet checked."""

    experiment: str
    layer: str
    variant: str
    overrides: object


@dataclass(frozen=True, slots=True)
class MergedOverrides:
    """The valid overrides: limits to meet with the base, weights to replace, and an audit line for each refusal."""

    limits: Limits
    weights: Mapping[str, float]
    problems: tuple[str, ...]


def merge_overrides(parameters: Mapping[str, Parameter], drawn: Sequence[DrawnVariant]) -> MergedOverrides:
    """
    All overrides together. Order does not matter for limits: caps by min, gaps and floors by max.

    Anything that is not a number of the right type within the parameter's range is left out with an audit line.
    """
    problems: list[str] = []
    limits: dict[str, Number] = {}
    weights: dict[str, float] = {}
    for path, value, parameter in _valid_overrides(parameters, drawn, problems):
        if parameter.tighten is None:
            weights[path.removeprefix(WEIGHTS)] = float(value)
        else:
            tighter = min if parameter.tighten == "lower" else max
            limits[path] = tighter(value, limits.get(path, value))
    return MergedOverrides(limits_of(limits), weights, tuple(problems))


def _valid_overrides(
    parameters: Mapping[str, Parameter], drawn: Sequence[DrawnVariant], problems: list[str]
) -> Iterator[tuple[str, Number, Parameter]]:
    for variant in drawn:
        if not isinstance(variant.overrides, Mapping):
            problems.append(
                f"{variant.experiment}: found overrides {_describe(variant.overrides)}, expected a mapping; left out"
            )
            continue
        for path, value in variant.overrides.items():
            parameter = parameters.get(path) if isinstance(path, str) else None
            if parameter is None:
                problem: str | None = "found a path that no experiment may change"
            elif parameter.layer not in (ANY_LAYER, variant.layer):
                problem = f"found in layer {variant.layer}, expected in layer {parameter.layer}"
            else:
                problem = problem_with(parameter, value)
            if parameter is None or problem:
                problems.append(f"{variant.experiment}: {_describe(path)}: {problem}; the market's value stays")
            else:
                yield parameter.path, value, parameter


def limits_of(values: Fields) -> Limits:
    """Policy paths and values as limits; the inverse of `flatten`."""
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
