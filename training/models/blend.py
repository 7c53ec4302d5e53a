"""
Fitting the blend of a dataset: base models, their weights, and the re-ranker.

The last parts of the dataset are first held back as rolling validation folds. Base models that know only what came
before give scores, and the users' later interactions decide (`training.models.recipe`). Then the models that are needed
are fitted again to everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.models import ials
from recsys.models.base import PopularityModel, PreferenceModel
from recsys.models.blend import POPULARITY, Blend
from recsys.models.ials import FactorSpace
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.reranker import compute_item_use
from recsys.progress import Progress, quiet
from recsys.types import Space
from training.interactions import Interactions
from training.models.blend_weights import BlendWeights, Prior
from training.models.budget import SMALL, Budget
from training.models.folds import RollingFold, rolling_folds
from training.models.recipe import ChosenBlend, choose_blend
from training.models.registry import MODELS, TrainingMatrix, find_specs, training_matrix
from training.models.reranker import RerankerFit
from training.models.search import ValidationFold
from training.models.settings import FACTORS, BlendParams
from training.models.shown import shown_in_folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedBlend:
    """
    The blend as it is saved, the factors that are always saved, the settings of all base models, and what validation
    decided.
    """

    blend: Blend
    factors: FactorSpace
    params: BlendParams
    chosen: ChosenBlend

    @property
    def weights(self) -> BlendWeights:
        """The weights with their validation."""
        return self.chosen.weights

    @property
    def reranker(self) -> RerankerFit:
        """The re-ranker with its validation."""
        return self.chosen.reranker

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
    *,
    budget: Budget = SMALL,
    prior: Prior | None = None,
) -> FittedBlend:
    """
    The blend of `interactions`, which are those of the events before `before`.

    `popularity` was fitted to `interactions` with `popularity_params`, which fit it to the earlier parts too. `params`
    are the settings that a search of this budget starts from; `prior`: weights that those of the blend shrink to.
    Empty: popularity alone, where nobody came back to validate by.
    """
    folds = dataset_folds(dataset, interactions, popularity_params, params, before, seed)
    whole = training_matrix(interactions)
    specs = {name: spec for name, spec in find_specs(params).items() if spec.can_fit(whole)}
    specs[POPULARITY] = replace(specs[POPULARITY], search_space={})  # it was fitted before
    chosen = choose_blend(folds, specs, budget, params.k, seed, prior=prior, on_progress=on_progress)
    settings = {name: setting for name, setting in chosen.params.items() if name != POPULARITY}
    params = replace(params, **settings)
    needed = [name for name in (*params.models, POPULARITY) if chosen.needs(name)]
    names = [*(name for name in needed if name != POPULARITY), *({FACTORS} - {*needed})]
    models = fit_models(names, whole, params, seed, on_progress)
    factors = models[FACTORS]
    assert isinstance(factors, FactorSpace)
    if POPULARITY in needed:
        models[POPULARITY] = PopularityModel(popularity.scores)
    blend = Blend(
        {name: models[name] for name in needed},
        chosen.weights.weights,
        popularity.markets,
        chosen.by_market,
        chosen.reranker.build(chosen.names, compute_item_use(interactions.positives)),
    )
    return FittedBlend(blend=blend, factors=factors, params=params, chosen=chosen)


def refit(blend: Blend, interactions: Interactions, popularity: Popularity, params: BlendParams, seed: int) -> Blend:
    """The same blend with its base models fitted to other interactions, and the popularity fitted to those."""
    names = [name for name in blend.base_models if name != POPULARITY]
    models = fit_models(names, training_matrix(interactions), params, seed)
    if POPULARITY in blend.base_models:
        models[POPULARITY] = PopularityModel(popularity.scores)
    reranker = blend.reranker and replace(blend.reranker, item_use=compute_item_use(interactions.positives))
    return replace(blend, base_models=models, markets=popularity.markets, reranker=reranker)


def dataset_folds(
    dataset: Dataset,
    interactions: Interactions,
    popularity_params: PopularityParams,
    params: BlendParams,
    before: Millis | None,
    seed: int,
    *,
    has_shown: bool = True,
) -> tuple[ValidationFold, ...]:
    """The rolling folds of the events before `before`; `has_shown` reads what people were shown, where that is told."""
    folds = list(
        rolling_folds(
            dataset, interactions, popularity_params, before,
            share=params.validation_share, n_users=params.validation_users, seed=seed,
        )
    )  # fmt: skip
    shown = shown_in_folds(dataset, folds, before, seed) if has_shown and folds else None
    rng = np.random.default_rng(seed)
    made = [_validation_fold(fold, rng) for fold in folds]
    return tuple(made if shown is None else (replace(fold, shown=part) for fold, part in zip(made, shown, strict=True)))


def _validation_fold(fold: RollingFold, rng: np.random.Generator) -> ValidationFold:
    return ValidationFold(
        train=training_matrix(fold.earlier, PopularityModel(fold.popularity.scores)), users=fold.users,
        relevant=fold.relevant, numbers=fold.numbers, order=rng.permutation(len(fold.rows)),
        markets=tuple(fold.markets), market_names=fold.popularity.markets,
    )  # fmt: skip


def fit_models(
    names: Sequence[str],
    train: TrainingMatrix,
    params: BlendParams,
    seed: int,
    on_progress: Progress = quiet,
) -> dict[str, PreferenceModel]:
    """The base models of these names."""
    models: dict[str, PreferenceModel] = {}
    for name in names:
        on_progress(name, 0, None)
        models[name] = MODELS[name].fit(train, getattr(params, name), np.random.default_rng(seed))
    return models


def fit_factors(interactions: Interactions, params: BlendParams, seed: int) -> FactorSpace:
    """The factors alone."""
    return ials.fit(interactions.signed(), params.ials, np.random.default_rng(seed))
