"""
How sure a mean is, and whether one ranking is better than another: the bootstrap over people.

People are drawn with replacement, their pages stay whole; two rankings are compared person by person, so that what
makes a person easy or hard to please drops out.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from recsys.metrics import Reals, counted, mean

DRAWS: Final = 1_000
LEVEL: Final = 0.95


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over `n` people with its 95 % interval; None = nobody says anything, or an interval makes no sense."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """
    A metric of one ranking less that of another, over the same people: the mean with its interval, and how many
    people are better off (`wins`), equally off and worse off with the first.
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
        """Whether the interval leaves out zero."""
        low, high = self.estimate.low, self.estimate.high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each of q people is drawn, (draws, q); made once, so that all metrics are judged by the same draws."""

    counts: np.ndarray[Any, np.dtype[np.float32]]


def draws(n_people: int, rng: np.random.Generator, n_draws: int = DRAWS) -> Draws:
    """`n_draws` resamples of `n_people` with replacement."""
    chances = np.full(n_people, 1 / n_people)
    return Draws(rng.multinomial(n_people, chances, size=n_draws).astype(np.float32))


def estimate(values: Reals, drawn: Draws) -> Estimate:
    """The mean of (q,) values over who is counted (not NaN), and the percentile interval over the draws."""
    n = counted(values)
    if n == 0:
        return Estimate(mean=None, low=None, high=None, n=0)
    known = np.isfinite(values)
    weights = drawn.counts[:, known]
    sizes = weights.sum(axis=1)
    means = (weights @ values[known])[sizes > 0] / sizes[sizes > 0]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean=mean(values), low=float(low), high=float(high), n=n)


def difference(metric: str, first: str, second: str, values: dict[str, Reals], drawn: Draws) -> Difference:
    """`values[first] - values[second]`, person by person."""
    gaps = values[first] - values[second]
    return Difference(
        metric=metric,
        first=first,
        second=second,
        estimate=estimate(gaps, drawn),
        wins=int((gaps > 0).sum()),
        ties=int((gaps == 0).sum()),
        losses=int((gaps < 0).sum()),
    )


def plain(value: float) -> Estimate:
    """A number of the whole ranking, for which drawing people again would be wrong."""
    return Estimate(mean=value if np.isfinite(value) else None, low=None, high=None, n=0)
