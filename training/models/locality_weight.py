"""
The locality weight of a market, in standard deviations of a user's scores: the one at which its users' pages are most
local for at most half a per cent of what they would watch, by the estimate of `yardstick`. Where a log does not tell
what users were shown, it is half a per cent of recall, on choices that were held out.

It goes into the manifest. Serving uses it where the market's policy file names no weight for `local`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from recsys.data.locality_cost import LOCALITY_WEIGHTS, N_SPLITS, VALIDATION_SHARE, tune_additive_weight
from recsys.data.locality_split import MIN_ITEMS, UNKNOWN, LocalitySplit, binary_matrix, hold_out_share
from recsys.metrics import is_probability
from recsys.models.interactions import select_positive
from recsys.progress import Progress, quiet
from recsys.types import Csr, Rows
from training.models.watch_table import WatchTable

K: Final = 20
MIN_USERS: Final = 50
"""Users of a market with held-out choices."""

MAX_USERS: Final = 4_000
MAX_ITEMS: Final = 5_000
"""The items that users acted on most."""

MAX_WEIGHT: Final = 1.0
"""With a larger weight the score would depend on the place more than on the user."""

MAX_LOSS: Final = 0.005
"""Of recall, or of the estimated watch fraction."""

RECALL: Final = "recall as exposed"


def fit_locality_weights(
    positives: Csr,
    user_countries: Sequence[str | None],
    item_countries: Sequence[str | None],
    markets: Sequence[str],
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> Mapping[str, float]:
    """
    Market -> locality weight, for the markets with enough users and local items.

    Shapes: positives CSR (n_users, n_items), > 0 where a user chose an item; the countries by row and column.
    """
    split = _split(positives, user_countries, item_countries)
    weights: dict[str, float] = {}
    for market in markets:
        members = _members(split, market, rng)
        if len(members) < MIN_USERS:
            continue
        on_progress(f"locality weight {market}", 0, None)
        splits = [hold_out_share(split, VALIDATION_SHARE, rng) for _ in range(N_SPLITS)]
        weights[market] = min(tune_additive_weight(splits, members, K, max_loss=MAX_LOSS), MAX_WEIGHT)
    return weights


def watched_locality_weight(
    blend: WatchTable, user_countries: Sequence[str | None], item_countries: Sequence[str | None], market: str
) -> float | None:
    """
    The largest weight up to which no smaller one loses more than `MAX_LOSS` of the estimated watch fraction; None with
    fewer than `MIN_USERS` users of the market whose log tells how likely it was that they were shown something, where
    they watched nothing of it, or without local items.

    Shapes: `blend` of one model; the countries by user number and by item.
    """
    is_local = np.array([country == market for country in item_countries])
    members = blend.take(np.flatnonzero([user_countries[number] == market for number in blend.numbers.tolist()]))
    is_counted = is_probability(members.propensity)
    n_users = len(np.unique(members.numbers[members.rows[is_counted]]))
    if n_users < MIN_USERS or not members.response[is_counted].any() or not is_local.any():
        return None
    table = replace(
        members, model_names=("blend", "local"),
        drawn=np.stack([members.drawn[:, :, 0], is_local[members.items]], axis=2).astype(np.float32),
        shown=np.stack([members.shown[:, 0], is_local[members.shown_items]], axis=1).astype(np.float32),
    )  # fmt: skip
    best, limit = 0.0, (1 - MAX_LOSS) * table.measure(np.array([1.0, 0.0], np.float32)).value
    for weight in (weight for weight in LOCALITY_WEIGHTS if 0 < weight <= MAX_WEIGHT):
        if table.measure(np.array([1.0, weight], np.float32)).value < limit:
            break
        best = weight
    return best


def _split(positives: Csr, user_countries: Sequence[str | None], item_countries: Sequence[str | None]) -> LocalitySplit:
    """The choices of the most popular items, by country; nothing is held out yet."""
    popular = np.bincount(positives.indices[positives.data > 0], minlength=positives.shape[1])
    items = np.sort(np.argsort(-popular, kind="stable")[:MAX_ITEMS])
    pairs = select_positive(positives[:, items]).tocoo()
    places = tuple(sorted({place for place in (*user_countries, *item_countries) if place}))
    numbers = {place: n for n, place in enumerate(places)}
    shape = (positives.shape[0], len(items))
    return LocalitySplit(
        train=binary_matrix(pairs.row, pairs.col, shape),
        test=binary_matrix(pairs.row[:0], pairs.col[:0], shape),
        user_place=np.array([numbers.get(place or "", UNKNOWN) for place in user_countries], np.int32),
        item_place=np.array([numbers.get(item_countries[n] or "", UNKNOWN) for n in items], np.int32),
        places=places,
        n_dropped=0,
    )


def _members(split: LocalitySplit, market: str, rng: np.random.Generator) -> Rows:
    """Users of the market with enough items to hold some out; at most `MAX_USERS` at random."""
    if market not in split.places or not (split.item_place == split.places.index(market)).any():
        return np.empty(0, np.intp)
    has_enough = np.diff(split.train.indptr) >= MIN_ITEMS
    members = np.flatnonzero((split.user_place == split.places.index(market)) & has_enough)
    return np.sort(rng.permutation(members)[:MAX_USERS])
