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
from training.models.yardstick import NDCG
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
        language_mix=dict(ranked.language_mix),
    )


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
    yardsticks = [it.measured.yardstick for it in tried if it.measured]
    return Recipe(
        budget=budget.name,
        yardstick=next(iter(yardsticks), NDCG) if tried else None,
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
    measured = f"budget {budget.name}, {fits} settings fitted; NDCG as exposed {recipe.blend:.4f}"
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
        value = fitted.weights.ndcg_by_model.get(tried.model)
        error = fitted.weights.error_by_model.get(tried.model)
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
    NDCG on the validation users: of every base model; of the weighted sum, in-sample and cross-validated; and, where
    there is a re-ranker, without it and with it, cross-validated.
    """
    weights, reranker = fitted.weights, fitted.reranker
    metrics = {f"validation_ndcg.{name}": value for name, value in weights.ndcg_by_model.items()}
    metrics["validation_ndcg.blend_in_sample"] = weights.ndcg_in_sample
    metrics["validation_ndcg.blend_cross_validated"] = weights.ndcg_cross_validated
    if reranker.trees is not None:
        metrics["validation_ndcg.without_reranker"] = reranker.ndcg_without
        metrics["validation_ndcg.reranker_cross_validated"] = reranker.ndcg_cross_validated
        metrics["reranker_trees"] = reranker.trees.num_trees()
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
