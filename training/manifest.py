"""What a training run writes into the manifest of its artifact."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from recsys.clock import Millis, to_text
from recsys.models.manifest import FORMAT, Manifest
from training.models.blend import FittedBlend
from training.models.ranker import RankerResult
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
        config=asdict(params),
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
