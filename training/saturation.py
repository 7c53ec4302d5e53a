"""
What one person counts for in a total over people: the one place from which every count that ranks takes it.

A total of watches is a vote, and a vote is worth something only as long as nobody has many. So a person counts for an
item up to a cap, for all items of a creator as the square root of what goes beyond that cap, and a person whom the
platform does not name in its table of users for a quarter.
"""

from typing import Final

import numpy as np

from recsys.types import Floats, Ids, Mask, Reals

ITEM_CAP: Final = 2.5
"""The most confidence of one person that counts for one item: a watch to the end and a like."""

UNKNOWN_PERSON: Final = 0.25
"""What a person who is missing in the users table counts, beside one who is in it."""


def saturate(values: Floats | Reals, people: Ids, creators: Ids, is_known: Mask) -> Reals:
    """
    What each pair of a person and an item counts, from the person's confidence in the item.

    A person's counts for one item are at most `ITEM_CAP`. Their sum T over the items of one creator, so capped, counts
    min(T, sqrt(ITEM_CAP * T)), shared out in proportion. So n items of a creator count at most ITEM_CAP * sqrt(n).

    Shapes: `values` (n,) >= 0, one for each pair; `people` and `creators` (n,) numbers; `is_known` (n,) whether the
            person is in the users table; returns (n,), nowhere above `values`.
    """
    capped = np.minimum(np.asarray(values, np.float64), ITEM_CAP)
    if not len(capped):
        return capped
    pairs = people.astype(np.int64) * (int(creators.max()) + 1) + creators
    _, pair = np.unique(pairs, return_inverse=True)
    totals = np.bincount(pair, capped)[pair]
    share = np.sqrt(ITEM_CAP / np.maximum(totals, ITEM_CAP))
    return np.asarray(capped * share * np.where(is_known, 1.0, UNKNOWN_PERSON))
