"""
The blend: a weighted sum of unlike preference models, and a re-ranker of its best items.

The scores of every base model are standardised over the catalogue for each user, so weights do not depend on how many
interactions a user has. `training.models.blend_weights` fits the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.models.base import PreferenceModel
from recsys.models.interactions import UserInteractions, row_numbers
from recsys.models.reranker import Reranker
from recsys.types import Floats

POPULARITY: Final = "popularity"
"""The name of the base model that scores alike for all users of a market."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """
    `base_models` by name; `weights` of each, at least one above zero. `by_market`: weights of the markets that have
    enough users to fit them; `markets` names the rows that `UserInteractions.markets` counts in.
    """

    base_models: Mapping[str, PreferenceModel]
    weights: Mapping[str, float]
    markets: tuple[str, ...] = ()
    by_market: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reranker: Reranker | None = None

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) the weighted sum of standardised scores, its best items ordered by the re-ranker."""
        total, by_model = self.weighted_sum(users)
        return total if self.reranker is None else self.reranker.rerank(total, by_model, self.base_models, users)

    def weighted_sum(self, users: UserInteractions) -> tuple[Floats, dict[str, Floats]]:
        """(q, n_items) the weighted sum, and the standardised scores of each base model."""
        total = np.zeros(users.full.shape, np.float32)
        names = (*self.markets, None)  # the last row is the world's
        rows: NDArray[np.integer] = np.full(len(users), -1) if users.markets is None else users.markets
        weights = [self.weights_for(names[row]) for row in rows]
        by_model = {name: standardise(model.scores(users)) for name, model in self.base_models.items()}
        for name, scores in by_model.items():
            total += np.array([of_user.get(name, 0.0) for of_user in weights], np.float32)[:, None] * scores
        return total, by_model

    def weights_for(self, market: str | None) -> Mapping[str, float]:
        """The weights for users of a market."""
        return self.by_market.get(market, self.weights) if market else self.weights


def standardise(scores: Floats) -> Floats:
    """(q, n) each row minus its mean, divided by its standard deviation; zeros for a row of equal scores."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred) / max(1, centred.shape[1]))
    is_flat = spread <= 1e-7 * np.maximum(np.abs(scores).max(axis=1, initial=0), 1e-30)
    centred *= np.where(is_flat, 0, 1 / np.where(is_flat, 1, spread))[:, None].astype(np.float32)
    return np.asarray(centred)


def mask_excluded(scores: Floats, users: UserInteractions) -> Floats:
    """The same array (q, n_items), changed in place: minus infinity at the items that users already know."""
    excluded = users.excluded
    scores[row_numbers(excluded), excluded.indices] = -np.inf
    return scores
