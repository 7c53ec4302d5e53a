"""
Popularity by market: what people of a country have lately acted on, with the whole world as the fallback.

    score(market, item) = log(1 + n_items * (s + pull * share) / (total + pull))

s is the market's decayed positive confidence of the item and total its sum; share is the item's share worldwide. So
a market with much less confidence than `pull` shows the world's list, a large one its own, and an item with exactly
its fair part of the attention scores log 2 everywhere: markets can be compared. The logarithm keeps a hit from
drowning everything else where scores are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityParams:
    """
    `pull` is how much confidence a market needs to stand half on its own; only the `max_markets` with the most
    confidence get a list.
    """

    pull: float = 1_000.0
    max_markets: int = 32


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """`scores` (len(markets) + 1, n_items) float32 >= 0; the last row is the whole world."""

    markets: tuple[str, ...]
    scores: Floats

    def of(self, market: str | None) -> Floats:
        """(n_items,) the scores of a market; the world's for an unknown one."""
        row = self.markets.index(market) if market in self.markets else len(self.markets)
        return np.asarray(self.scores[row])


def fit(positives: Any, markets: Sequence[str | None], params: PopularityParams) -> Popularity:
    """
    Popularity from events already added up.

    Shapes: `positives` scipy sparse (n_items, n_markets), decayed positive confidence by the viewer's country;
            `markets` (n_markets,) names its columns, None for people of unknown country: the world alone.
    Empty:  without events every score is zero.
    """
    columns = positives.tocsc()
    n_items = columns.shape[0]
    totals = np.asarray(columns.sum(axis=0), np.float64).ravel()
    world = np.asarray(columns.sum(axis=1), np.float64).ravel()
    kept = _largest(markets, totals, params.max_markets)
    scores = np.zeros((len(kept) + 1, n_items), np.float32)
    if world.sum() > 0:
        share = world / world.sum()
        for row, column in enumerate(kept):
            own = columns[:, [column]].toarray().ravel()
            scores[row] = np.log1p(n_items * (own + params.pull * share) / (totals[column] + params.pull))
        scores[-1] = np.log1p(n_items * share)
    return Popularity(tuple(str(markets[column]) for column in kept), scores)


def _largest(markets: Sequence[str | None], totals: NDArray[np.float64], most: int) -> list[int]:
    """The columns of the named markets with the most confidence, in the order of their names."""
    named = [column for column, name in enumerate(markets) if name and totals[column] > 0]
    best = sorted(named, key=lambda column: (-totals[column], str(markets[column])))[:most]
    return sorted(best, key=lambda column: str(markets[column]))
