"""
The registry of base models: how each is fitted, and the search space of its parameters.

A search space lists the values of a field in order: coordinate ascent walks up and down from where it starts. Weights
of negative feedback are only searched where there is any. The shipped settings are those of `BlendParams`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from recsys.models import bpr, ease, graph_filter, ials, item_knn, next_item, spectral
from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel, PreferenceModel
from recsys.models.blend import POPULARITY
from recsys.models.interactions import clean_matrix, select_positive
from recsys.models.reranker import compute_item_use
from recsys.types import Csr, Floats
from training.interactions import FlatHistories, Interactions
from training.models.cost import MatrixSize, measure_matrix
from training.models.settings import FACTORS, BlendParams

Params = Any  # a frozen dataclass; each model has its own
SearchSpace = Mapping[str, tuple[float, ...]]
NEGATIVE_WEIGHTS: Final = (0.0, 0.1, 0.3, 1.0)
EMBEDDING_SIZES: Final = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, eq=False)
class TrainingMatrix:
    """
    What a model is fitted to: `signed` CSR (n_users, n_items) of signed confidence; the same in order, where times are
    known; the popularity of markets, where there are any; `positives` CSR, where they are counted apart.

    `decompositions` are singular vectors that several settings of the spectral model share; only the latest are kept.
    """

    signed: Csr
    histories: FlatHistories | None = None
    popularity: PopularityModel | None = None
    positives: Csr | None = None
    decompositions: dict[tuple[float, float], tuple[Floats, Floats]] = field(default_factory=dict)

    @cached_property
    def size(self) -> MatrixSize:
        """How many interactions users and items have."""
        return measure_matrix(self.signed)

    @property
    def item_use(self) -> Floats:
        """See `compute_item_use`."""
        return compute_item_use(self.signed if self.positives is None else self.positives)


def training_matrix(interactions: Interactions, popularity: PopularityModel | None = None) -> TrainingMatrix:
    """What models are fitted to, of a dataset."""
    return TrainingMatrix(interactions.signed(), interactions.histories, popularity, interactions.positives)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """
    A base model: the `params` that it starts from, their `search_space` and `fit`. `other_starts`: a search starts from
    the best of them and `params`. `max_items` and `max_pairs` limit the matrix that it is fitted to; None = any.
    `reads_order`: it needs histories in order.
    """

    name: str
    params: Params
    search_space: SearchSpace
    fit: Callable[[TrainingMatrix, Params, np.random.Generator], PreferenceModel]
    max_items: int | None = None
    max_pairs: int | None = None
    reads_order: bool = False
    other_starts: tuple[Params, ...] = ()

    def can_fit(self, train: TrainingMatrix) -> bool:
        """Whether it can be fitted to this matrix."""
        n_items, n_pairs = int(train.signed.shape[1]), int(train.signed.nnz)
        is_small = n_items <= (self.max_items or n_items) and n_pairs <= (self.max_pairs or n_pairs)
        return is_small and not (self.reads_order and train.histories is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountParams:
    """`negative_weight`: how much an item's negative feedback takes from its count of positive interactions."""

    negative_weight: float = 0.0


def _fit_counts(train: TrainingMatrix, params: CountParams, rng: np.random.Generator) -> PopularityModel:
    if train.popularity is not None:
        return train.popularity
    positive = spectral.sum_confidence(select_positive(clean_matrix(train.signed)))
    negative = spectral.sum_confidence(select_positive(clean_matrix(-train.signed)))
    return PopularityModel((np.log1p(positive) - np.float32(params.negative_weight) * np.log1p(negative))[None])


def _fit_spectral(train: TrainingMatrix, params: spectral.SpectralParams, rng: np.random.Generator) -> LinearSpace:
    positive = select_positive(train.signed)
    key = (params.user_power, params.item_power)
    d = max(1, min(params.embedding_size, *positive.shape))
    shared = train.decompositions
    if key not in shared or len(shared[key][0]) < min(params.embedding_size, *positive.shape):
        matrix = spectral.normalise(positive, params.user_power, params.item_power)
        shared.clear()
        shared[key] = spectral.singular_vectors(matrix, d, np.random.default_rng(rng.integers(2**31)))
    return spectral.build_space(shared[key], spectral.sum_confidence(positive), params)


