"""
What accuracy does not tell of a ranking: how new, surprising, varied and personal its lists are, how popular what they
hold is, and whether they are in proportion to what a person liked before.

A list is a row of `items` (q, n), as in `recsys.metrics.ranking`; every metric has one value for each person and NaN
for an empty list. `counts` (n_items,) are interactions with each item before the lists were made.
"""

import numpy as np

from recsys.metrics.ranking import EMPTY, jensen_shannon, ratio
from recsys.types import Csr, Floats, Integers, Longs, Mask, Reals


def mean_of_slots(values: Reals | Longs, items: Integers) -> Reals:
    """
    (q,) the mean over the filled slots of a value that each item has. Shapes: values (n_items,); items (q, n).

    >>> mean_of_slots(np.array([1.0, 5.0]), np.array([[0, 1], [1, -1]])).tolist()
    [3.0, 5.0]
    """
    is_shown = items != EMPTY
    return ratio(np.where(is_shown, values[np.where(is_shown, items, 0)], 0).sum(axis=1), is_shown.sum(axis=1))


def average_popularity(counts: Longs, items: Integers) -> Reals:
    """
    ARP: how often people interacted with what a list holds.

    Formula: (sum over slots of counts) / filled slots.
    Source:  Yin et al. 2012; Abdollahpouri et al. 2019.

    >>> average_popularity(np.array([10, 2]), np.array([[0, 1], [1, -1]])).tolist()
    [6.0, 2.0]
    """
    return mean_of_slots(counts, items)


def novelty(n_users_of: Longs, n_users: int, items: Integers) -> Reals:
    """
    How unknown what a list holds is, in bits (mean inverse user frequency).

    Shapes:  n_users_of (n_items,) people who interacted with an item; n_users all people; items (q, n).
    Formula: (sum over slots of -log2(max(n_users_of, 1) / n_users)) / filled slots. An item that nobody knows counts
             as one that a single person knows.
    Source:  Zhou et al. 2010.

    Of 8 people 4 know the first item (1 bit) and 1 knows the second (3 bits).

    >>> novelty(np.array([4, 1]), 8, np.array([[0, 1]])).tolist()
    [2.0]
    """
    return mean_of_slots(-np.log2(np.maximum(n_users_of, 1) / max(n_users, 1)), items)


def tail_items(counts: Longs, head_share: float = 0.8) -> Mask:
    """
    (n_items,) which items are in the long tail: all but the fewest that together have `head_share` of all interactions.

    The share of the tail in a list is `share(tail_items(counts), items)`.

    >>> tail_items(np.array([1, 50, 30, 19])).tolist()
    [True, False, False, True]
    """
    order = np.argsort(-counts, kind="stable")
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]])
    is_tail = np.empty(len(counts), np.bool_)
    is_tail[order] = before >= head_share * counts.sum()
    return is_tail


def serendipity(is_relevant: Mask, counts: Longs, items: Integers, n_eligible: int | None = None) -> Reals:
    """
    How much a list holds that is relevant and that popularity would not have shown.

    Shapes:  is_relevant and items (q, n); counts (n_items,); n_eligible items that could be shown, by default all.
    Formula: (sum over ranks i of rel_i max(p(i) - p(rank of the item by popularity), 0)) / filled slots,
             where p(i) = (n_eligible + 1 - i) / n_eligible.
    Source:  RecTools, after Ge et al. 2010. Items of equal count share the best of their ranks, and the next stands
             behind all of them (in RecTools right behind, which lifts the long tail).

    Of 4 items the third by popularity is on top and relevant: 1 - 2/4, over a page of two.

    >>> serendipity(np.array([[True, False]]), np.array([9, 8, 7, 6]), np.array([[2, 0]])).tolist()
    [0.25]
    """
    n = n_eligible or len(counts)
    descending = -np.sort(-counts)
    by_popularity = np.searchsorted(-descending, -counts) + 1
    is_shown = items != EMPTY
    gained = by_popularity[np.where(is_shown, items, 0)] - np.arange(1, items.shape[1] + 1)
    total = (np.maximum(gained, 0) * (is_relevant & is_shown)).sum(axis=1) / n
    return ratio(total, is_shown.sum(axis=1))


def intra_list_diversity(vectors: Floats | Reals, items: Integers) -> Reals:
    """
    How unlike the items of a list are: 1 less the mean cosine of all pairs.

    Shapes:  vectors (n_items, d); items (q, n).
    Formula: 1 - (|sum of unit vectors|^2 - m) / (m (m - 1)), m the items of the list that have a vector.
    Empty:   NaN below two items with a vector (a vector of zeros is none).
    Source:  Smyth and McClave 2001.

    Two of the three point the same way: cosines 1, 0 and 0.

    >>> intra_list_diversity(np.array([[2.0, 0], [1.0, 0], [0, 3.0]]), np.array([[0, 1, 2]])).round(4).tolist()
    [0.6667]
    """
    lengths = np.linalg.norm(vectors, axis=1)
    has_vector = lengths > 0
    values = np.full(len(items), np.nan)
    for row, page in enumerate(items):
        shown = page[page != EMPTY]
        shown = shown[has_vector[shown]]
        if (m := len(shown)) > 1:
            total = (vectors[shown] / lengths[shown, None]).sum(axis=0, dtype=np.float64)
            values[row] = 1 - (total @ total - m) / (m * (m - 1))
    return values


def overlap(items: Integers, n_items: int) -> Reals:
    """
    The share of a person's list that the list of another person, drawn at random, also holds. 1 is the same list for
    everybody; 0 says that no two people were shown the same.

    Shapes:  items (q, n), each item at most once in a list; returns (q,).
    Formula: (sum over the list of (lists with the item - 1)) / ((q - 1) filled slots).
    Empty:   NaN for an empty list, and where there is one person only.

    The first two share one of two items, the third shares none.

    >>> overlap(np.array([[0, 1], [0, 2], [3, 4]]), 5).tolist()
    [0.25, 0.25, 0.0]
    """
    if len(items) < 2:
        return np.full(len(items), np.nan)
    n_lists = np.bincount(items[items != EMPTY], minlength=n_items)
    return mean_of_slots((n_lists - 1) / (len(items) - 1), items)


def group_amounts(membership: Csr, items: Integers) -> Reals:
    """
    (q, g) how much of each list is of each group (a language, a topic); an item of several counts as a part in each.

    Shapes: membership (n_items, g), rows that add up to 1 or 0; items (q, n).
    """
    from scipy import sparse  # a third of the imports of a service, which asks for no calibration

    rows, slots = np.nonzero(items != EMPTY)
    shown = sparse.csr_matrix((np.ones(len(rows)), (rows, items[rows, slots])), (len(items), membership.shape[0]))
    return np.asarray((shown @ membership).toarray(), np.float64)


def miscalibration(shown: Reals, liked: Reals) -> Reals:
    """
    How far the groups of a list are from those that the person liked before, in bits: 0 proportion, 1 nothing shared.

    Shapes:  shown, liked (q, g) amounts, as of `group_amounts`; returns (q,).
    Formula: the Jensen-Shannon divergence of the two, see `jensen_shannon`.
    Empty:   NaN for an empty list, and for a person who liked nothing before.
    Source:  Steck 2018, who takes the Kullback-Leibler divergence, which a missing group makes infinite.

    >>> miscalibration(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([[5.0, 5.0], [0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    return jensen_shannon(shown, liked)
