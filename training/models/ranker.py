"""
Fitting the learned ranker, without looking ahead.

    events   ... the spaces learn ... | the trees learn | calibration and mixing |  held out for `sanad eval`
                                    first             then                     until

The spaces, popularity and rates that the trees read are fitted once more on what came before `first`, because a space
that has seen an interaction knows the answer. Calibration and mixing use models of what came before `then`, as the
artifact's own, fitted to everything before `until`, will meet later days. Beside weaker spaces the trees would get too
large a weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import Millis
from recsys.data.impressions import (
    COMPLETION_FRACTION,
    Impressions,
    Log,
    PastInteractions,
    PeoplePlaces,
    feature_matrix,
    past_interactions,
    people_places,
    read_impressions,
    read_log,
)
from recsys.data.tables import Dataset
from recsys.metrics import auc
from recsys.models.blend import Blend
from recsys.models.features import RATE_NAMES, FeatureInputs, ItemFacts, build_item_facts, feature_names
from recsys.models.popularity import Popularity
from recsys.models.ranker import RankerHead, RankerHeads
from recsys.models.standardised_space import standardise_space
from recsys.models.trees import open_booster
from recsys.progress import Progress, quiet
from recsys.types import Floats, Mask, Reals, Space
from recsys.vocabulary import HEADS
from training.models.mixing_weight import LateImpressions, Mixing, choose_mixing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EarlierModels:
    """Models of the events before an instant; `blend` fits the blend when it is called."""

    spaces: Mapping[str, Space]
    popularity: Popularity
    blend: Callable[[], Blend]


FitBefore = Callable[[Millis], EarlierModels]
"""Fits the models of what happened before an instant."""

WEIGHTS: Final = {
    "cf": 1.0, "content": 0.6, "popular": 0.3, "fresh": 0.2, "local": 0.5, "supportive": 0.3,
    "complete": 1.0, "like": 1.0, "helped": 2.0, "share": 1.0, "not_interested": 2.0,
}  # fmt: skip
"""The weights of the shipped policies; a market with others chooses its mixing weight by them."""

_RATE_SHRINKAGE: Final = 20.0
"""Impressions by which an item's rate is shrunk to its creator's, and a creator's to that of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerParams:
    """
    `leaves`, `trees`, `learning_rate` of each head. `space_share`, `tree_share`: shares of the impressions before which
    the spaces, and the trees, stop learning. At most `max_impressions` are learned from, the newest. A head needs
    `min_actions` actions in each part. `max_weight_ratio`: the largest weight of an impression by its propensity, and
    the inverse of the smallest, against the median; 1 = all alike. `weights` are those of the market.
    """

    leaves: int = 8
    trees: int = 50
    learning_rate: float = 0.1
    space_share: float = 0.7
    tree_share: float = 0.9
    max_impressions: int = 200_000
    min_actions: int = 20
    max_weight_ratio: float = 1.25
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerResult:
    """
    The heads, or None; metrics; the outcome in words. Heads with a mixing weight of 0 are of no use to an artifact.
    `content_share`: how much of the weight of content stays.
    """

    heads: RankerHeads | None
    metrics: Mapping[str, float]
    summary: str
    content_share: float = 1.0