def _fit_next_item(train: TrainingMatrix, params: Params, rng: np.random.Generator) -> ItemItemModel:
    flat = train.histories
    assert flat is not None  # `can_fit` says so
    return next_item.fit(flat.indptr, flat.items, flat.weights, int(train.signed.shape[1]), params)


_SHIPPED: Final = BlendParams()

_SPECS: Final = (
    ModelSpec(POPULARITY, CountParams(), {"negative_weight": NEGATIVE_WEIGHTS}, _fit_counts),
    ModelSpec(
        "graph_filter",
        _SHIPPED.graph_filter,
        {
            "in_power": (0.0, 0.3, 0.5, 0.7, 0.9),
            "out_power": (0.0, 0.15, 0.3, 0.4, 0.5, 0.6),
            "user_power": (0.0, 0.2, 0.3, 0.4, 0.5, 0.7),
            "negative_weight": NEGATIVE_WEIGHTS,
        },
        lambda train, params, rng: graph_filter.fit(train.signed, params),
    ),
    ModelSpec(
        "spectral",
        _SHIPPED.spectral,
        {
            "in_power": (0.0, 0.25, 0.5, 0.75),
            "out_power": (0.0, 0.15, 0.25, 0.4, 0.5),
            "tilt": (0.0, 0.5, 1.0, 2.0),
            "user_power": (0.3, 0.4, 0.5),
            "item_power": (0.2, 0.3, 0.4, 0.5),
            "negative_weight": NEGATIVE_WEIGHTS,
            "embedding_size": EMBEDDING_SIZES,
        },
        _fit_spectral,
    ),
    ModelSpec(
        FACTORS,
        _SHIPPED.ials,
        {
            "unobserved": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
            "reg": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
            "power": (0.5, 0.75, 1.0),
            "epochs": (1, 2, 3, 6, 10),
            "negative_weight": NEGATIVE_WEIGHTS,
            "embedding_size": EMBEDDING_SIZES,
        },
        lambda train, params, rng: ials.fit(train.signed, params, rng),
        other_starts=(ials.IALSParams(),),  # less of everything: for sparse data, where the shipped one is far off
    ),
    ModelSpec(
        "ease",
        _SHIPPED.ease,
        {
            "reg": (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
            "user_power": (0.0, 0.25, 0.5),
            "negative_weight": NEGATIVE_WEIGHTS,
        },
        lambda train, params, rng: ease.fit(train.signed, params),
        max_items=ease.MAX_ITEMS,
    ),
    ModelSpec("next_item", _SHIPPED.next_item, {}, _fit_next_item, reads_order=True),
    ModelSpec(
        "bm25",
        _SHIPPED.bm25,
        {"b": (0.0, 0.2, 0.4, 0.75), "k1": (0.4, 1.2, 10.0), "negative_weight": NEGATIVE_WEIGHTS},
        lambda train, params, rng: item_knn.fit(train.signed, params),
    ),
    ModelSpec(
        "bpr",
        _SHIPPED.bpr,
        {"reg": (0.001, 0.01, 0.1)},
        lambda train, params, rng: bpr.fit(train.signed, params, rng),
        max_pairs=300_000,
    ),
)

MODELS: Final[Mapping[str, ModelSpec]] = {spec.name: spec for spec in _SPECS}
"""Every base model by name, popularity first."""


def find_specs(params: BlendParams) -> dict[str, ModelSpec]:
    """The specs of the models that `params` names, with its settings, and popularity last."""
    specs = {name: replace(MODELS[name], params=getattr(params, name)) for name in params.models}
    return specs | {POPULARITY: MODELS[POPULARITY]}
