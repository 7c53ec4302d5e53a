"""
The one recipe of a blend: settings of the base models, their weights, those of markets, and the re-ranker, all chosen
on validation folds. `sanad train`, `sanad bench` and `fit_matrix_blend` follow it; they differ in folds and budget.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.models.base import PreferenceModel
from recsys.models.blend import Blend
from recsys.progress import Progress, quiet
from training.models.blend_weights import (
    POPULARITY_ONLY,
    BlendWeights,
    Prior,
    fit_market_weights,
    fit_weights,
    reduce_popularity,
)
from training.models.budget import Budget
from training.models.registry import ModelSpec, Params
from training.models.reranked_watch import RerankedItems, RerankedWatch, build_reranked_items, stack_reranked_items
from training.models.reranker import (
    MIN_USERS,
    NO_RERANKER,
    RerankerFit,
    build_reranker_table,
    fit_reranker,
    stack_reranker_tables,
)
from training.models.search import ChosenSettings, ValidationFold, choose_settings
from training.models.validation_table import build_table, stack_tables
from training.models.watch_table import WatchTable, build_watch_table, stack_watch_tables

BLEND_USERS: Final = 16_000
"""Validation users of one fold for the blend's weights and the re-ranker."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenBlend:
    """
    What validation decided: `params` of the base models by name, in the order of the weights' table; `weights`, those
    of markets, the re-ranker; `search` is how the settings were chosen, None without validation users. `watch`: the
    blend without re-ranker as one model, where the log tells what users were shown; then the estimated watch fraction
    chose, else NDCG as exposed.
    """

    params: Mapping[str, Params]
    weights: BlendWeights
    by_market: Mapping[str, Mapping[str, float]]
    reranker: RerankerFit
    search: ChosenSettings | None
    n_users: int
    watch: WatchTable | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The base models that were validated."""
        return tuple(self.params)

    def needs(self, name: str) -> bool:
        """Whether the blend reads a base model: by a weight, or because the re-ranker reads all of them."""
        is_reranked = self.reranker.trees is not None and name in self.params
        return is_reranked or any(name in weights for weights in (self.weights.weights, *self.by_market.values()))


NOTHING_CHOSEN: Final = ChosenBlend(
    params={}, weights=POPULARITY_ONLY, by_market={}, reranker=NO_RERANKER, search=None, n_users=0
)
"""Without validation users: what is popular, with the settings as they were."""


def choose_blend(
    folds: Sequence[ValidationFold],
    specs: Mapping[str, ModelSpec],
    budget: Budget,
    k: int,
    seed: int,
    *,
    more: Iterable[ValidationFold] = (),
    prior: Prior | None = None,
    on_progress: Progress = quiet,
) -> ChosenBlend:
    """
    Everything that validation decides about the models of `specs`. Equal inputs give equal choices.

    Settings are chosen on `folds`. Weights and re-ranker also read `more` folds, which are drawn while there are fewer
    than `BLEND_USERS` users in all. Weights shrink towards those of `prior`.
    """
    if not any(len(fold.users) for fold in folds):
        return NOTHING_CHOSEN
    chosen = choose_settings(folds, specs, budget, k, seed, on_progress)
    by_fold, all_folds, others = chosen.by_fold, list(folds), iter(more)
    while sum(len(fold.users) for fold in all_folds) < BLEND_USERS and (fold := next(others, None)) is not None:
        all_folds.append(fold)
        by_fold.append(_fit(fold, specs, chosen.params, seed))
    on_progress("weights", 0, None)
    samples = [fold.sample(BLEND_USERS) for fold in all_folds]
    tables = [
        build_table(models, users, relevant, k, fold.numbers[rows])
        for fold, models, (users, relevant, rows) in zip(all_folds, by_fold, samples, strict=True)
    ]
    table, watch = stack_tables(tables), _watch_table(all_folds, by_fold)
    weights = reduce_popularity(table, fit_weights(table, k, prior, watch), k, watch)
    markets = [fold.markets[row] for fold, (_, _, rows) in zip(all_folds, samples, strict=True) for row in rows]
    by_market = fit_market_weights(table, markets, weights, k, watch)
    blended = None if watch is None else _collapse(watch, weights, by_market)
    reranker = _fit_reranker(all_folds, by_fold, weights, by_market, k, seed, blended, on_progress)
    n_users = len(np.unique(np.concatenate([fold.numbers for fold in all_folds])))
    return ChosenBlend(
        params=chosen.params, weights=weights, by_market=by_market, reranker=reranker, search=chosen, n_users=n_users,
        watch=blended,
    )  # fmt: skip


def _watch_table(
    folds: Sequence[ValidationFold], by_fold: Sequence[Mapping[str, PreferenceModel]]
) -> WatchTable | None:
    """What all models say of what users were shown; None where a fold does not know that."""
    shown = [fold.shown for fold in folds if fold.shown is not None]
    if len(shown) < len(folds):
        return None
    return stack_watch_tables(
        [
            build_watch_table(models, part, fold.market_names)
            for models, part, fold in zip(by_fold, shown, folds, strict=True)
        ]
    )


def _collapse(watch: WatchTable, weights: BlendWeights, by_market: Mapping[str, Mapping[str, float]]) -> WatchTable:
    """The blend as one model."""
    by_user = [by_market.get(market or "", weights.weights) for market in watch.markets]
    named = [[of_user.get(name, 0.0) for name in watch.model_names] for of_user in by_user]
    return watch.collapse(np.array(named, np.float32).reshape(len(watch), len(watch.model_names)))


def _fit(
    fold: ValidationFold, specs: Mapping[str, ModelSpec], params: Mapping[str, Params], seed: int
) -> dict[str, PreferenceModel]:
    return {name: specs[name].fit(fold.train, params[name], np.random.default_rng(seed)) for name in params}


def _fit_reranker(
    folds: Sequence[ValidationFold],
    by_fold: list[dict[str, PreferenceModel]],
    weights: BlendWeights,
    by_market: Mapping[str, Mapping[str, float]],
    k: int,
    seed: int,
    watch: WatchTable | None,
    on_progress: Progress,
) -> RerankerFit:
    """
    The re-ranker over the base models of the folds; its table is not built for fewer users than prove anything.

    Empties `by_fold`, since the models of all folds are large together.
    """
    if len(np.unique(np.concatenate([fold.numbers for fold in folds]))) < MIN_USERS:
        return NO_RERANKER
    on_progress("re-ranker", 0, None)
    tables, items = [], list[RerankedItems]()
    for fold in folds:
        blend = Blend(by_fold.pop(0), weights.weights, fold.market_names, by_market)
        users, relevant, rows = fold.sample(BLEND_USERS)
        tables.append(build_reranker_table(blend, fold.train.item_use, users, fold.numbers[rows], relevant))
        if watch is not None and fold.shown is not None:
            items.append(build_reranked_items(blend, fold.train.item_use, fold.shown))
    reranked = None if watch is None else RerankedWatch(watch, stack_reranked_items(items))
    return fit_reranker(stack_reranker_tables(tables), k, np.random.default_rng([seed, 2]), reranked)
