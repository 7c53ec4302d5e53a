"""
Fitting the blend of a dataset: base models, their weights, and the re-ranker.

The last parts of the dataset are first held back as rolling validation folds. Base models that know only what came
before give scores, and the users' later interactions decide the weights. Then the models that are needed are fitted
again to everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.models import ials, next_item
from recsys.models.base import PopularityModel, PreferenceModel
from recsys.models.blend import POPULARITY, Blend
from recsys.models.ease import EASEParams
from recsys.models.graph_filter import GraphFilterParams
from recsys.models.ials import FactorSpace, IALSParams
from recsys.models.next_item import NextItemParams
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.reranker import compute_item_use
from recsys.models.spectral import SpectralParams
from recsys.progress import Progress, quiet
from recsys.types import Space
from training.interactions import Interactions
from training.models.blend_weights import (
    POPULARITY_ONLY,
    BlendWeights,
    build_table,
    fit_market_weights,
    fit_weights,
    reduce_popularity,
    stack_tables,
)
from training.models.folds import RollingFold, rolling_folds
from training.models.registry import MODELS, TrainingMatrix
from training.models.reranker import (
    MIN_USERS,
    NO_RERANKER,
    RerankerFit,
    build_reranker_table,
    fit_reranker,
    stack_reranker_tables,
)

FACTORS: Final = "ials"
"""Always fitted and saved, whatever its weight: related items and items without interactions are embedded in it."""

NEXT_ITEM: Final = "next_item"
"""Fitted to histories in order, not to a matrix as the models of the registry are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendParams:
    """
    Settings of the base models and of their validation.

    `models`: the base models that are tried, beside popularity, which always is. `validation_share`: of the events, in
    each fold; `validation_users`: in all folds together. `k`: the measure is NDCG at k.
    """

    models: tuple[str, ...] = ("graph_filter", "spectral", FACTORS, "ease", NEXT_ITEM)
    graph_filter: GraphFilterParams = field(default_factory=lambda: GraphFilterParams(n_neighbours=100))
    spectral: SpectralParams = field(default_factory=lambda: SpectralParams(embedding_size=64))
    ials: IALSParams = field(default_factory=lambda: IALSParams(embedding_size=64, reg=0.03, unobserved=0.1, epochs=6))
    ease: EASEParams = field(default_factory=EASEParams)
    next_item: NextItemParams = field(default_factory=NextItemParams)
    validation_share: float = 0.1
    validation_users: int = 6_000
    k: int = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedBlend:
    """The blend as it is saved, the factors that are always saved, and the validation of weights and re-ranker."""

    blend: Blend
    factors: FactorSpace
    weights: BlendWeights
    reranker: RerankerFit

    def with_factors(self, factors: Space) -> Blend:
        """
        The blend with another space instead of its factors: the one in which items without interactions have vectors.
        """
        assert isinstance(factors, FactorSpace)
        models = {name: factors if name == FACTORS else model for name, model in self.blend.base_models.items()}
        return replace(self.blend, base_models=models)


def fit_blend(
    dataset: Dataset,
    interactions: Interactions,
    popularity: Popularity,
    popularity_params: PopularityParams,
    params: BlendParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress = quiet,
) -> FittedBlend:
    """
    The blend of `interactions`, which are those of the events before `before`.

    `popularity` was fitted to `interactions` with `popularity_params`, which fit it to the earlier parts too.
    Empty: popularity alone, where nobody came back to validate by.
    """
    validated = _validate(dataset, interactions, popularity_params, params, before, seed, on_progress)
    needed = [name for name in (*params.models, POPULARITY) if validated.needs(name)]
    names = [*(name for name in needed if name != POPULARITY), *({FACTORS} - {*needed})]
    models = fit_models(names, interactions, params, seed, on_progress)
    factors = models[FACTORS]
    assert isinstance(factors, FactorSpace)
    if POPULARITY in needed:
        models[POPULARITY] = PopularityModel(popularity.scores)
    reranker = validated.reranker.build(validated.names, compute_item_use(interactions.positives))
    blend = Blend(
        {name: models[name] for name in needed},
        validated.weights.weights,
        popularity.markets,
        validated.by_market,
        reranker,
    )
    return FittedBlend(blend=blend, factors=factors, weights=validated.weights, reranker=validated.reranker)


