"""
The families of collaborative models: how each is fitted, and the values its parameters are tried with.

A grid lists the values of a field in order, with the default among them: the search walks up and down from it. Fields
about refusals are only tried where there are any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from recsys.models import bpr, ials, neighbours
from recsys.models import spectral as lowpass
from recsys.models.base import Part, Popular
from recsys.models.interactions import cleaned, wanted

Params = Any  # a frozen dataclass of the family's own
Grid = Mapping[str, tuple[Any, ...]]
REFUSALS: Final = (0.0, 0.1, 0.3, 1.0)
SIZES: Final = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """
    What a model is fitted from: `signed` CSR (n_users, n_items), and `memo`, for steps that several settings of one
    family share (the same singular vectors serve every shape of the filter); only the latest is kept.
    """

    signed: Any
    memo: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """`max_items`, `max_pairs`: the largest matrix it is fitted to; None = any."""

    name: str
    params: Params
    grid: Grid
    fit: Callable[[Observed, Params, np.random.Generator], Part]
    max_items: int | None = None
    max_pairs: int | None = None

    def suits(self, signed: Any) -> bool:
        """Whether it can be fitted to a matrix of this size."""
        n_items, n_pairs = int(signed.shape[1]), int(signed.nnz)
        return n_items <= (self.max_items or n_items) and n_pairs <= (self.max_pairs or n_pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountParams:
    """`refusal`: what a refusal takes from an item's count of wishes."""

    refusal: float = 0.0


def _popularity(seen: Observed, params: CountParams, rng: np.random.Generator) -> Popular:
    positive = lowpass.occurrence(wanted(cleaned(seen.signed)))
    negative = lowpass.occurrence(wanted(cleaned(-seen.signed)))
    return Popular((np.log1p(positive) - np.float32(params.refusal) * np.log1p(negative))[None])


def _lowpass(seen: Observed, params: lowpass.LowPassParams, rng: np.random.Generator) -> Part:
    positive = wanted(seen.signed)
    key = ("waves", params.user_power, params.item_power)
    if key not in seen.memo or len(seen.memo[key][0]) < min(params.embedding_size, *positive.shape):
        matrix = lowpass.normalised(positive, params.user_power, params.item_power)
        d = max(1, min(params.embedding_size, *positive.shape))
        seen.memo.clear()
        seen.memo[key] = lowpass.singular_vectors(matrix, d, np.random.default_rng(rng.integers(2**31)))
    return lowpass.shaped(seen.memo[key], lowpass.occurrence(positive), params)


def families() -> tuple[Family, ...]:
    """Every family, popularity first."""
    return (
        Family("popularity", CountParams(), {"refusal": REFUSALS}, _popularity),
        Family(
            "filter",
            neighbours.FilterParams(),
            {
                "in_power": (0.0, 0.3, 0.5, 0.7, 0.9),
                "out_power": (0.0, 0.15, 0.3, 0.4, 0.5, 0.6),
                "user_power": (0.0, 0.2, 0.3, 0.4, 0.5, 0.7),
                "refusal": REFUSALS,
            },
            lambda seen, params, rng: neighbours.fit_filter(seen.signed, params),
        ),
        Family(
            "lowpass",
            lowpass.LowPassParams(),
            {
                "in_power": (0.0, 0.25, 0.5, 0.75),
                "out_power": (0.0, 0.15, 0.25, 0.4, 0.5),
                "tilt": (0.0, 0.5, 1.0, 2.0),
                "user_power": (0.3, 0.4, 0.5),
                "item_power": (0.2, 0.3, 0.4, 0.5),
                "refusal": REFUSALS,
                "embedding_size": SIZES,
            },
            _lowpass,
        ),
        Family(
            "ials",
            ials.IALSParams(),
            {
                "unobserved": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
                "reg": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
                "power": (0.5, 0.75, 1.0),
                "epochs": (1, 2, 3, 6, 10),
                "refusal": REFUSALS,
                "embedding_size": SIZES,
            },
            lambda seen, params, rng: ials.fit(seen.signed, params, rng),
        ),
        Family(
            "ease",
            neighbours.EASEParams(),
            {
                "reg": (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
                "user_power": (0.0, 0.25, 0.5),
                "refusal": (0.0, 0.1, 0.3, 1.0),
            },
            lambda seen, params, rng: neighbours.fit_ease(seen.signed, params),
            max_items=neighbours.EASE_LIMIT,
        ),
        Family(
            "bm25",
            neighbours.BM25Params(),
            {"b": (0.0, 0.2, 0.4, 0.75), "k1": (0.4, 1.2, 10.0), "refusal": REFUSALS},
            lambda seen, params, rng: neighbours.fit_bm25(seen.signed, params),
        ),
        Family(
            "bpr",
            bpr.BPRParams(),
            {"reg": (0.001, 0.01, 0.1)},
            lambda seen, params, rng: bpr.fit(seen.signed, params, rng),
            max_pairs=300_000,
        ),
    )