def fit(
    data: Dataset,
    items: pl.DataFrame,
    creators: pl.DataFrame,
    fit_before: FitBefore,
    until: Millis | None,
    params: RankerParams,
    rng: np.random.Generator,
    *,
    market: str,
    on_progress: Progress = quiet,
) -> RankerResult:
    """
    The heads of an artifact whose items are `items`. Equal inputs give equal heads.

    `until` is the cutoff, None when nothing is held out; `market` stands in for an unknown country.
    """
    log = read_log(data, items)
    instants = _find_instants(log, until, params)
    if instants is None:
        return RankerResult(heads=None, metrics={}, summary="none: no impression was logged")
    first, then = instants
    shown = read_impressions(log, first, until)
    is_late = shown.at >= then
    names = _trainable_heads(shown.did, is_late, params.min_actions)
    if not names:
        return RankerResult(heads=None, metrics={}, summary="none: too few actions after impressions were logged")
    facts = build_item_facts(items, creators)
    models = {at: fit_before(at) for at in (first, then)}
    inputs = {at: _feature_inputs(model, facts, rates(log, items, at)) for at, model in models.items()}
    history, where = past_interactions(log, until), people_places(log, market)
    on_progress("ranker", 0, None)
    table = _feature_table(shown, is_late, history, where, inputs[first], inputs[then])
    heads = _fit_heads(names, table, shown, is_late, params, int(rng.integers(2**31)))
    unmixed = RankerHeads(
        features=feature_names(inputs[then].spaces), heads=heads, rates=inputs[then].rates,
        mixing_weight=0.0, base_scale=1.0, head_scale=0.0,
    )  # fmt: skip
    late = LateImpressions(
        log=log, inputs=inputs[then], blend=models[then].blend(), past=history, where=where, shown=shown,
        is_learnable=log.items["is_learnable"].to_numpy(), then=then,
    )  # fmt: skip
    mixing = choose_mixing(unmixed, late, params.weights, rng)
    aucs = _head_aucs(unmixed, table, shown, is_late)
    return _result(replace(unmixed, rates=rates(log, items, until)), mixing, aucs)


def _result(heads: RankerHeads, mixing: Mixing, aucs: Mapping[str, float]) -> RankerResult:
    metrics = {
        "content_share": mixing.content_share,
        "ranker_mixing_weight": mixing.mixing_weight,
        **aucs,
        **mixing.metrics,
    }
    mixed = replace(
        heads, mixing_weight=mixing.mixing_weight, base_scale=mixing.base_scale, head_scale=mixing.head_scale
    )
    return RankerResult(heads=mixed, metrics=metrics, summary=_summary(metrics), content_share=mixing.content_share)


def _feature_inputs(models: EarlierModels, facts: ItemFacts, item_rates: Floats) -> FeatureInputs:
    spaces = {name: standardise_space(space) for name, space in models.spaces.items()}
    return FeatureInputs(spaces=spaces, popularity=models.popularity, facts=facts, rates=item_rates)


def _feature_table(
    shown: Impressions,
    is_late: Mask,
    history: PastInteractions,
    where: PeoplePlaces,
    early_inputs: FeatureInputs,
    late_inputs: FeatureInputs,
) -> Floats:
    """(n, n_features) of all impressions, each with models of what came before its part."""
    early = feature_matrix(shown.take(~is_late), history, where, early_inputs)
    late = feature_matrix(shown.take(is_late), history, where, late_inputs)
    table = np.empty((len(shown), early.shape[1]), np.float32)
    table[~is_late], table[is_late] = early, late
    return table


def _find_instants(log: Log, until: Millis | None, params: RankerParams) -> tuple[Millis, Millis] | None:
    """Where the spaces and then the trees stop learning, by shares of the impressions; None without impressions."""
    before = True if until is None else pl.col("at") < until
    at = log.events.filter("is_learnable", pl.col("kind").is_in(["impression", "view"]), before).select("at").sort("at")
    times = at.collect(engine="streaming")["at"]
    if not len(times):
        return None
    begin = max(round(params.space_share * len(times)), len(times) - params.max_impressions)
    tree_part = (params.tree_share - params.space_share) / (1 - params.space_share)
    end = round(begin + tree_part * (len(times) - begin))
    return int(times[min(begin, len(times) - 1)]), int(times[min(end, len(times) - 1)])


def _summary(metrics: Mapping[str, float]) -> str:
    without, with_ = (
        f"{metrics[f'ranker_impression_auc_{k}']:.3f} and {metrics[f'ranker_ndcg_{k}']:.4f}"
        for k in ("without", "with")
    )
    return (
        f"mixing weight {metrics['ranker_mixing_weight']:.0%}; impression AUC and NDCG@20 are {without} without it, "
        f"{with_} with it ({metrics['ranker_people']:.0f} people, on the last days before the cutoff)"
    )


