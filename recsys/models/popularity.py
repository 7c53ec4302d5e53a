"""
Popularity by market: what users of a country have lately acted on, with the whole world as the fallback.

    score(market, item) = log(1 + n_items * (s + shrinkage * share) / (total + shrinkage))

s is the market's decayed positive confidence of the item and total its sum; share is the item's share worldwide. So a
market with much less confidence than `shrinkage` shows the world's list, and a large one its own. An item with exactly
its fair part of the attention scores log 2 everywhere, so markets can be compared. The logarithm keeps a hit from
drowning everything else where scores are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.types import Csr, Floats, Reals


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityParams:
    """
    `shrinkage`: the confidence at which half of a market's scores is its own. Only the `max_markets` with the most
    confidence get a list.
    """

    shrinkage: float = 1_000.0
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


def fit(positives: Csr, markets: Sequence[str | None], params: PopularityParams) -> Popularity:
    """
    Popularity from summed confidence.

    Shapes: `positives` sparse (n_items, n_markets), decayed positive confidence by the viewer's country; `markets`
            (n_markets,) names its columns, None for users of unknown country, who count for the world alone.
    Empty:  without events every score is zero.
    """
    columns = positives.tocsc()
    n_items = columns.shape[0]
    totals = np.asarray(columns.sum(axis=0), np.float64).ravel()
    world = np.asarray(columns.sum(axis=1), np.float64).ravel()
    largest = _largest_markets(markets, totals, params.max_markets)
    scores = np.zeros((len(largest) + 1, n_items), np.float32)
    if world.sum() > 0:
        share = world / world.sum()
        for row, column in enumerate(largest):
            local = columns[:, [column]].toarray().ravel()
            smoothed = (local + params.shrinkage * share) / (totals[column] + params.shrinkage)
            scores[row] = np.log1p(n_items * smoothed)
        scores[-1] = np.log1p(n_items * share)
    return Popularity(tuple(str(markets[column]) for column in largest), scores)


def _largest_markets(markets: Sequence[str | None], totals: Reals, n: int) -> list[int]:
    """The columns of the n named markets with the most confidence, in the order of their names."""
    named = [column for column, name in enumerate(markets) if name and totals[column] > 0]
    largest = sorted(named, key=lambda column: (-totals[column], str(markets[column])))[:n]
    return sorted(largest, key=lambda column: str(markets[column]))
