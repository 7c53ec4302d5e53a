"""
One code path for every fixed split: choose on validation, fit again on all of train, use the test part once per row.

Rank all items, leave out what the person has in train (refusals too), Recall@k = hits / wanted items in test, NDCG@k
with binary gain over min(k, wanted items), mean over the people who want something in test.
"""

import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np
from scipy import sparse

from recsys.metrics import mean, ndcg, recall
from recsys.models.base import Part
from recsys.models.blend import POPULARITY, Blend, masked
from recsys.models.interactions import of_matrix
from recsys.models.reranker import has_wishes, use_of
from recsys.progress import Progress, quiet
from recsys.types import Floats
from training.models.registry import Observed, families
from training.models.search import Chosen, choose, hits
from training.models.splits import Split

BLEND: Final = "blend"
SUM: Final = "sum"
_BLOCK: Final = 64  # scores of so many people stay near the processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One model on the test part. `validation`: its NDCG there, of a mixture that of each half of the people by what the
    other half chose; `fit_s`: seconds to fit it to all of train.
    """

    name: str
    recall: float
    ndcg: float
    validation: float
    fit_s: float
    weight: float
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """
    `n_trees`: of the second look, 0 where there is none. `recommend_s`: seconds for all rows of all who are judged.
    """

    k: int
    n_users: int
    n_items: int
    n_train: int
    n_refused: int
    n_judged: int
    rows: tuple[Row, ...]
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
    every = {family.name: family for family in families()}
    chosen = choose(split.train, split.valid, tuple(every.values()), k, rng, on_progress)
    chosen_at = perf_counter()
    parts: dict[str, Part] = {}
    fit_s: dict[str, float] = {}
    for name, params in chosen.params.items():
        on_progress(f"fit {name}", 0, None)
        before = perf_counter()
        parts[name] = every[name].fit(Observed(split.train), params, np.random.default_rng(seed))
        fit_s[name] = perf_counter() - before
    before = perf_counter()
    second = chosen.look.over(tuple(parts), use_of(split.train))
    blend = Blend(parts, chosen.learned.weights, second=second)
    found, n_judged = _measured(blend, split, k, on_progress)
    recommended_at = perf_counter()
    return BenchReport(
        k=k,
        n_users=split.train.shape[0],
        n_items=split.train.shape[1],
        n_train=int((split.train.data > 0).sum()),
        n_refused=int((split.train.data < 0).sum()),
        n_judged=n_judged,
        rows=_rows(chosen, found, fit_s),
        n_trees=second.trees.num_trees() if second else 0,
        n_fits=chosen.n_fits,
        choose_s=chosen_at - started,
        recommend_s=recommended_at - before,
        total_s=recommended_at - started,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,  # kibibytes on Linux
    )


def _rows(chosen: Chosen, found: Mapping[str, tuple[float, float]], fit_s: Mapping[str, float]) -> tuple[Row, ...]:
    """What was found of each part and mixture, beside what validation said of it."""
    learned, look = chosen.learned, chosen.look
    has_look = look.trees is not None
    honest = {SUM: learned.honest, BLEND: look.honest if has_look else learned.honest}
    read = {SUM: learned.weights, BLEND: fit_s if has_look else learned.weights}
    rows = []
    for name, (recalls, gains) in found.items():
        is_part = name not in read
        rows.append(
            Row(
                name=name,
                recall=recalls,
                ndcg=gains,
                validation=learned.alone.get(name, float("nan")) if is_part else honest[name],
                fit_s=fit_s[name] if is_part else sum(fit_s[part] for part in read[name]),
                weight=learned.weights.get(name, 0.0) if is_part else 1.0,
                params=asdict(chosen.params[name]) if is_part else {},
            )
        )
    return tuple(rows)


def _measured(blend: Blend, split: Split, k: int, on_progress: Progress) -> tuple[dict[str, tuple[float, float]], int]:
    """(recall, ndcg) of every part, of their sum and of the blend, and how many people are judged."""
    wanted = sparse.csr_matrix(split.test.multiply(split.test > 0), dtype=np.float32)
    wanted.eliminate_zeros()
    people = np.flatnonzero(np.diff(wanted.indptr))
    tastes = of_matrix(split.train)
    values: dict[str, list[Any]] = {name: [] for name in (*blend.parts, SUM, BLEND)}
    for start in range(0, len(people), _BLOCK):
        on_progress("recommend", start, len(people))
        rows = people[start : start + _BLOCK]
        some, right = tastes[rows], wanted[rows]
        total, said = blend.said(some)
        is_new = ~has_wishes(some)  # popularity alone, as in a feed
        total[is_new] = said[POPULARITY][is_new]
        if blend.second is None:
            found = said | {BLEND: total}
        else:
            found = said | {SUM: total, BLEND: blend.second.reordered(total, said, blend.parts, some)}
        for name, scores in found.items():
            values[name].append(_gains(masked(scores, some), right, k))
    return {name: _means(blocks) for name, blocks in values.items() if blocks}, len(people)


def _gains(scores: Floats, right: Any, k: int) -> Any:
    """(2, q) recall and NDCG."""
    found, n_relevant = hits(scores, right, k), np.diff(right.indptr)
    return np.stack([recall(found, n_relevant, k), ndcg(found, n_relevant, k)])


def _means(blocks: list[Any]) -> tuple[float, float]:
    recalls, gains = np.concatenate(blocks, axis=1)
    return mean(recalls), mean(gains)
