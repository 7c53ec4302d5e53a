"""
One code path for every fixed split: choose on validation, fit again on all of train, use the test part once per row.

Every item is ranked except those that the user has in train (negative feedback too). Recall@k = hits / relevant items
in test; NDCG@k with binary gain over min(k, relevant items); mean over the users with a relevant item in test.
"""

import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Final

import numpy as np
from scipy import sparse

from recsys.metrics import mean, ndcg, recall
from recsys.models.base import PreferenceModel
from recsys.models.blend import POPULARITY, Blend, mask_excluded
from recsys.models.interactions import UserInteractions, interactions_from_matrix, select_positive
from recsys.models.reranker import compute_item_use, has_positives
from recsys.progress import Progress, quiet
from recsys.types import Csr, Floats, Reals
from training.models.registry import MODELS, TrainingMatrix
from training.models.search import SearchResult, mark_hits, search_models
from training.models.splits import Split

BLEND: Final = "blend"
WEIGHTED_SUM: Final = "weighted_sum"
_BLOCK_USERS: Final = 64
"""Users whose scores are computed at once, so that they stay near the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """
    One model on the test part. `validation`: its NDCG there, cross-validated for the weighted sum and the blend;
    `fit_s`: seconds to fit it to all of train.
    """

    name: str
    recall: float
    ndcg: float
    validation: float
    fit_s: float
    weight: float
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """
    `n_train` positive and `n_negative` negative pairs in train; `n_evaluated` users with a relevant item in test;
    `n_trees` of the re-ranker, 0 where there is none; `recommend_s`: seconds for all rows of all evaluated users.
    """

    k: int
    n_users: int
    n_items: int
    n_train: int
    n_negative: int
    n_evaluated: int
    rows: tuple[BenchRow, ...]
    n_trees: int
    n_fits: int
    choose_s: float
    recommend_s: float
    total_s: float
    peak_gb: float


def run_split(split: Split, k: int, seed: int, on_progress: Progress = quiet) -> BenchReport:
    """The whole pipeline on a split."""
    started = perf_counter()
    rng = np.random.default_rng(seed)
    searched = search_models(split.train, split.valid, tuple(MODELS.values()), k, rng, on_progress)
    chosen_at = perf_counter()
    models, fit_s = _fit_models(split, searched, seed, on_progress)
    before = perf_counter()
    reranker = searched.reranker.build(tuple(models), compute_item_use(split.train))
    blend = Blend(models, searched.weights.weights, reranker=reranker)
    measured, n_evaluated = _evaluate(blend, split, k, on_progress)
    recommended_at = perf_counter()
    return BenchReport(
        k=k,
        n_users=split.train.shape[0],
        n_items=split.train.shape[1],
        n_train=int((split.train.data > 0).sum()),
        n_negative=int((split.train.data < 0).sum()),
        n_evaluated=n_evaluated,
        rows=_rows(searched, measured, fit_s),
        n_trees=reranker.trees.num_trees() if reranker else 0,
        n_fits=searched.n_fits,
        choose_s=chosen_at - started,
        recommend_s=recommended_at - before,
        total_s=recommended_at - started,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,  # kibibytes on Linux
    )


def _fit_models(
    split: Split, searched: SearchResult, seed: int, on_progress: Progress
) -> tuple[dict[str, PreferenceModel], dict[str, float]]:
    """Every model with its chosen parameters, fitted to all of train, and the seconds of each."""
    models: dict[str, PreferenceModel] = {}
    fit_s: dict[str, float] = {}
    for name, params in searched.params.items():
        on_progress(f"fit {name}", 0, None)
        before = perf_counter()
        models[name] = MODELS[name].fit(TrainingMatrix(split.train), params, np.random.default_rng(seed))
        fit_s[name] = perf_counter() - before
    return models, fit_s


def _rows(
    searched: SearchResult, measured: Mapping[str, tuple[float, float]], fit_s: Mapping[str, float]
) -> tuple[BenchRow, ...]:
    """The test metrics of each model, the weighted sum and the blend, beside their validation."""
    weights, reranker = searched.weights, searched.reranker
    is_reranked = reranker.trees is not None
    blend_ndcg = reranker.ndcg_cross_validated if is_reranked else weights.ndcg_cross_validated
    validation = {WEIGHTED_SUM: weights.ndcg_cross_validated, BLEND: blend_ndcg}
    reads = {WEIGHTED_SUM: weights.weights, BLEND: fit_s if is_reranked else weights.weights}
    rows = []
    for name, (recalls, gains) in measured.items():
        is_model = name not in reads
        rows.append(
            BenchRow(
                name=name,
                recall=recalls,
                ndcg=gains,
                validation=weights.ndcg_by_model.get(name, float("nan")) if is_model else validation[name],
                fit_s=fit_s[name] if is_model else sum(fit_s[model] for model in reads[name]),
                weight=weights.weights.get(name, 0.0) if is_model else 1.0,
                params=asdict(searched.params[name]) if is_model else {},
            )
        )
    return tuple(rows)


def _evaluate(blend: Blend, split: Split, k: int, on_progress: Progress) -> tuple[dict[str, tuple[float, float]], int]:
    """(recall, NDCG) of every model, of the weighted sum and of the blend, and how many users were evaluated."""
    relevant = select_positive(sparse.csr_matrix(split.test, dtype=np.float32))
    evaluated = np.flatnonzero(np.diff(relevant.indptr))
    users = interactions_from_matrix(split.train)
    values: dict[str, list[Reals]] = {name: [] for name in (*blend.base_models, WEIGHTED_SUM, BLEND)}
    for start in range(0, len(evaluated), _BLOCK_USERS):
        on_progress("recommend", start, len(evaluated))
        rows = evaluated[start : start + _BLOCK_USERS]
        batch = users[rows]
        for name, scores in _scores_by_name(blend, batch).items():
            values[name].append(_recall_and_ndcg(mask_excluded(scores, batch), relevant[rows], k))
    return {name: _means(blocks) for name, blocks in values.items() if blocks}, len(evaluated)


def _scores_by_name(blend: Blend, batch: UserInteractions) -> dict[str, Floats]:
    """(q, n_items) scores of every model, of the weighted sum where a re-ranker changes it, and of the blend."""
    total, by_model = blend.weighted_sum(batch)
    is_new = ~has_positives(batch)  # popularity alone, as in a feed
    total[is_new] = by_model[POPULARITY][is_new]
    if blend.reranker is None:
        return by_model | {BLEND: total}
    return by_model | {
        WEIGHTED_SUM: total,
        BLEND: blend.reranker.rerank(total, by_model, blend.base_models, batch),
    }


def _recall_and_ndcg(scores: Floats, relevant: Csr, k: int) -> Reals:
    """(2, q)."""
    hits, n_relevant = mark_hits(scores, relevant, k), np.diff(relevant.indptr)
    return np.stack([recall(hits, n_relevant, k), ndcg(hits, n_relevant, k)])


def _means(blocks: list[Reals]) -> tuple[float, float]:
    recalls, gains = np.concatenate(blocks, axis=1)
    return mean(recalls), mean(gains)
