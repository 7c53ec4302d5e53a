"""
Model search: the parameters of each base model by coordinate ascent on validation, then the blend of all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import sparse

from recsys.metrics import mean, ndcg
from recsys.models.base import PreferenceModel
from recsys.models.blend import Blend, mask_excluded, standardise
from recsys.models.interactions import UserInteractions, entries_at, interactions_from_matrix, select_positive
from recsys.models.reranker import compute_item_use
from recsys.progress import Progress, quiet
from recsys.topk import top_k
from recsys.types import Csr, Floats, Mask, Reals, Rows
from training.models.blend_weights import BlendWeights, build_table, fit_weights, stack_tables
from training.models.registry import ModelSpec, Params, TrainingMatrix
from training.models.reranker import (
    RerankerFit,
    build_reranker_table,
    fit_reranker,
    stack_reranker_tables,
)
from training.models.splits import split_entries

SEARCH_USERS: Final = 3_000
"""Validation users for the settings of one model."""

BLEND_USERS: Final = 16_000
"""Validation users for the blend's weights and the re-ranker."""

MIN_SPLIT_USERS: Final = 1_000
"""Validation users of one random split; with fewer the data are split three times."""

MAX_FOLDS: Final = 5
"""Random splits of a small dataset, so that it has more validation users."""

MIN_RISE: Final = 1.002
"""The factor by which a step must raise the measure: less is noise, and larger models cost."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationFold:
    """
    `train` is what models are fitted to.

    Shapes: `users` of all n_users and `relevant` CSR (n_users, n_items), what was held out; `rows` are those of the
            users with something held out, in random order.
    """

    train: TrainingMatrix
    users: UserInteractions
    relevant: Csr
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchResult:
    """`params` of every model by name; weights of their blend; the re-ranker over all of them; settings fitted."""

    params: Mapping[str, Params]
    weights: BlendWeights
    reranker: RerankerFit
    n_fits: int


def validation_folds(signed: Csr, valid: Csr | None, rng: np.random.Generator) -> tuple[ValidationFold, ...]:
    """The given validation part, or a random share of `signed`; a small dataset is split three times."""
    if valid is not None:
        return (_build_fold(signed, valid, rng),)
    share = _holdout_share(signed)
    parts = [split_entries(signed, share, rng)]
    if np.count_nonzero(np.diff(parts[0][1].indptr)) < MIN_SPLIT_USERS:
        parts += [split_entries(signed, share, rng) for _ in range(2)]
    return tuple(_build_fold(train, held_out, rng) for train, held_out in parts)


def _holdout_share(signed: Csr) -> float:
    return float(np.clip(5_000 / max(1, signed.nnz), 0.1, 0.25))


def _build_fold(train: Csr, held_out: Csr, rng: np.random.Generator) -> ValidationFold:
    relevant = select_positive(sparse.csr_matrix(held_out, dtype=np.float32))
    rows = rng.permutation(np.flatnonzero(np.diff(relevant.indptr)))
    return ValidationFold(TrainingMatrix(train), interactions_from_matrix(train), relevant, rows)


def search_models(
    signed: Csr,
    valid: Csr | None,
    specs: Sequence[ModelSpec],
    k: int,
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> SearchResult:
    """Parameters for every model that fits the size, the weights of their blend, and its re-ranker."""
    folds = validation_folds(signed, valid, rng)
    has_negatives = bool(np.any(signed.data < 0))
    seed = int(rng.integers(2**31))
    params: dict[str, Params] = {}
    by_fold: list[dict[str, PreferenceModel]] = [{} for _ in folds]
    n_fits = 0
    fitting = [spec for spec in specs if spec.fits_size(signed)]
    for spec in fitting:
        ascent = CoordinateAscent(spec, folds, k, seed, on_progress=on_progress, stage=f"choose {spec.name}")
        params[spec.name] = ascent.search(has_negatives)
        n_fits += len(ascent.measured)
        for fold, models, model in zip(folds, by_fold, ascent.best_models, strict=True):
            models[spec.name] = model
            fold.train.decompositions.clear()
    for fold in _draw_more_folds(signed, folds, rng) if valid is None else ():
        on_progress("validate", len(folds), MAX_FOLDS)
        folds = (*folds, fold)
        by_fold.append(
            {spec.name: spec.fit(fold.train, params[spec.name], np.random.default_rng(seed)) for spec in fitting}
        )
    weights, reranker = _fit_blend(folds, by_fold, k, rng, on_progress)
    return SearchResult(params=params, weights=weights, reranker=reranker, n_fits=n_fits)


def _fit_blend(
    folds: Sequence[ValidationFold],
    by_fold: list[dict[str, PreferenceModel]],
    k: int,
    rng: np.random.Generator,
    on_progress: Progress,
) -> tuple[BlendWeights, RerankerFit]:
    """Weights and re-ranker. Empties `by_fold`, since the models of all folds are large together."""
    on_progress("weights", 0, None)
    samples = [_sample_users(fold, BLEND_USERS) for fold in folds]
    tables = [
        build_table(models, users, relevant, k, rows)
        for models, (rows, users, relevant) in zip(by_fold, samples, strict=True)
    ]
    weights = fit_weights(stack_tables(tables), k)
    on_progress("re-ranker", 0, None)
    reranker_tables = []
    for fold, (rows, users, relevant) in zip(folds, samples, strict=True):
        blend, use = Blend(by_fold.pop(0), weights.weights), compute_item_use(fold.train.signed)
        reranker_tables.append(build_reranker_table(blend, use, users, rows, relevant))
    return weights, fit_reranker(stack_reranker_tables(reranker_tables), k, rng)


def _draw_more_folds(
    signed: Csr, folds: Sequence[ValidationFold], rng: np.random.Generator
) -> Iterator[ValidationFold]:
    """More random splits while there are few validation users: hundreds are too few for a blend."""
    n_users = sum(len(fold.rows) for fold in folds)
    for _ in range(MAX_FOLDS - len(folds)):
        if n_users >= BLEND_USERS:
            return
        fold = _build_fold(*split_entries(signed, _holdout_share(signed), rng), rng)
        n_users += len(fold.rows)
        yield fold


class CoordinateAscent:
    """
    The search for one model's parameters: one field at a time, up and down its values for as long as NDCG rises.

    `measured` holds every setting with its NDCG, `best_models` the models of the best setting, one for each fold.
    `earlier` are measures of an earlier run; `remember` is called with every new one, and `on_progress` for `stage`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        folds: Sequence[ValidationFold],
        k: int,
        seed: int,
        earlier: Mapping[Params, float] | None = None,
        remember: Callable[[Params, float], None] = lambda params, value: None,
        on_progress: Progress = quiet,
        stage: str = "",
    ) -> None:
        self.spec, self.folds, self.k, self.seed, self.remember = spec, folds, k, seed, remember
        self.on_progress, self.stage = on_progress, stage or f"choose {spec.name}"
        self.earlier = earlier or {}
        self.measured: dict[Params, float] = {}
        self.best_models: list[PreferenceModel] = []
        self.best_ndcg = -1.0  # below any measure: the first setting is kept

    def search(self, has_negatives: bool) -> Params:
        """The best parameters. Weights of negative feedback are searched where there is any."""
        at = self.spec.params
        self.on_progress(self.stage, 0, self.most_fits)
        self._measure(at)
        for name, values in self.spec.search_space.items():
            if name == "negative_weight" and not has_negatives:
                continue
            for step in (1, -1):
                moved = self._walk(at, name, values, step)
                if moved != at:
                    at = moved
                    break
        return at

    @property
    def most_fits(self) -> int:
        """The most settings that a search may measure: it usually ends much earlier."""
        return 1 + sum(len(values) for values in self.spec.search_space.values())

    def _walk(self, at: Params, name: str, values: tuple[float, ...], step: int) -> Params:
        place = values.index(getattr(at, name)) + step
        while 0 <= place < len(values):
            after = replace(at, **{name: values[place]})
            if self._measure(after) <= MIN_RISE * self.measured[at]:
                break
            at, place = after, place + step
        return at

    def _measure(self, params: Params) -> float:
        if params in self.earlier:
            self.measured[params] = self.earlier[params]
        if params not in self.measured:
            models = [self.spec.fit(fold.train, params, np.random.default_rng(self.seed)) for fold in self.folds]
            values = [
                model_ndcg(model, *_sample_users(fold, SEARCH_USERS)[1:], self.k)
                for model, fold in zip(models, self.folds, strict=True)
            ]
            self.measured[params] = float(np.nan_to_num(mean(np.concatenate(values))))  # 0 without users
            self.remember(params, self.measured[params])
            self.on_progress(self.stage, len(self.measured), self.most_fits)
            if self.measured[params] > self.best_ndcg * MIN_RISE:
                self.best_ndcg, self.best_models = self.measured[params], models
        return self.measured[params]


