"""
Confidence intervals and paired differences by the bootstrap over people.

People are drawn with replacement and keep their whole pages. Two rankings are compared person by person, so that what
makes a person easy or hard to recommend for cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from scipy.special import stdtr

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
    people the first ranking is better (`wins`), equal or worse. `p` is that of `paired_p`, `p_holm` the same corrected
    for all differences that are shown together; None where there is nothing to compare.
    """

    metric: str
    first: str
    second: str
    estimate: Estimate
    wins: int
    ties: int
    losses: int
    p: float | None = None
    p_holm: float | None = None

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
    """
    The mean of (q,) values over the people who count (not NaN), and the percentile interval over the resamples; of one
    person, who is the same in every resample, there is none.
    """
    n = n_counted(values)
    if n < 2:
        return Estimate(mean=mean(values) if n else None, low=None, high=None, n=n)
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
        p=paired_p(gaps),
    )


def paired_p(gaps: Reals) -> float | None:
    """
    The p-value of Student's paired t-test, two-sided: how likely differences (q,) so far from 0 on average are when
    there is none. None below two people who count; 1 when all differences are 0.
    """
    counted = gaps[np.isfinite(gaps)]
    if len(counted) < 2:
        return None
    centre, spread = float(counted.mean()), float(counted.std(ddof=1))
    if spread == 0:
        return 1.0 if centre == 0 else 0.0
    return float(2 * stdtr(len(counted) - 1, -abs(centre) / spread * np.sqrt(len(counted))))


def holm(p_values: Sequence[float]) -> list[float]:
    """
    P-values corrected for all comparisons of a table, in their order: with a limit of 0.05 the chance of even one false
    "different" is at most 0.05.

    Formula: the i-th smallest of m times m + 1 - i, at most 1, and never below a smaller one's.
    Source:  Holm 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    ordered = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[ordered] = np.maximum.accumulate(np.minimum(np.asarray(p_values)[ordered] * factors, 1.0))
    return corrected.tolist()


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The differences of one table, with `p_holm`."""
    known = [d.p for d in differences if d.p is not None]
    values = iter(holm(known))
    return [d if d.p is None else msgspec.structs.replace(d, p_holm=next(values)) for d in differences]


def without_interval(value: float) -> Estimate:
    """A number of the whole ranking. Resampling people would bias it, so it has no interval."""
    return Estimate(mean=value if np.isfinite(value) else None, low=None, high=None, n=0)
