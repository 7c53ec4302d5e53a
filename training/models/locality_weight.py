"""
The locality weight of a market, in standard deviations of a user's scores: the one at which its users' pages are most
local for at most half a per cent of recall, on choices that were held out.

It goes into the manifest. Serving uses it where the market's policy file names no weight for `local`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from recsys.data.locality_cost import CUTS, VALIDATION, tuned
from recsys.data.places import UNKNOWN, PlacedSplit, cut, ones
from recsys.progress import Progress, quiet

K: Final = 20
MIN_USERS: Final = 50
"""Users of a market with held-out choices."""

MAX_USERS: Final = 4_000
MAX_ITEMS: Final = 5_000
"""The items that users acted on most."""

MAX_WEIGHT: Final = 1.0
"""With a larger weight the score would depend on the place more than on the user."""

MAX_LOSS: Final = 0.005
"""Of recall."""


def fit_locality_weights(
    positives: Any,
    user_countries: Sequence[str | None],
    item_countries: Sequence[str | None],
    markets: Sequence[str],
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> Mapping[str, float]:
    """
    Market -> locality weight, for the markets with enough users and local items.

    Shapes: positives scipy sparse (n_users, n_items), > 0 where a user chose an item; the countries by row and column.
    """
    split = _split(positives, user_countries, item_countries)
    weights: dict[str, float] = {}
    for market in markets:
        members = _members(split, market, rng)
        if len(members) < MIN_USERS:
            continue
        on_progress(f"locality weight {market}", 0, None)
        cuts = [cut(split, VALIDATION, rng) for _ in range(CUTS)]
        weights[market] = min(tuned(cuts, members, K, lift_weights=(0.0,), margin=-MAX_LOSS)[0], MAX_WEIGHT)
    return weights


def _split(positives: Any, user_countries: Sequence[str | None], item_countries: Sequence[str | None]) -> PlacedSplit:
    """The choices of the most popular items, by country; nothing is held out yet."""
    columns = positives.tocsr()
    popular = np.asarray((columns > 0).sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-popular, kind="stable")[:MAX_ITEMS])
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
    return np.sort(rng.permutation(members)[:MAX_USERS])
