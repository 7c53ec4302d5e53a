"""
Confidence intervals and paired differences by the bootstrap over people.

People are drawn with replacement and keep their whole pages. Two rankings are compared person by person, so that what
makes a person easy or hard to recommend for cancels out.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from recsys.metrics import mean, n_counted
from recsys.types import Floats, Reals

N_RESAMPLES: Final = 1_000
CONFIDENCE_LEVEL: Final = 0.95


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """
    A mean over `n` people with its 95 % interval. `mean` is None when nobody counts; `low` and `high` are None when an
    interval makes no sense.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """
    A metric of one ranking less that of another, over the same people: the mean with its interval, and for how many
    people the first ranking is better (`wins`), equal or worse.
    """

    metric: str
    first: str
    second: str
    estimate: Estimate
    wins: int
    ties: int
    losses: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        low, high = self.estimate.low, self.estimate.high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True, slots=True)
class Resamples:
    """`counts` (n_resamples, q): how often each of q people is drawn. All metrics share one set of resamples."""

    counts: Floats


def resample(n_people: int, rng: np.random.Generator, n_resamples: int = N_RESAMPLES) -> Resamples:
    """`n_resamples` draws of `n_people` with replacement."""
    chances = np.full(n_people, 1 / n_people)
    return Resamples(rng.multinomial(n_people, chances, size=n_resamples).astype(np.float32))


def estimate(values: Reals, resamples: Resamples) -> Estimate:
    """The mean of (q,) values over the people who count (not NaN), and the percentile interval over the resamples."""
    n = n_counted(values)
    if n == 0:
        return Estimate(mean=None, low=None, high=None, n=0)
    is_counted = np.isfinite(values)
    weights = resamples.counts[:, is_counted]
    sizes = weights.sum(axis=1)
    means = (weights @ values[is_counted])[sizes > 0] / sizes[sizes > 0]
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=mean(values), low=float(low), high=float(high), n=n)


def difference(metric: str, first: str, second: str, values: dict[str, Reals], resamples: Resamples) -> Difference:
    """`values[first] - values[second]`, person by person."""
    gaps = values[first] - values[second]
    return Difference(
        metric=metric,
        first=first,
        second=second,
        estimate=estimate(gaps, resamples),
        wins=int((gaps > 0).sum()),
        ties=int((gaps == 0).sum()),
        losses=int((gaps < 0).sum()),
    )


def without_interval(value: float) -> Estimate:
    """A number of the whole ranking. Resampling people would bias it, so it has no interval."""
    return Estimate(mean=value if np.isfinite(value) else None, low=None, high=None, n=0)
