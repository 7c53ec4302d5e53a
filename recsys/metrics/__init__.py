"""
Metrics: of rankings against what people went on to want, and of policies from the log of another policy.

`ranking` has one value for each person, or one for a whole ranking; `counterfactual` weighs logged outcomes by the
propensity with which they were shown.
"""

from recsys.metrics.counterfactual import (
    WeightedEstimate,
    doubly_robust,
    effective_size,
    importance_weights,
    snips,
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
    "EMPTY",
    "WeightedEstimate",
    "auc",
    "coverage",
    "doubly_robust",
    "effective_size",
    "exposure",
    "gini",
    "hhi",
    "importance_weights",
    "jensen_shannon",
    "mean",
    "n_counted",
    "ndcg",
    "recall",
    "share",
    "snips",
    "top_share",
]
