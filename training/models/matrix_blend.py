"""A blend fitted to a matrix by the recipe of `sanad train`: what `sanad bench` measures, and what notebooks use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from recsys.errors import ConfigError
from recsys.models.base import PreferenceModel
from recsys.models.blend import POPULARITY, Blend
from recsys.models.interactions import clean_matrix
from recsys.progress import Progress, quiet
from recsys.types import Csr
from training.models.blend_weights import BlendWeights
from training.models.budget import SMALL, Budget
from training.models.recipe import ChosenBlend, choose_blend
from training.models.registry import MODELS, ModelSpec, TrainingMatrix
from training.models.search import MAX_FOLDS, ValidationFold, matrix_folds, random_fold

DEFAULT_MODELS: Final = (POPULARITY, "graph_filter", "ials")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedMatrix:
    """Every base model that was tried, fitted to the whole matrix, and the seconds of each; the blend of all."""

    models: Mapping[str, PreferenceModel]
    fit_s: Mapping[str, float]
    chosen: ChosenBlend
    blend: Blend


def fit_matrix(
    signed: Csr,
    valid: Csr | None,
    specs: Mapping[str, ModelSpec],
    budget: Budget,
    k: int,
    seed: int,
    on_progress: Progress = quiet,
) -> FittedMatrix:
    """
    A blend of `signed`, chosen on `valid`, where it is given, and on random splits of `signed`.

    Shapes: CSR (n_users, n_items) of signed confidence. Empty: popularity alone where nothing validates.
    """
    train = TrainingMatrix(signed)
    specs = {name: spec for name, spec in specs.items() if spec.can_fit(train)}  # folds are smaller than the whole
    folds = matrix_folds(signed, valid, seed)
    more = _more_folds(signed, seed, len(folds) - (valid is not None))
    chosen = choose_blend(folds, specs, budget, k, seed, more=more, on_progress=on_progress)
    fitting = {name: spec.params for name, spec in specs.items()} if chosen.search is None else {}
    models: dict[str, PreferenceModel] = {}
    fit_s: dict[str, float] = {}
    for name, params in ({POPULARITY: MODELS[POPULARITY].params} | fitting | dict(chosen.params)).items():
        on_progress(f"fit {name}", 0, None)
        before = perf_counter()
        models[name] = MODELS[name].fit(train, params, np.random.default_rng(seed))
        fit_s[name] = perf_counter() - before
    reranker = chosen.reranker.build(chosen.names, train.item_use)
    return FittedMatrix(
        models=models, fit_s=fit_s, chosen=chosen, blend=Blend(models, chosen.weights.weights, reranker=reranker)
    )


def _more_folds(signed: Csr, seed: int, first: int) -> Iterator[ValidationFold]:
    """The random splits after the first ones: hundreds of users are too few for a blend."""
    return (random_fold(signed, seed, number) for number in range(first, MAX_FOLDS))


def fit_matrix_blend(
    signed: Csr,
    valid: Csr | None = None,
    names: Sequence[str] = DEFAULT_MODELS,
    *,
    k: int = 20,
    rng: np.random.Generator,
) -> tuple[Blend, BlendWeights]:
    """
    A blend of base models of `MODELS` with the shipped settings, and its weights with their NDCG at k on validation.

    Weights and re-ranker are fitted to `valid`, what users went on to interact with, and to random splits of `signed`;
    then the models of the blend to all of `signed`.

    Shapes: `signed` and `valid` CSR (n_users, n_items) of signed confidence; users without a positive entry in the
            validation part choose nothing.
    Empty:  popularity alone where no user has one.
    Raises: ConfigError for an unknown model or another shape of `valid`, DataError for entries that are not finite.
    """
    known = [name for name, spec in MODELS.items() if not spec.reads_order]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"found models {', '.join(unknown) or 'none'}, expected some of {', '.join(known)}")
    if valid is not None and valid.shape != signed.shape:
        raise ConfigError(f"found a validation part of shape {valid.shape}, expected {signed.shape}, as the first part")
    signed, valid = clean_matrix(signed), None if valid is None else clean_matrix(valid)
    specs = {name: MODELS[name] for name in names}
    fitted = fit_matrix(signed, valid, specs, SMALL, k, int(rng.integers(2**31)))
    needed = {name: model for name, model in fitted.models.items() if fitted.chosen.needs(name)}
    return Blend(needed, fitted.blend.weights, reranker=fitted.blend.reranker), fitted.chosen.weights
