"""A blend fitted to a matrix with default parameters, for notebooks. `training.models.search` chooses parameters."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from recsys.errors import ConfigError
from recsys.models.base import PreferenceModel
from recsys.models.blend import POPULARITY, Blend
from recsys.models.interactions import clean_matrix, interactions_from_matrix, select_positive
from recsys.types import Csr
from training.models.blend_weights import BlendWeights, build_table, fit_weights
from training.models.registry import MODELS, TrainingMatrix
from training.models.splits import split_entries

DEFAULT_MODELS: Final = (POPULARITY, "graph_filter", "ials")
VALIDATION_SHARE: Final = 0.2
"""Of each user's entries, where no validation part is given."""


def fit_matrix_blend(
    signed: Csr,
    valid: Csr | None = None,
    names: Sequence[str] = DEFAULT_MODELS,
    *,
    k: int = 20,
    rng: np.random.Generator,
) -> tuple[Blend, BlendWeights]:
    """
    A blend of base models of `MODELS`, and its weights with their NDCG at k on validation.

    The weights are fitted to `valid`, what users went on to interact with. Without it, models are fitted to a random
    four fifths of each user's entries, weights to the rest, and the weighted models again to all of `signed`.

    Shapes: `signed` and `valid` CSR (n_users, n_items) of signed confidence; users without a positive entry in the
            validation part choose nothing.
    Empty:  popularity alone where no user has one.
    Raises: ConfigError for an unknown model or another shape of `valid`, DataError for entries that are not finite.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        raise ConfigError(f"found models {', '.join(unknown) or 'none'}, expected some of {', '.join(MODELS)}")
    if valid is not None and valid.shape != signed.shape:
        raise ConfigError(f"found a validation part of shape {valid.shape}, expected {signed.shape}, as the first part")
    signed = clean_matrix(signed)
    train, held_out = split_entries(signed, VALIDATION_SHARE, rng) if valid is None else (signed, clean_matrix(valid))
    models = _fit_models(names, train, rng)
    relevant = select_positive(held_out)
    rows = np.flatnonzero(np.diff(relevant.indptr))
    weights = fit_weights(build_table(models, interactions_from_matrix(train)[rows], relevant[rows], k), k)
    weighted = [*weights.weights]
    is_fitted = valid is not None and all(name in models for name in weighted)
    fitted = {name: models[name] for name in weighted} if is_fitted else _fit_models(weighted, signed, rng)
    return Blend(fitted, weights.weights), weights


def _fit_models(names: Sequence[str], signed: Csr, rng: np.random.Generator) -> dict[str, PreferenceModel]:
    matrix = TrainingMatrix(signed)
    return {name: MODELS[name].fit(matrix, MODELS[name].params, rng) for name in names}
