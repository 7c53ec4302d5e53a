"""The catalogue by popularity and by age, computed once for a market and a revision; sources start from it."""

from dataclasses import dataclass

import numpy as np

from recsys.catalogue.items import Items
from recsys.models.loaded import TrainedModels
from recsys.types import Ids, rank_order


@dataclass(frozen=True, slots=True, eq=False)
class PrecomputedRankings:
    """
    The whole catalogue in the orders that sources start from: `popular` (n_items,) in one market and `newest`
    (n_items,), item numbers, best first; `of_row` (n_rows,) the item number of each artifact row, 0 = none.
    """

    popular: Ids
    newest: Ids
    of_row: Ids


def precompute_rankings(items: Items, model: TrainedModels, country: str | None) -> PrecomputedRankings:
    """The rankings of a market at one revision of the catalogue."""
    numbers = np.arange(len(items), dtype=np.int32)
    of_row = np.zeros(model.n_rows, np.int32)
    with_row = np.flatnonzero(items.row >= 0)
    of_row[items.row[with_row]] = with_row
    popular = rank_order(model.popularity_scores(country, items.row), numbers).astype(np.int32)
    newest = rank_order(items.published_at.astype(np.float64), numbers).astype(np.int32)
    return PrecomputedRankings(popular, newest, of_row)