def _trainable_heads(did: Mask, is_late: Mask, min_actions: int) -> list[str]:
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
    max_ratio, so that what the old feed liked to show does not drown the rest; 1 where no propensity was logged.
    """
    known = np.isfinite(propensity) & (propensity > 0)
    weights = np.ones(len(propensity), np.float32)
    if known.any():
        median = np.median(propensity[known])
        weights[known] = np.clip(median / propensity[known], 1 / max_ratio, max_ratio)
    return weights


def rates(log: Log, items: pl.DataFrame, before: Millis | None) -> Floats:
    """
    (n_items, 6) how often an impression of each item ended in each of `RATE_NAMES`, then of its creator.

    Items of R2 and above have no counts. A creator's rate is shrunk to that of all, an item's to its creator's.
    """
    kind = pl.col("kind")
    tests = {
        "shown": kind == "impression",
        "viewed": kind == "view",
        "complete": kind == "complete",
        "watched": (kind == "view") & (pl.col("watch_fraction") >= COMPLETION_FRACTION).fill_null(False),
        "like": kind == "like",
        "helped": kind == "helped",
    }
    events = log.events.filter("is_learnable", True if before is None else pl.col("at") < before)
    counts = events.group_by("row").agg(test.sum().alias(name) for name, test in tests.items()).sort("row")
    joined = log.items.lazy().select("row").join(counts, on="row", how="left", maintain_order="left").fill_null(0)
    table = joined.select(
        shown=pl.max_horizontal("shown", "viewed"), complete=pl.max_horizontal("complete", "watched"),
        like="like", helped="helped", creator=pl.lit(items["creator_id"].rank("dense") - 1),
    ).collect(engine="streaming")  # fmt: skip
    shown, creator = table["shown"].to_numpy().astype(np.float64), table["creator"].to_numpy()
    shown_by_creator = np.bincount(creator, shown)
    columns: list[Reals] = []
    for name in RATE_NAMES:
        done = np.minimum(table[name].to_numpy(), shown)
        mean = done.sum() / max(shown.sum(), 1)
        done_by_creator = np.bincount(creator, done)
        of_creator = ((done_by_creator + _RATE_SHRINKAGE * mean) / (shown_by_creator + _RATE_SHRINKAGE))[creator]
        columns += [(done + _RATE_SHRINKAGE * of_creator) / (shown + _RATE_SHRINKAGE), of_creator]
    return np.array([*columns[::2], *columns[1::2]], np.float32).T.copy()


def _fit_heads(
    names: list[str], table: Floats, shown: Impressions, is_late: Mask, params: RankerParams, seed: int
) -> dict[str, RankerHead]:
    weights = propensity_weights(shown.propensity, params.max_weight_ratio)
    return {name: _fit_head(table, shown.did[:, HEADS.index(name)], is_late, weights, params, seed) for name in names}


def _fit_head(table: Floats, did: Mask, is_late: Mask, weights: Floats, params: RankerParams, seed: int) -> RankerHead:
    """Trees on the early impressions, stopped early by the late ones, and a calibration on the late ones."""
    import lightgbm

    early, late = (
        lightgbm.Dataset(table[m], did[m], weight=weights[m], free_raw_data=False) for m in (~is_late, is_late)
    )
    settings = {
        "objective": "binary", "num_leaves": params.leaves, "learning_rate": params.learning_rate,
        "min_data_in_leaf": 40, "lambda_l2": 5.0, "feature_fraction": 0.8, "seed": seed,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    stop = lightgbm.early_stopping(10, verbose=False)
    trees = lightgbm.train(settings, early, params.trees, valid_sets=[late], callbacks=[stop])
    booster = open_booster(trees.model_to_string(num_iteration=trees.best_iteration))
    raw = booster.predict(table[is_late], raw_score=True)
    slope, intercept = fit_platt(raw, did[is_late])
    return RankerHead(booster=booster, slope=slope, intercept=intercept, prior=float(did.mean()))


def fit_platt(raw: Reals, did: Mask) -> tuple[float, float]:
    """The slope (above 0) and intercept with which sigmoid(slope * raw + intercept) fits best (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0).fit(raw[:, None], did)
    return max(float(fitted.coef_[0, 0]), 0.05), float(fitted.intercept_[0])


def _head_aucs(heads: RankerHeads, table: Floats, shown: Impressions, is_late: Mask) -> dict[str, float]:
    """By head, on the late impressions: the probability that an action scores above an impression without."""
    probabilities = heads.predict(table[is_late])
    return {
        f"ranker_auc_{name}": round(auc(values, shown.did[is_late, HEADS.index(name)]), 4)
        for name, values in probabilities.items()
    }
