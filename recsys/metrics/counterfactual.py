"""
What a policy would have gained, estimated from the log of another policy that recorded its propensities.

An outcome counts by how much likelier the policy that is judged would have shown it: `target / logged`. A log shows
what the old policy liked far too often, and these weights take that out. Rows whose propensity is missing, 0 or below,
or above 1 do not count: nobody knows how likely they were.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.types import Floats, Ids, Longs, Mask, Reals

NO_CLIP: Final = float("inf")

CLIP: Final = 5.0
"""The most that an impression counts for a ranking, in medians of all."""

HALVING_SHARE: Final = 1 / 30
"""An impression counts half as much when it stands lower by this share of what could be shown."""


@dataclass(frozen=True, slots=True)
class WeightedEstimate:
    """An estimate, and the number of equally weighted rows that would tell as much (Kish 1965); NaN and 0 for none."""

    value: float
    effective_size: float


def is_probability(logged: Floats | Reals) -> Mask:
    """(n,) whether a logged propensity (n,) can be one: known, above 0 and at most 1."""
    return np.asarray(np.isfinite(logged) & (logged > 0) & (logged <= 1))


def tells_exposure(logged: Floats | Reals) -> bool:
    """
    Whether logged propensities (n,) say how an old feed chose: at least half are probabilities below 1. A feed that
    showed its items for sure, all but the explored ones, says nothing of how likely the others were.
    """
    return len(logged) > 0 and bool(np.mean(is_probability(logged) & (logged < 1)) >= 0.5)


def importance_weights(logged: Floats | Reals, target: Floats | Reals, clip: float = NO_CLIP) -> Reals:
    """
    How much each logged outcome counts for the policy that is judged.

    Shapes:  logged (n,) the probability with which the outcome's item was shown; target (n,) >= 0 the same under the
             policy that is judged, up to one factor for all; returns (n,) >= 0.
    Formula: target / logged, at most `clip` times the median of the weights above 0.
    Empty:   0 for a row that does not count, see the module.
    Raises:  ValueError for a negative target, or a clip of 0 or less.
    """
    if np.any(target < 0) or not clip > 0:
        raise ValueError(f"found a target of {np.min(target, initial=0)} and clip {clip}, expected >= 0 and > 0")
    weights = np.divide(target, logged, out=np.zeros(len(logged)), where=is_probability(logged))
    above = weights[weights > 0]
    return np.asarray(np.minimum(weights, clip * np.median(above)) if len(above) else weights, np.float64)


def effective_size(weights: Reals) -> float:
    """(sum of weights)^2 / sum of squared weights: the number of equal weights that would tell as much; 0 for none."""
    squares = float((weights**2).sum())
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0


def snips(
    values: Floats | Reals, logged: Floats | Reals, target: Floats | Reals, clip: float = NO_CLIP
) -> WeightedEstimate:
    """
    The self-normalised inverse-propensity estimate of a policy's mean outcome.

    Shapes:  values (n,) outcomes; logged and target (n,) as in `importance_weights`.
    Formula: sum of weight * value / sum of weights.
    Empty:   NaN where no row has a weight.
    Source:  Swaminathan and Joachims 2015.
    """
    weights = importance_weights(logged, target, clip)
    total = float(weights.sum())
    value = float(weights @ np.asarray(values, np.float64)) / total if total > 0 else float("nan")
    return WeightedEstimate(value, effective_size(weights))


def discounted_target(ranks: Reals, halving_ranks: float) -> Reals:
    """
    (n,) how much the policy that is judged shows items at these ranks (from 0): half as much every `halving_ranks`.

    A page of 20 matches next to nothing of a log; this looks at the head of a whole ranking, the first places most.
    """
    return np.asarray(np.exp2(-np.asarray(ranks, np.float64) / halving_ranks))


def ranking_target(drawn: Floats, shown: Floats, n_open: int) -> Reals:
    """
    (m,) how much a ranking would show of what was shown, half as much every `HALVING_SHARE` of the `n_open` items that
    could be shown.

    Shapes: `drawn` scores of items drawn uniformly from those that could be shown; `shown` (m,) scores of impressions.
    """
    ascending = np.sort(drawn)
    above = len(ascending) - np.searchsorted(ascending, shown, side="right")
    ranks = above / max(len(ascending), 1) * n_open
    return discounted_target(ranks, max(HALVING_SHARE * n_open, 1.0))


def influence(values: Floats | Reals, weights: Reals, users: Ids | Longs, n_users: int) -> Reals:
    """
    (n_users,) how much each user moves a self-normalised estimate: the spread of the mean of these numbers is its
    standard error, and that of differences compares two estimates in pairs.

    Shapes:  values, weights and users (n,), users below n_users.
    Empty:   zeros where no row has a weight.
    Source:  the delta method for a ratio of means.
    """
    total = float(weights.sum())
    if total <= 0:
        return np.zeros(n_users)
    centred = weights * (np.asarray(values, np.float64) - float(weights @ values) / total)
    return np.asarray(np.bincount(users, centred, n_users) * (n_users / total))


def estimated_propensity(counts: Longs) -> Reals:
    """
    (n_items,) the probability of an impression of each item where a log has no propensities: its share of all
    impressions (n_items,), with one more for each item, so that none is 0.
    """
    return np.asarray((counts + 1.0) / (counts.sum() + len(counts)))


def doubly_robust(
    direct: float,
    values: Floats | Reals,
    predicted: Floats | Reals,
    logged: Floats | Reals,
    target: Floats | Reals,
    clip: float = NO_CLIP,
) -> WeightedEstimate:
    """
    What an outcome model expects of a policy, corrected by how wrong the model was where the log can tell.

    Shapes:  direct: the model's mean prediction over what the policy would show; values and predicted (n,) logged
             outcomes and their predictions; logged and target (n,) as in `importance_weights`.
    Formula: direct + sum of weight * (value - predicted) / sum of weights.
    Empty:   `direct` where no row has a weight.
    Source:  Dudík, Langford and Li 2011; self-normalised as in Thomas and Brunskill 2016.
    """
    correction = snips(np.asarray(values, np.float64) - predicted, logged, target, clip)
    is_known = correction.effective_size > 0
    return WeightedEstimate(direct + (correction.value if is_known else 0.0), correction.effective_size)
