"""
One code path for every fixed split: the recipe of `sanad train --budget full`, and the test part once per row.

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
from threadpoolctl import threadpool_limits

from recsys.metrics import mean, ndcg, recall
from recsys.models.blend import POPULARITY, Blend, mask_excluded
from recsys.models.interactions import UserInteractions, interactions_from_matrix, select_positive
from recsys.models.reranker import has_positives
from recsys.progress import Progress, quiet
from recsys.types import Csr, Floats, Reals
from training.models.budget import FULL
from training.models.matrix_blend import FittedMatrix, fit_matrix
from training.models.registry import MODELS, find_specs
from training.models.settings import BlendParams
from training.models.splits import Split
from training.models.yardstick import mark_hits

BLEND: Final = "blend"
WEIGHTED_SUM: Final = "weighted_sum"
_BLOCK_USERS: Final = 64
"""Users whose scores are computed at once, so that they stay near the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """
    One model on the test part. `validation`: its NDCG on validation, cross-validated for the weighted sum and the
    blend, and its standard `error`; `fit_s`: seconds to fit it to all of train.
    """

    name: str
    recall: float
    ndcg: float
    validation: float
    error: float
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
    """The whole recipe on a split, as `sanad train --budget full` follows it on a dataset."""
    started = perf_counter()
    specs = {name: spec for name, spec in find_specs(FULL.widen(BlendParams())).items() if not spec.reads_order}
    with threadpool_limits(1, user_api="blas"):  # as `training.train`: equal results on every machine
        fitted = fit_matrix(split.train, split.valid, specs, FULL, k, seed, on_progress)
    fitted_at = perf_counter()
    measured, n_evaluated = _evaluate(fitted.blend, split, k, on_progress)
    recommended_at = perf_counter()
    search, reranker, fit_s = fitted.chosen.search, fitted.blend.reranker, sum(fitted.fit_s.values())
    return BenchReport(
        k=k,
        n_users=split.train.shape[0],
        n_items=split.train.shape[1],
        n_train=int((split.train.data > 0).sum()),
        n_negative=int((split.train.data < 0).sum()),
        n_evaluated=n_evaluated,
        rows=_rows(fitted, measured),
        n_trees=reranker.trees.num_trees() if reranker else 0,
        n_fits=sum(it.measured is not None for it in search.tried) if search else 0,
        choose_s=fitted_at - started - fit_s,
        recommend_s=recommended_at - fitted_at,
        total_s=recommended_at - started,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,  # kibibytes on Linux
    )


def _rows(fitted: FittedMatrix, measured: Mapping[str, tuple[float, float]]) -> tuple[BenchRow, ...]:
    """The test metrics of each model, the weighted sum and the blend, beside their validation."""
    weights, reranker, fit_s = fitted.chosen.weights, fitted.chosen.reranker, fitted.fit_s
    is_reranked = reranker.trees is not None
    sum_value = (weights.ndcg_cross_validated, weights.error)
    validation = {
        name: (value, weights.error_by_model[name]) for name, value in weights.ndcg_by_model.items()
    } | {
        WEIGHTED_SUM: sum_value,
        BLEND: (reranker.ndcg_cross_validated, reranker.error) if is_reranked else sum_value,
    }  # fmt: skip
    reads = {WEIGHTED_SUM: weights.weights, BLEND: fit_s if is_reranked else weights.weights}
    unknown = (float("nan"), float("nan"))
    rows = []
    for name, (recalls, gains) in measured.items():
        is_model = name not in reads
        value, error = validation.get(name, unknown)
        settings = fitted.chosen.params.get(name, MODELS[name].params) if is_model else None
        rows.append(
            BenchRow(
                name=name,
                recall=recalls,
                ndcg=gains,
                validation=value,
                error=error,
                fit_s=fit_s[name] if is_model else sum(fit_s[model] for model in reads[name]),
                weight=weights.weights.get(name, 0.0) if is_model else 1.0,
                params=asdict(settings) if settings else {},
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
