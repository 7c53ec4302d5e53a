"""How far a log can tell about a policy: effective sample size, overlap, and how its propensities look."""

from typing import Final

import msgspec
import numpy as np

from eval.ope.rounds import Rounds, Target
from recsys.metrics import effective_size, importance_weights
from recsys.types import Reals

MIN_EFFECTIVE_SHARE: Final = 0.01
"""With fewer effective choices, as a share of all, a weighted estimate rests on a handful of them: it is refused."""

MAX_CLIPPED_SHARE: Final = 0.05
"""With a larger share of the weight cut off, a clipped estimate is about another policy: it is refused."""

RARE: Final = 0.001


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a reader should know before a number.

    `mean_weight` is 1 on average where the log could have chosen whatever the policy would: much less means that this
    share of the policy was possible at all. `outside_support` is at least what was impossible: 1 less the mean weight,
    less 1.96 of its standard errors. `matched_share`: choices
    that the policy would make with a probability above 0. `top_weight_share`: of the weight, what the heaviest 1 % of
    choices have. `clipped_share`: of the weight, what `clip` cuts off. `certain_share`: choices of propensity 1.
    """

    n_rounds: int
    n_people: int
    n_pages: int
    n_actions: int
    matched_share: float
    effective_size: float
    effective_share: float
    mean_weight: float
    outside_support: float
    max_weight: float
    top_weight_share: float
    clipped_share: float
    propensity_quantiles: dict[str, float]
    rare_share: float
    certain_share: float


def diagnose(rounds: Rounds, target: Target, clip: float) -> Diagnostics:
    """The diagnostics of the weights target / logged, choice by choice."""
    w = importance_weights(rounds.placed, target.placed)
    total, n = float(w.sum()), len(rounds)
    return Diagnostics(
        n_rounds=n,
        n_people=len(np.unique(rounds.people)),
        n_pages=len(np.unique(rounds.slates)),
        n_actions=len(np.unique(rounds.actions)),
        matched_share=float((target.placed > 0).mean()),
        effective_size=effective_size(w),
        effective_share=effective_size(w) / n,
        mean_weight=total / n,
        outside_support=max(0.0, 1 - total / n - 1.96 * float(w.std()) / n**0.5),
        max_weight=float(w.max()),
        top_weight_share=_top_share(w, total),
        clipped_share=float((w - np.minimum(w, clip)).sum()) / total if total > 0 else 0.0,
        propensity_quantiles={
            name: float(np.quantile(rounds.logged, q))
            for name, q in (("min", 0.0), ("5 %", 0.05), ("median", 0.5), ("95 %", 0.95), ("max", 1.0))
        },
        rare_share=float((rounds.logged < RARE).mean()),
        certain_share=float((rounds.logged == 1).mean()),
    )


def _top_share(w: Reals, total: float) -> float:
    n_top = max(1, len(w) // 100)
    return float(np.sort(w)[-n_top:].sum()) / total if total > 0 else 0.0
