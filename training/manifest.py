"""What a training run writes into the manifest of its artifact."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from recsys.clock import Millis, to_text
from recsys.models.manifest import FORMAT, Manifest, Recipe, TriedSettings
from recsys.types import JsonObject
from training.models.blend import FittedBlend
from training.models.budget import ALL_MODELS, Budget
from training.models.ranker import RankerResult
from training.models.search import CHOSEN, TRIED, Tried
from training.models.yardstick import NDCG, WATCH
from training.params import TrainParams


def describe_run(
    params: TrainParams,
    data_fingerprint: str,
    at: Millis,
    cutoff: Millis | None,
    counts: Mapping[str, int],
    *,
    encoder: str | None,
    ranked: RankerResult,
    fitted: FittedBlend,
) -> Manifest:
    """What is known before saving; `save_artifact` fills in spaces, settings and checksums."""
    return Manifest(
        format=FORMAT,
        created_at=to_text(at),
        data_fingerprint=data_fingerprint,
        config=_config(params),
        cutoff=None if cutoff is None else to_text(cutoff),
        risk_source="assumed" if params.assume_tier else "labelled",
        counts=dict(counts),
        features=ranked.heads.features if ranked.heads else (),
        spaces=(),
        encoder=encoder,
        metrics=dict(ranked.metrics) | validation_metrics(fitted),
        settings={},
        content_share=ranked.content_share,
        language_mix=ranked.language_mix.wanted,
        language_watched=ranked.language_mix.watched,
        chosen_by=_chosen_by(fitted, ranked),
    )


def _chosen_by(fitted: FittedBlend, ranked: RankerResult) -> dict[str, str]:
    """The yardstick of each choice, but for the locality weight; without validation users nothing was chosen."""
    chosen: dict[str, str] = {}
    if fitted.chosen.search is not None:
        by = _yardstick(fitted)
        chosen["weights"] = by
        if np.isfinite(fitted.reranker.ndcg_without):
            chosen["reranker"] = by
        if any(it.measured for it in fitted.chosen.search.tried):
            chosen["settings"] = by
    if ranked.yardstick is not None:
        chosen |= dict.fromkeys(("content_share", "ranker_mixing_weight"), ranked.yardstick)
    return chosen


def _yardstick(fitted: FittedBlend) -> str:
    return NDCG if fitted.weights.watch is None else WATCH


def _config(params: TrainParams) -> JsonObject:
    """The settings without those of base models that are not tried."""
    config = asdict(params)
    untried = {*ALL_MODELS} - {*params.blend.models}
    config["blend"] = {name: value for name, value in config["blend"].items() if name not in untried}
    return config


def describe_recipe(fitted: FittedBlend, budget: Budget, previous: str | None) -> Recipe:
    """What was tried within a budget, what it cost, and what was chosen."""
    chosen, search = fitted.chosen, fitted.chosen.search
    reranker, weights = fitted.reranker, fitted.weights
    is_reranked = reranker.trees is not None
    tried = search.tried if search else ()
    return Recipe(
        budget=budget.name,
        yardstick=_yardstick(fitted) if tried else None,
        n_users=chosen.n_users,
        work=search.work if search else 0.0,
        max_work=_finite(search.max_work) if search else None,
        tried=tuple(_describe_tried(it, fitted) for it in tried),
        blend=_finite(reranker.ndcg_cross_validated if is_reranked else weights.ndcg_cross_validated),
        error=_finite(reranker.error if is_reranked else weights.error),
        previous=previous,
    )


def summarise_recipe(fitted: FittedBlend, budget: Budget) -> str:
    """The outcome in words: what was tried, how the blend did, and its weights."""
    recipe = describe_recipe(fitted, budget, None)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in fitted.weights.weights.items())
    if recipe.blend is None:
        return f"budget {budget.name}; popularity alone, nobody came back to validate by"
    fits = sum(tried.outcome in (CHOSEN, TRIED) for tried in recipe.tried)
    watch = fitted.weights.watch
    watched = f"estimated watch fraction {watch.cross_validated:.3f} ± {watch.error:.3f}; " if watch else ""
    measured = f"budget {budget.name}, {fits} settings fitted; {watched}NDCG as exposed {recipe.blend:.4f}"
    if recipe.error is None:
        return f"{measured}, which may be chance: only one person validates; {weights}"
    return f"{measured} ± {recipe.error:.4f} ({recipe.n_users:,} people); {weights}"


def _describe_tried(tried: Tried, fitted: FittedBlend) -> TriedSettings:
    """Settings that were only fitted, because there was nothing to choose, have the measure of their blend's table."""
    value: float | None = None
    error: float | None = None
    if tried.measured is not None:
        value, error = tried.measured.value, tried.measured.error
    elif tried.outcome == CHOSEN:
        weights = fitted.weights
        values, errors = weights.ndcg_by_model, weights.error_by_model
        if weights.watch is not None:
            values, errors = weights.watch.by_model, weights.watch.error_by_model
        value, error = values.get(tried.model), errors.get(tried.model)
    return TriedSettings(
        model=tried.model,
        settings=asdict(tried.params),
        outcome=tried.outcome,
        work=tried.work,
        value=value,
        error=None if error is None else _finite(error),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def validation_metrics(fitted: FittedBlend) -> dict[str, float]:
    """
    NDCG on the validation users, as exposed: of every base model; of the weighted sum, in-sample and cross-validated;
    and, where there is a re-ranker, without it and with it, cross-validated. Where the log tells what users were shown,
    the same of the estimated watch fraction.
    """
    weights, reranker = fitted.weights, fitted.reranker
    metrics = {f"validation_ndcg.{name}": value for name, value in weights.ndcg_by_model.items()}
    metrics["validation_ndcg.blend_in_sample"] = weights.ndcg_in_sample
    metrics["validation_ndcg.blend_cross_validated"] = weights.ndcg_cross_validated
    if reranker.trees is not None:
        metrics["validation_ndcg.without_reranker"] = reranker.ndcg_without
        metrics["validation_ndcg.reranker_cross_validated"] = reranker.ndcg_cross_validated
        metrics["reranker_trees"] = reranker.trees.num_trees()
    if weights.watch is not None:
        metrics |= {f"validation_watch.{name}": value for name, value in weights.watch.by_model.items()}
        metrics["validation_watch.blend_in_sample"] = weights.watch.value
        metrics["validation_watch.blend_cross_validated"] = weights.watch.cross_validated
        metrics["validation_watch.without_reranker"] = reranker.watch_without
        metrics["validation_watch.reranker_cross_validated"] = reranker.watch_with
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
