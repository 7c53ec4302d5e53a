"""
A blend of spaces and popularity in closed form: the score of any item without scoring the catalogue.

The blend is the weighted sum of scores that are standardised over the catalogue, standardised again over the items with
a positive interaction. Means and spreads of inner products follow from the means and covariances of the vectors, which
are worked out once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from recsys.models.base import PopularityModel
from recsys.models.blend import Blend
from recsys.models.popularity import Popularity
from recsys.types import Floats, Ids, Mask, Reals, Space

_LEAST_SPREAD: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of vectors (n, d): the mean (d,) and the covariance (d, d) over some items."""

    mean: Reals
    covariance: Reals

    def of(self, coefficients: Reals) -> tuple[float, float]:
        """The mean and the standard deviation of inner products with coefficients (d,)."""
        variance = float(coefficients @ self.covariance @ coefficients)
        return float(self.mean @ coefficients), max(variance, 0.0) ** 0.5


@dataclass(frozen=True, slots=True, eq=False)
class UserBlend:
    """The blend for one user: an item's score is the sum of its inner products, its popularity and the offset."""

    vectors: Mapping[str, Floats]
    popularity_weight: float
    market: int  # the row of the popularity by market
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class LinearBlend:
    """
    `spaces` by name, and `popularity` by market (n_markets + 1, n_items), zeros where the blend has none. `is_known`
    (n_items,) has a positive interaction. Moments are of the vectors of all spaces side by side, with a market's
    popularity as the last number: `everywhere` over the catalogue and `among_known`, one of each for every market.
    """

    blend: Blend
    spaces: Mapping[str, Space]
    popularity: Floats
    markets: tuple[str, ...]
    is_known: Mask
    everywhere: tuple[Moments, ...]
    among_known: tuple[Moments, ...]

    def for_user(self, vectors: Mapping[str, Floats], country: str | None) -> UserBlend:
        """The blend for a user with these vectors (d,) by base model."""
        market = self.markets.index(country) if country in self.markets else len(self.markets)
        weights = self.blend.weights_for(country if country in self.markets else None)
        everywhere, among_known = self.everywhere[market], self.among_known[market]
        coefficients = np.zeros(len(everywhere.mean))
        start = 0
        popular = (self._popularity_weight(weights), np.ones(1, np.float32))
        for weight, vector in (*((weights.get(name, 0.0), vectors[name]) for name in self.spaces), popular):
            alone = np.zeros(len(coefficients))
            alone[start : start + len(vector)] = vector
            _, spread = everywhere.of(alone)
            if spread > _LEAST_SPREAD * max(float(np.abs(vector).max(initial=0)), 1e-30):
                coefficients += alone * (weight / spread)
            start += len(vector)
        mean, spread = among_known.of(coefficients)
        coefficients /= max(spread, _LEAST_SPREAD)
        offset = -mean / max(spread, _LEAST_SPREAD)  # what the parts' means add is in `mean` as well, and falls away
        return UserBlend(self._split(coefficients), float(coefficients[-1]), market, offset)

    def scores(self, user: UserBlend, rows: Ids | slice = slice(None)) -> Floats:
        """(n,) scores of artifact rows, none below 0; NaN for items without a positive interaction."""
        at = rows if isinstance(rows, slice) else np.asarray(rows, np.intp)  # NumPy takes rows of its own kind faster
        scores = user.popularity_weight * self.popularity[user.market][at] + np.float32(user.offset)
        for name, vector in user.vectors.items():
            scores += np.asarray(self.spaces[name].item_vectors)[at] @ vector
        return np.where(self.is_known[at], scores, np.nan).astype(np.float32)

    def _popularity_weight(self, weights: Mapping[str, float]) -> float:
        names = [name for name, model in self.blend.base_models.items() if isinstance(model, PopularityModel)]
        return sum(weights.get(name, 0.0) for name in names)

    def _split(self, coefficients: Reals) -> dict[str, Floats]:
        split, start = {}, 0
        for name, space in self.spaces.items():
            d = space.item_vectors.shape[1]
            split[name] = coefficients[start : start + d].astype(np.float32)
            start += d
        return split


def linear_blend(blend: Blend, popularity: Popularity) -> LinearBlend | None:
    """The blend in closed form; None for one with other kinds of models, with a re-ranker, or without items."""
    is_known = popularity.scores[-1] > 0
    others = {name: model for name, model in blend.base_models.items() if not isinstance(model, PopularityModel)}
    is_linear = all(hasattr(model, "item_vectors") for model in others.values())
    if blend.reranker is not None or not is_linear or not is_known.any():
        return None
    spaces = {name: cast(Space, model) for name, model in others.items()}
    by_market = [model for model in blend.base_models.values() if isinstance(model, PopularityModel)]
    scores = np.asarray(by_market[0].by_market if by_market else np.zeros_like(popularity.scores))
    columns = [np.asarray(space.item_vectors, np.float32) for space in spaces.values()]
    vectors: Floats = np.hstack([np.empty((len(is_known), 0), np.float32), *columns])
    return LinearBlend(
        blend=blend,
        spaces=spaces,
        popularity=scores,
        markets=popularity.markets,
        is_known=is_known,
        everywhere=_moments(vectors, scores),
        among_known=_moments(vectors[is_known], scores[:, is_known]),
    )


def _moments(vectors: Floats, popularity: Floats) -> tuple[Moments, ...]:
    """The moments of vectors (n, d) with each row of a popularity (n_markets + 1, n) as their last number."""
    n, d = vectors.shape
    mean = np.append(vectors.mean(axis=0, dtype=np.float64), 0.0)
    products = np.zeros((d + 1, d + 1))
    products[:d, :d] = vectors.T @ vectors / np.float32(n)
    moments = []
    for row, with_vectors in zip(popularity, popularity @ vectors / np.float32(n), strict=True):
        mean[d] = row.mean(dtype=np.float64)
        products[d, :d] = products[:d, d] = with_vectors
        products[d, d] = float(row @ row) / n
        moments.append(Moments(mean.copy(), products - np.outer(mean, mean)))
    return tuple(moments)
