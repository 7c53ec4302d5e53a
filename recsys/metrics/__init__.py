"""
Metrics: of rankings against what people went on to want, and of policies from the log of another policy.

`ranking` has one value for each person, or one for a whole ranking; `counterfactual` weighs logged outcomes by the
propensity with which they were shown.
"""

from recsys.metrics.counterfactual import (
    CLIP,
    HALVING_SHARE,
    WeightedEstimate,
    discounted_target,
    doubly_robust,
    effective_size,
    estimated_propensity,
    importance_weights,
    influence,
    is_probability,
    ranking_target,
    snips,
    tells_exposure,
)
from recsys.metrics.ranking import (
    EMPTY,
    auc,
    coverage,
    exposure,
    gini,
    hhi,
    jensen_shannon,
    mean,
    n_counted,
    ndcg,
    recall,
    share,
    top_share,
)

__all__ = [
    "CLIP",
    "EMPTY",
    "HALVING_SHARE",
    "WeightedEstimate",
    "auc",
    "coverage",
    "discounted_target",
    "doubly_robust",
    "effective_size",
    "estimated_propensity",
    "exposure",
    "gini",
    "hhi",
    "importance_weights",
    "influence",
    "is_probability",
    "jensen_shannon",
    "mean",
    "n_counted",
    "ndcg",
    "ranking_target",
    "recall",
    "share",
    "snips",
    "tells_exposure",
    "top_share",
]
