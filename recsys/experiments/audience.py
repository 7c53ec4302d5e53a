"""
Whom an experiment can reach. An audience that can hold nobody is an error: such an experiment would run for weeks and
find nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from recsys.experiments.schema import Experiment, Registry
from recsys.source import SourceFile, to_plain
from recsys.types import Fields

MIN_SHARE: Final = 0.0001
"""The smallest share that holds anybody: the SDK numbers people from 0 to 0.9999 in 10,000 steps."""

_TOLERANCE: Final = 1e-9  # of sums of shares, which are floats


def conditions_of(experiment: Experiment, registry: Registry) -> Fields:
    """What the audience must meet, by attribute: the experiment's own targets and the registry's protection."""
    conditions: Fields = to_plain({**experiment.targeting, **registry.protected})
    return conditions


def admits(condition: object, value: object) -> bool:
    """Whether a checked condition holds for a value. Unknown values (None) meet no condition."""
    if value is None:
        return False
    if not isinstance(condition, dict):
        return value == condition
    ((operator, wanted),) = condition.items()
    if operator == "$in":
        return value in wanted
    return value not in wanted if operator == "$nin" else value != wanted


def audience_problems(source: SourceFile, experiment: Experiment, registry: Registry) -> Iterator[str]:
    """Why nobody can be in an experiment whose file is otherwise right."""
    yield from _target_problems(source, experiment, registry)
    low, high = experiment.slice
    if high - low < MIN_SHARE - _TOLERANCE:
        yield source.problem("slice", f"found a width of {high - low:g}, which holds nobody; {_SMALLEST}")
    coverage = experiment.ramp[-1].coverage
    if coverage < MIN_SHARE - _TOLERANCE:
        yield source.problem(
            f"ramp[{len(experiment.ramp) - 1}].coverage", f"found {coverage:g}, which holds nobody; {_SMALLEST}"
        )
        return
    for n, variant in enumerate(experiment.variants):
        if variant.weight * coverage < MIN_SHARE - _TOLERANCE:
            sentence = f"found {variant.weight:g} of a coverage of {coverage:g}, which holds nobody; {_SMALLEST}"
            yield source.problem(f"variants[{n}].weight", sentence)
    if experiment.holdout and registry.holdouts[experiment.holdout].share >= 1 - MIN_SHARE - _TOLERANCE:
        sentence = f"found {experiment.holdout}, which keeps everybody out, expected a holdout with a smaller share"
        yield source.problem("holdout", sentence)


_SMALLEST: Final = f"the smallest share is {MIN_SHARE:g}, expected that or more"


def _target_problems(source: SourceFile, experiment: Experiment, registry: Registry) -> Iterator[str]:
    conditions = conditions_of(experiment, registry)
    left = {
        name: [value for value in map(to_plain, registry.attributes[name].values) if admits(condition, value)]
        for name, condition in conditions.items()
    }
    empty = [name for name, values in left.items() if not values]
    for name in empty:
        yield source.problem(f"targeting.{name}", f"found a condition that leaves no value of {name}, expected one")
    if not empty and not _has_a_home(left):
        sentence = (
            f"found {_listed(left['region'])} and the country {_listed(left['country'])}, expected a region in one of "
            "those countries: nobody lives in both"
        )
        yield source.problem("targeting.region", sentence)


def _has_a_home(left: Mapping[str, Sequence[object]]) -> bool:
    """Whether a region that is left lies in a country that is left (ISO 3166-2 begins with the country)."""
    if "region" not in left or "country" not in left:
        return True
    return any(str(region).partition("-")[0] in left["country"] for region in left["region"])


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
