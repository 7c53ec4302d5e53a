"""
Fitting the heads of the ranker: a logistic regression each, trees on top where they help, and a calibration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from recsys.data.impressions import Impressions
from recsys.metrics import auc, is_probability
from recsys.models.ranker import FeatureScale, RankerHead, RankerHeads
from recsys.models.trees import open_booster
from recsys.types import Booster, Floats, Mask, Reals
from recsys.vocabulary import HEADS

WEIGHTS: Final = {
    "cf": 1.0, "content": 0.6, "popular": 0.3, "fresh": 0.2, "local": 0.25, "supportive": 0.3,
    "complete": 4.0, "like": 1.0, "helped": 1.0, "share": 1.0, "not_interested": 2.0,
}  # fmt: skip
"""The weights of the shipped policies; a market with others chooses its mixing weight by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerParams:
    """
    `penalty` of the squared coefficients of each head; `leaves`, `trees`, `learning_rate` of its trees, 0 `trees` =
    none. `space_share`, `tree_share`: shares of the impressions before which the spaces, and the heads, stop learning.
    At most `max_impressions` are learned from, the newest. A head needs `min_actions` actions in each part.
    `max_weight_ratio`: the largest weight of an impression by its propensity, and the inverse of the smallest, against
    the median; 1 = all alike. `weights` are those of the market.
    """

    leaves: int = 8
    trees: int = 50
    learning_rate: float = 0.1
    space_share: float = 0.7
    tree_share: float = 0.9
    max_impressions: int = 200_000
    min_actions: int = 20
    max_weight_ratio: float = 1.25
    penalty: float = 10.0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))


def trainable_heads(did: Mask, is_late: Mask, min_actions: int) -> list[str]:
    """The heads with enough actions, and enough impressions without, in both parts."""
    parts = (did[~is_late], did[is_late])
    return [
        name
        for n, name in enumerate(HEADS)
        if all(min(part[:, n].sum(), len(part) - part[:, n].sum()) >= min_actions for part in parts)
    ]


def propensity_weights(propensity: Floats, max_ratio: float) -> Floats:
    """
    (n,) the weight of each impression: the inverse of its propensity against the median one, between 1 / max_ratio and
    max_ratio, so that what the old feed liked to show does not drown the rest; 1 where the log has no probability.
    """
    known = is_probability(propensity)
    weights = np.ones(len(propensity), np.float32)
    if known.any():
        median = np.median(propensity[known])
        weights[known] = np.clip(median / propensity[known], 1 / max_ratio, max_ratio)
    return weights


def fit_heads(
    names: list[str], table: Floats, shown: Impressions, is_late: Mask, params: RankerParams, seed: int
) -> tuple[FeatureScale, dict[str, RankerHead]]:
    weights = propensity_weights(shown.propensity, params.max_weight_ratio)
    scale = _fit_scale(table[~is_late])
    standardised = scale.standardise(table)
    return scale, {
        name: _fit_head(_HeadTable(standardised, shown.did[:, HEADS.index(name)], is_late, weights), params, seed)
        for name in names
    }


def _fit_scale(table: Floats) -> FeatureScale:
    """The mean and the spread of each feature where it is known; a feature that never varies has the spread 1."""
    is_known = np.isfinite(table)
    n = np.maximum(is_known.sum(axis=0), 1)
    mean = np.where(is_known, table, 0).sum(axis=0, dtype=np.float64) / n
    variance = np.where(is_known, (table - mean) ** 2, 0).sum(axis=0, dtype=np.float64) / n
    deviation = np.where(variance > 1e-12, np.sqrt(variance), 1.0)
    return FeatureScale(mean.astype(np.float32), deviation.astype(np.float32))


class _HeadTable(NamedTuple):
    """What a head is fitted to: standardised features (n, n_features), n actions, whether late, and their weights."""

    features: Floats
    did: Mask
    is_late: Mask
    weights: Floats


def _fit_head(table: _HeadTable, params: RankerParams, seed: int) -> RankerHead:
    """A logistic regression on the early impressions, trees for what it leaves, and a calibration on the late ones."""
    coefficients = _fit_coefficients(table, params.penalty)
    late = table.is_late
    linear = RankerHead(
        coefficients=coefficients, booster=None, slope=1.0, intercept=0.0, prior=float(table.did.mean())
    )
    trees = _fit_trees(table, coefficients, params, seed)
    slope, intercept = fit_platt(linear.raw(table.features[late]), table.did[late])
    calibrated = replace(linear, slope=slope, intercept=intercept)
    return calibrated if trees is None else _better_head(calibrated, replace(linear, booster=trees), table)


def _better_head(linear: RankerHead, with_trees: RankerHead, table: _HeadTable) -> RankerHead:
    """The head with trees, calibrated, if it is better on the late impressions by more than a standard error."""
    late = table.is_late
    features, did = table.features[late], table.did[late]
    slope, intercept = fit_platt(with_trees.raw(features), did)
    calibrated = replace(with_trees, slope=slope, intercept=intercept)
    losses = [_log_losses(head.predict(features), did) for head in (linear, calibrated)]
    gain = (losses[0] - losses[1]) * table.weights[late]
    return calibrated if gain.mean() > gain.std() / len(gain) ** 0.5 else linear


def _log_losses(probabilities: Floats, did: Mask) -> Reals:
    chances = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(-np.log(np.where(did, chances, 1 - chances)))


def _fit_coefficients(table: _HeadTable, penalty: float) -> Floats:
    """
    (n_features,) of a logistic regression on the early impressions.

    The intercept is left to the calibration. The position only explains what was seen: in requests it is the same for
    all, so its coefficient does not change an order.
    """
    from sklearn.linear_model import LogisticRegression

    early = ~table.is_late
    model = LogisticRegression(C=1 / penalty, max_iter=300)
    model.fit(table.features[early], table.did[early], sample_weight=table.weights[early])
    return np.asarray(model.coef_[0], np.float32)


def _fit_trees(table: _HeadTable, coefficients: Floats, params: RankerParams, seed: int) -> Booster | None:
    """Trees on what the regression leaves of the early impressions, stopped early by the late ones."""
    if params.trees == 0:
        return None
    import lightgbm

    start = table.features @ coefficients
    early, late = (
        lightgbm.Dataset(
            table.features[part], table.did[part], weight=table.weights[part], init_score=start[part],
            free_raw_data=False,
        )
        for part in (~table.is_late, table.is_late)
    )  # fmt: skip
    settings = {
        "objective": "binary", "num_leaves": params.leaves, "learning_rate": params.learning_rate,
        "min_data_in_leaf": 40, "lambda_l2": 5.0, "feature_fraction": 0.8, "seed": seed,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    stop = lightgbm.early_stopping(10, verbose=False)
    trees = lightgbm.train(settings, early, params.trees, valid_sets=[late], callbacks=[stop])
    return open_booster(trees.model_to_string(num_iteration=trees.best_iteration))


def fit_platt(raw: Floats | Reals, did: Mask) -> tuple[float, float]:
    """The slope (above 0) and intercept with which sigmoid(slope * raw + intercept) fits best (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0).fit(raw[:, None], did)
    return max(float(fitted.coef_[0, 0]), 0.05), float(fitted.intercept_[0])


def head_aucs(heads: RankerHeads, table: Floats, shown: Impressions, is_late: Mask) -> dict[str, float]:
    """By head, on the late impressions: the probability that an action scores above an impression without."""
    probabilities = heads.predict(table[is_late])
    return {
        f"ranker_auc_{name}": round(auc(values, shown.did[is_late, HEADS.index(name)]), 4)
        for name, values in probabilities.items()
    }
