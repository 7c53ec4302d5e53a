"""
What people act on now, beside what an artifact learned: popularity of the last days, shrunk to the artifact's.

    p'(market, item) = (votes + shrinkage * p) / (all votes + shrinkage)

p is the item's share of a market's attention in the artifact, 0 for an item that came later. Votes are decayed and
counted in `recsys.services.live_votes`. Without any the scores are the artifact's to the bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.catalogue.items import Items
from recsys.models.loaded import TrainedModels
from recsys.types import Floats, Ids, Reals

SHRINKAGE: Final = 1_000.0
"""The votes at which half of a market's popularity is that of now: as many as training asks of a market."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LiveVotes:
    """
    Decayed votes of people. `version` 0 = none were counted yet.

    Shapes: `item_nos` (m,) ascending; `by_country` (m,) of the people of each country, None = of everybody.
    """

    version: int = 0
    item_nos: Ids = field(default_factory=lambda: np.empty(0, np.int32))
    by_country: Mapping[str | None, Reals] = field(default_factory=dict)


def popularity_now(items: Items, model: TrainedModels, country: str | None, votes: LiveVotes) -> Floats:
    """(n_items,) standardised popularity in a market, None = the world; NaN for items of which nothing is known."""
    learned = model.popularity_scores(country, items.row)
    counts = votes.by_country.get(country)
    if counts is None or not counts.sum():
        return learned
    is_there = votes.item_nos < len(items)
    item_nos, counts = votes.item_nos[is_there], counts[is_there]
    n_rows, known = max(model.n_rows, 1), np.flatnonzero(items.row >= 0)
    share = np.zeros(len(items))
    if model.n_rows:
        share[known] = np.expm1(model.popularity.of(country).astype(np.float64))[items.row[known]] / n_rows
    now = SHRINKAGE * share
    now[item_nos] += counts
    scores = (np.log1p(n_rows * now / (counts.sum() + SHRINKAGE)) - model.popularity_mean) / model.popularity_spread
    is_known = items.row >= 0
    is_known[item_nos] = True
    return np.where(is_known, scores, np.nan).astype(np.float32)