def _sample_users(fold: ValidationFold, n_users: int) -> tuple[Rows, UserInteractions, Csr]:
    """Rows, interactions and relevant items of at most `n_users` users."""
    rows = np.sort(fold.rows[:n_users])
    return rows, fold.users[rows], fold.relevant[rows]


def model_ndcg(model: PreferenceModel, users: UserInteractions, relevant: Csr, k: int, block: int = 64) -> Reals:
    """(q,) NDCG at k of one model alone. Shapes: `users` of q people; `relevant` CSR (q, n_items)."""
    values: list[Reals] = [np.empty(0)]
    for start in range(0, len(users), block):
        batch, expected = users[start : start + block], relevant[start : start + block]
        scores = mask_excluded(standardise(model.scores(batch)), batch)
        values.append(ndcg(mark_hits(scores, expected, k), np.diff(expected.indptr), k))
    return np.concatenate(values)


def mark_hits(scores: Floats, relevant: Csr, k: int) -> Mask:
    """
    (q, min(k, n_items)) whether each of the best items, by rank, is relevant.

    Shapes: `scores` (q, n_items); `relevant` CSR (q, n_items). Masked items (minus infinity) fill a list where nothing
            else is left; they would not be recommended, so they are no hits.
    """
    best = top_k(scores, k)
    if not len(best):
        return np.zeros(best.shape, np.bool_)
    return (entries_at(relevant, best) > 0) & (np.take_along_axis(scores, best, axis=1) > -np.inf)