def refit(blend: Blend, interactions: Interactions, popularity: Popularity, params: BlendParams, seed: int) -> Blend:
    """The same blend with its base models fitted to other interactions, and the popularity fitted to those."""
    names = [name for name in blend.base_models if name != POPULARITY]
    models = fit_models(names, interactions, params, seed)
    if POPULARITY in blend.base_models:
        models[POPULARITY] = PopularityModel(popularity.scores)
    reranker = blend.reranker and replace(blend.reranker, item_use=compute_item_use(interactions.positives))
    return replace(blend, base_models=models, markets=popularity.markets, reranker=reranker)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Validated:
    """What validation decided about the base models `names`: weights, those of markets, and the re-ranker."""

    names: tuple[str, ...]
    weights: BlendWeights
    by_market: Mapping[str, Mapping[str, float]]
    reranker: RerankerFit

    def needs(self, name: str) -> bool:
        """Whether the blend reads a base model: by a weight, or because the re-ranker reads all of them."""
        is_reranked = self.reranker.trees is not None and name in self.names
        return is_reranked or any(name in weights for weights in (self.weights.weights, *self.by_market.values()))


def _validate(
    dataset: Dataset,
    interactions: Interactions,
    popularity_params: PopularityParams,
    params: BlendParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress,
) -> _Validated:
    """Weights and re-ranker from what users interacted with in the rolling folds."""
    folds = list(
        rolling_folds(
            dataset, interactions, popularity_params, before,
            share=params.validation_share, n_users=params.validation_users, seed=seed,
        )
    )  # fmt: skip
    if not folds:
        return _Validated(names=(), weights=POPULARITY_ONLY, by_market={}, reranker=NO_RERANKER)
    by_fold = _fit_folds(folds, params, seed, on_progress)
    on_progress("weights", 0, None)
    pairs = list(zip(folds, by_fold, strict=True))
    tables = [build_table(models, fold.users, fold.relevant, params.k, fold.numbers) for fold, models in pairs]
    table = stack_tables(tables)
    weights = reduce_popularity(table, fit_weights(table, params.k), params.k)
    markets = [name for fold in folds for name in fold.markets]
    by_market = fit_market_weights(table, markets, weights, params.k)
    fitted = _fit_reranker(pairs, weights, by_market, params.k, seed, on_progress)
    return _Validated(names=tuple(by_fold[0]), weights=weights, by_market=by_market, reranker=fitted)


def _fit_reranker(
    folds: Sequence[tuple[RollingFold, Mapping[str, PreferenceModel]]],
    weights: BlendWeights,
    by_market: Mapping[str, Mapping[str, float]],
    k: int,
    seed: int,
    on_progress: Progress,
) -> RerankerFit:
    """The re-ranker over the base models of the folds; its table is not built for fewer users than prove anything."""
    if len(np.unique(np.concatenate([fold.numbers for fold, _ in folds]))) < MIN_USERS:
        return NO_RERANKER
    on_progress("re-ranker", 0, None)
    tables = []
    for fold, models in folds:
        blend = Blend(models, weights.weights, fold.popularity.markets, by_market)
        use = compute_item_use(fold.earlier.positives)
        tables.append(build_reranker_table(blend, use, fold.users, fold.numbers, fold.relevant))
    return fit_reranker(stack_reranker_tables(tables), k, np.random.default_rng([seed, 2]))


def _fit_folds(
    folds: Sequence[RollingFold], params: BlendParams, seed: int, on_progress: Progress
) -> list[dict[str, PreferenceModel]]:
    """The base models of each fold by name; those that do not fit the size of every fold are left out."""
    by_fold = [
        fit_models(params.models, fold.earlier, params, seed, on_progress)
        | {POPULARITY: PopularityModel(fold.popularity.scores)}
        for fold in folds
    ]
    names = [name for name in by_fold[0] if all(name in models for models in by_fold)]
    return [{name: models[name] for name in names} for models in by_fold]


def fit_models(
    names: Sequence[str],
    interactions: Interactions,
    params: BlendParams,
    seed: int,
    on_progress: Progress = quiet,
) -> dict[str, PreferenceModel]:
    """The base models of these names, without those that do not fit the size of the matrix."""
    signed, flat = interactions.signed(), interactions.histories
    models: dict[str, PreferenceModel] = {}
    for name in names:
        on_progress(name, 0, None)
        if name == NEXT_ITEM:
            n_items = signed.shape[1]
            models[name] = next_item.fit(flat.indptr, flat.items, flat.weights, n_items, params.next_item)
        elif MODELS[name].fits_size(signed):
            rng = np.random.default_rng(seed)
            models[name] = MODELS[name].fit(TrainingMatrix(signed), getattr(params, name), rng)
    return models


def fit_factors(interactions: Interactions, params: BlendParams, seed: int) -> FactorSpace:
    """The factors alone."""
    return ials.fit(interactions.signed(), params.ials, np.random.default_rng(seed))
