"""
How strongly a market's people want local items: the strength, in standard deviations of a person's scores, at which
their pages are most local for at most half a per cent of recall, on choices that were held back from a ranker made for
this alone.

It goes into the manifest, and serving uses it where the market's file names no weight for `local`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from recsys.data.locality_cost import CUTS, VALIDATION, tuned
from recsys.data.places import UNKNOWN, PlacedSplit, cut, ones
from recsys.progress import Progress, quiet

K: Final = 20
FEWEST: Final = 50  # people of a market with something to judge by
MOST_PEOPLE: Final = 4_000
MOST_ITEMS: Final = 5_000  # those that people acted on most
HIGHEST: Final = 1.0  # beyond it the score would say more about places than about people
PRICE: Final = 0.005  # of recall that may be paid


def local_strengths(
    positives: Any,
    user_countries: Sequence[str | None],
    item_countries: Sequence[str | None],
    markets: Sequence[str],
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> Mapping[str, float]:
    """
    Market -> strength, for the markets that have people and local items enough to say.

    Shapes: positives scipy sparse (n_users, n_items), > 0 where a person chose an item; the others by row and column.
    """
    split = _split(positives, user_countries, item_countries)
    found: dict[str, float] = {}
    for market in markets:
        members = _members(split, market, rng)
        if len(members) < FEWEST:
            continue
        on_progress(f"strength {market}", 0, None)
        cuts = [cut(split, VALIDATION, rng) for _ in range(CUTS)]
        found[market] = min(tuned(cuts, members, K, lift_weights=(0.0,), margin=-PRICE)[0], HIGHEST)
    return found


def _split(positives: Any, user_countries: Sequence[str | None], item_countries: Sequence[str | None]) -> PlacedSplit:
    """The choices of the most popular items, by country; nothing is held out yet."""
    columns = positives.tocsr()
    popular = np.asarray((columns > 0).sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-popular, kind="stable")[:MOST_ITEMS])
    pairs = (columns[:, kept] > 0).tocoo()
    places = tuple(sorted({place for place in (*user_countries, *item_countries) if place}))
    numbers = {place: n for n, place in enumerate(places)}
    shape = (columns.shape[0], len(kept))
    return PlacedSplit(
        train=ones(pairs.row, pairs.col, shape),
        test=ones(pairs.row[:0], pairs.col[:0], shape),
        user_place=np.array([numbers.get(place or "", UNKNOWN) for place in user_countries], np.int32),
        item_place=np.array([numbers.get(item_countries[n] or "", UNKNOWN) for n in kept], np.int32),
        places=places,
        n_dropped=0,
    )


def _members(split: PlacedSplit, market: str, rng: np.random.Generator) -> Any:
    """People of the market from whom something can be held back, some of them where they are many."""
    if market not in split.places or not (split.item_place == split.places.index(market)).any():
        return np.empty(0, np.intp)
    has_enough = np.diff(split.train.indptr) >= 5
    members = np.flatnonzero((split.user_place == split.places.index(market)) & has_enough)
    return np.sort(rng.permutation(members)[:MOST_PEOPLE])
