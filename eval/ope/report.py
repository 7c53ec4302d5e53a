"""The values of a policy with their intervals, and what the log cannot tell."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import numpy as np

from eval.offline.intervals import CONFIDENCE_LEVEL, N_RESAMPLES
from eval.ope.diagnostics import MAX_CLIPPED_SHARE, MIN_EFFECTIVE_SHARE, Diagnostics, diagnose
from eval.ope.estimators import Terms, choice_estimators, combine, page_estimators, person_sums, point
from eval.ope.rounds import Rounds, Target, check_support
from recsys.metrics import effective_size
from recsys.types import Integers, Reals

CLIP: Final = 10.0
"""The largest weight of a choice in the clipped estimator, and from which `switch` asks the outcome model alone."""

MAX_OUTSIDE_SHARE: Final = 0.05
"""With a larger share of the policy outside of what the log could show, a report cautions its reader."""

_CELLS: Final = 20_000_000  # of a matrix of draws at once


Limits = tuple[float | None, float | None]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """
    One estimator: the mean reward of a `unit` with its 95 % interval. `refused` says why there is no value.
    `effective_size` counts equally weighted rows that would tell as much; None where no weights are used. An outcome
    model alone has no interval: how wrong the model is, resamples cannot tell.
    """

    estimator: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    effective_size: float | None = None
    refused: str | None = None


class OpeReport(msgspec.Struct, frozen=True, kw_only=True):
    """All results of `sanad ope`. `logged`: the mean reward under the policy that made the log. `estimand`: of what."""

    log: str
    policy: str
    reward: str
    estimand: str
    clip: float
    seed: int
    logged: Value
    values: list[Value]
    diagnostics: Diagnostics
    notices: list[str]

    @property
    def caution(self) -> str | None:
        """What a reader must know where part of the policy was impossible in the log."""
        outside = self.diagnostics.outside_support
        if outside <= MAX_OUTSIDE_SHARE:
            return None
        return (
            f"At least {outside:.0%} of what the policy would choose was impossible in the log: ips and clipped count "
            "it as 0, snips is about the rest alone, and the outcome model fills it in elsewhere."
        )

    @property
    def is_refused(self) -> bool:
        """Whether every estimator that rests on weights is refused: the log cannot tell."""
        return all(value.refused for value in self.values if value.estimator != "direct")


def estimate_values(
    rounds: Rounds,
    target: Target,
    *,
    clip: float = CLIP,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    max_clipped: float = MAX_CLIPPED_SHARE,
) -> list[Value]:
    """Every estimator that the log and the policy allow. Raises DataError without any support."""
    check_support(rounds, target)
    found = choice_estimators(rounds, target, clip)
    if rounds.has_slates:
        found |= page_estimators(rounds, target)
    clipped = diagnose(rounds, target, clip).clipped_share
    refused = {name: refusal(name, terms, clipped, max_clipped) for name, terms in found.items()}
    usable = {name: terms for name, terms in found.items() if refused[name] is None}
    limits = intervals(usable, rounds, np.random.default_rng([seed, 5]), n_resamples)
    return [_value(name, terms, rounds, refused[name], limits.get(name)) for name, terms in found.items()]


def logged_value(rounds: Rounds, seed: int, n_resamples: int = N_RESAMPLES) -> Value:
    """The mean reward of a choice under the policy that made the log."""
    alone, ones = np.zeros(len(rounds), np.int64), np.ones(len(rounds))
    terms = Terms(numerator=rounds.rewards, denominator=ones, group=alone, weights=None)
    limits = intervals({"logged": terms}, rounds, np.random.default_rng([seed, 5]), n_resamples)
    return _value("logged", terms, rounds, None, limits["logged"])


def refusal(name: str, terms: Terms, clipped_share: float, max_clipped: float) -> str | None:
    """Why an estimator must not be read; None when it may."""
    if terms.weights is None:
        return None
    share = effective_size(terms.weights) / len(terms.weights)
    if share < MIN_EFFECTIVE_SHARE:
        return (
            f"its weights are worth {effective_size(terms.weights):.1f} of {len(terms.weights):,} rows ({share:.2%}), "
            f"expected at least {MIN_EFFECTIVE_SHARE:.0%}"
        )
    weight = np.bincount(terms.group, terms.denominator)
    if not weight[np.unique(terms.group)].all():
        return "at some place of a page the policy would choose nothing that was logged there"
    if name in ("clipped", "switch") and clipped_share > max_clipped:
        return f"the clip cuts off {clipped_share:.0%} of the weight, expected at most {max_clipped:.0%}"
    return None


def _value(name: str, terms: Terms, rounds: Rounds, refused: str | None, limits: Limits | None) -> Value:
    unit = "page" if terms.per_page else "choice"
    size = None if terms.weights is None else effective_size(terms.weights)
    if refused is not None or limits is None:
        return Value(estimator=name, unit=unit, value=None, effective_size=size, refused=refused)
    value = point(terms, len(np.unique(rounds.slates)) if terms.per_page else len(rounds))
    if name == "direct":
        return Value(estimator=name, unit=unit, value=value)
    return Value(estimator=name, unit=unit, value=value, low=limits[0], high=limits[1], effective_size=size)


def intervals(
    found: Mapping[str, Terms], rounds: Rounds, rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> dict[str, Limits]:
    """
    The percentile interval of each estimator by the bootstrap over people, all on the same draws; None and None for a
    single person, and where a draw has no value.
    """
    _, people = np.unique(rounds.people, return_inverse=True)
    n_people = int(people.max()) + 1
    if n_people < 2:
        return dict.fromkeys(found, (None, None))
    sums = {name: person_sums(terms, people, n_people) for name, terms in found.items()}
    units = {name: _units(terms, rounds, people, n_people) for name, terms in found.items()}
    values: dict[str, list[Reals]] = {name: [] for name in found}
    for counts in _draws(n_people, rng, n_resamples):
        for name, drawn in values.items():
            drawn.append(combine(sums[name], counts, counts @ units[name]))
    return {name: _limits(np.concatenate(drawn)) for name, drawn in values.items()}


def _limits(values: Reals) -> Limits:
    if not np.isfinite(values).all():  # without the draws that have no value the interval would be too narrow
        return None, None
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _units(terms: Terms, rounds: Rounds, people: Integers, n_people: int) -> Reals:
    """(n_people,) choices, or pages, of each person."""
    is_unit = np.diff(rounds.slates, prepend=rounds.slates[:1] - 1) != 0 if terms.per_page else np.ones(len(rounds))
    return np.asarray(np.bincount(people, is_unit, n_people), np.float64)


def _draws(n_people: int, rng: np.random.Generator, n_resamples: int) -> Iterator[Reals]:
    """Draws of `n_people` with replacement, as counts (b, n_people), a few at a time."""
    chances, step = np.full(n_people, 1 / n_people), max(1, _CELLS // n_people)
    for start in range(0, n_resamples, step):
        yield rng.multinomial(n_people, chances, size=min(step, n_resamples - start)).astype(np.float64)
