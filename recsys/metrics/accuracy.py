"""
Metrics of accuracy beside `recall` and `ndcg`, one value for each person, and all of them at several cut-offs at once.

Symbols: rel_i is 1 when the item at rank i (from 1) is relevant to the person and else 0; R is the number of the
person's relevant items, listed or not; k is the cut-off. A list shorter than k is as one filled up with misses.
Everybody with nothing relevant is NaN in every metric, so that all means are over the same people.

With `weights`, a relevant item counts by the inverse of the propensity with which the old feed showed it: what was
rarely shown was also rarely found relevant (Yang et al. 2018, "Unbiased Offline Recommender Evaluation for
Missing-Not-At-Random Implicit Feedback"). Equal weights give the plain metric.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from recsys.metrics.counterfactual import is_probability
from recsys.metrics.ranking import EMPTY, cut_off, ndcg, ratio, recall
from recsys.types import Floats, Integers, Longs, Mask, Reals

Metric = Callable[[Mask, Integers, int], Reals]


def precision(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    The share of the first k places that hold a relevant item.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: (sum of rel_i, i <= k) / k. Also for a list shorter than k: an empty place is no success.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.

    Hits at ranks 1 and 3: 2 of 4 places.

    >>> precision(np.array([[True, False, True, False]]), np.array([3]), 4).tolist()
    [0.5]
    """
    return _known(_hits(is_relevant, k) / k, n_relevant)


def hit_rate(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    Whether any relevant item is among the first k: 1 or 0.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,).
    Formula: max of rel_i, i <= k.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.

    >>> hit_rate(np.array([[False, True], [False, False]]), np.array([1, 1]), 2).tolist()
    [1.0, 0.0]
    """
    return _known((_hits(is_relevant, k) > 0).astype(np.float64), n_relevant)


def average_precision(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    The mean of the precision at each relevant item; its mean over people is MAP.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: (sum over i <= k of rel_i * precision at i) / R. Relevant items beyond k count as 0.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.

    Hits at 1 and 3 of three relevant: (1/1 + 2/3) / 3.

    >>> average_precision(np.array([[True, False, True, False]]), np.array([3]), 4).round(4).tolist()
    [0.5556]
    """
    hits = is_relevant[:, : cut_off(k)]
    ranks = np.arange(1, hits.shape[1] + 1)
    found = np.cumsum(hits, axis=1, dtype=np.int32) * hits
    return ratio(found @ (1 / ranks), n_relevant)


def reciprocal_rank(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    One over the rank of the first relevant item, 0 when none is among the first k; its mean over people is MRR.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: max over i <= k of rel_i / i.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.

    >>> reciprocal_rank(np.array([[False, True, True], [False, False, False]]), np.array([2, 1]), 3).tolist()
    [0.5, 0.0]
    """
    hits = is_relevant[:, : cut_off(k)]
    if not hits.shape[1]:
        return _known(np.zeros(len(hits)), n_relevant)
    first = hits.argmax(axis=1)
    return _known(np.where(hits[np.arange(len(hits)), first], 1 / (first + 1), 0.0), n_relevant)


def ndcg_full_page(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    NDCG whose ideal is a full page: k hits on top, however few relevant items the person has.

    `ndcg` has the other ideal, min(k, R) hits. This one weighs people with many relevant items more.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: (sum over i <= k of rel_i / log2(i + 1)) / (sum over i <= k of 1 / log2(i + 1)).
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.

    One relevant item, on top of two places: 1 / (1 + 1/log2(3)), where `ndcg` is 1.

    >>> ndcg_full_page(np.array([[True, False]]), np.array([1]), 2).round(4).tolist()
    [0.6131]
    """
    hits = is_relevant[:, : cut_off(k)]
    return _known(hits @ _discounts(hits.shape[1]) / _discounts(k).sum(), n_relevant)


def ranked_auc(is_relevant: Mask, n_relevant: Integers, n_listed: Integers, n_items: Integers | int) -> Reals:
    """
    The chance that a random relevant item stands above a random other one, where all that a list leaves out shares the
    places below it (ties count half). `auc` is the same from scores of everything.

    Shapes:  is_relevant (q, n) best first; n_relevant, n_listed (q,) filled places; n_items (q,) or one number, all
             that could be listed; returns (q,) in [0, 1].
    Formula: with O = n_items - R others, of which U are not listed, and M relevant ones not listed:
             (sum over hits of (others below it in the list + U) + M U / 2) / (R O).
    Empty:   NaN for a person with nothing relevant, or nothing else.

    Four items, the relevant one at rank 2 of 2: of three others one is above and two are below.

    >>> ranked_auc(np.array([[False, True]]), np.array([1]), np.array([2]), 4).round(4).tolist()
    [0.6667]
    """
    ranks = np.arange(1, is_relevant.shape[1] + 1)
    n_hits = is_relevant.sum(axis=1)
    hits_so_far = np.cumsum(is_relevant, axis=1)
    others_above = ((ranks - hits_so_far) * is_relevant).sum(axis=1)
    others = n_items - np.asarray(n_relevant)
    unlisted = others - (n_listed - n_hits)
    above = n_hits * others - others_above + (n_relevant - n_hits) * unlisted / 2
    return ratio(above, n_relevant * others)


def inverse_propensity(propensity: Floats | Reals) -> Reals:
    """
    The weight of a relevant item by the propensity with which it was shown; 0 where that is no probability.

    >>> inverse_propensity(np.array([0.5, 1.0, 0.0, np.nan])).tolist()
    [2.0, 1.0, 0.0, 0.0]
    """
    return np.divide(1.0, propensity, out=np.zeros(np.shape(propensity)), where=is_probability(propensity))


def weighted_recall(weights: Reals, all_weights: Reals, k: int) -> Reals:
    """
    `recall` in which each relevant item counts by its weight.

    Shapes:  weights (q, n) of the relevant items in their places, 0 for a miss; all_weights (q, m) of all that is
             relevant to the person in any order, filled up with 0; returns (q,) in [0, 1].
    Formula: (sum of w_i, i <= k) / (sum of all_weights).
    Empty:   NaN for a person without weights.
    Raises:  ValueError when k < 1.

    A popular item was found (weight 1), one that is shown a quarter as often was missed (weight 4).

    >>> weighted_recall(np.array([[1.0, 0.0]]), np.array([[1.0, 4.0]]), 2).tolist()
    [0.2]
    """
    return ratio(weights[:, : cut_off(k)].sum(axis=1), all_weights.sum(axis=1))


def weighted_ndcg(weights: Reals, all_weights: Reals, k: int) -> Reals:
    """
    `ndcg` in which the gain of each relevant item is its weight.

    Shapes:  as `weighted_recall`.
    Formula: (sum over i <= k of w_i / log2(i + 1)) / (the same with all_weights in descending order).
    Empty:   NaN for a person without weights.
    Raises:  ValueError when k < 1.

    Found on top with weight 1; the ideal has 4 on top and 1 below: 1 / (4 + 1/log2(3)).

    >>> weighted_ndcg(np.array([[1.0, 0.0]]), np.array([[1.0, 4.0]]), 2).round(4).tolist()
    [0.2159]
    """
    ideal = -np.sort(-all_weights, axis=1)[:, : cut_off(k)]
    shown = weights[:, :k]
    return ratio(shown @ _discounts(shown.shape[1]), ideal @ _discounts(ideal.shape[1]))


def weighted_average_precision(weights: Reals, all_weights: Reals, k: int) -> Reals:
    """
    `average_precision` in which each relevant item counts by its weight.

    Shapes:  as `weighted_recall`.
    Formula: (sum over i <= k of w_i * precision at i) / (sum of all_weights); the precision itself is not weighted.
    Empty:   NaN for a person without weights.
    Raises:  ValueError when k < 1.

    Weights 1 at rank 1 and 4 at rank 3: (1 * 1/1 + 4 * 2/3) / 5.

    >>> weighted_average_precision(np.array([[1.0, 0.0, 4.0]]), np.array([[4.0, 1.0]]), 3).round(4).tolist()
    [0.7333]
    """
    shown = weights[:, : cut_off(k)]
    precisions = np.cumsum(shown > 0, axis=1) / np.arange(1, shown.shape[1] + 1)
    return ratio((shown * precisions).sum(axis=1), all_weights.sum(axis=1))


ACCURACY: Final[Mapping[str, Metric]] = {
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "ndcg": ndcg,
    "ndcg_full_page": ndcg_full_page,
}
"""Metrics of what is relevant among the first k, by the names of reports."""


def score_lists(
    is_relevant: Mask, n_relevant: Integers, ks: Sequence[int], names: Sequence[str] = tuple(ACCURACY)
) -> dict[str, Reals]:
    """
    `name@k` -> (q,) values of several metrics at several cut-offs.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,).
    Raises:  ValueError for a name that is not in `ACCURACY`, or a k below 1.

    >>> score_lists(np.array([[False, True]]), np.array([1]), (1, 2), ("recall", "mrr"))
    {'recall@1': array([0.]), 'recall@2': array([1.]), 'mrr@1': array([0.]), 'mrr@2': array([0.5])}
    """
    if unknown := [name for name in names if name not in ACCURACY]:
        raise ValueError(f"found the metric {unknown[0]!r}, expected one of {', '.join(ACCURACY)}")
    return {f"{name}@{k}": ACCURACY[name](is_relevant, n_relevant, k) for name in names for k in ks}


def find_hits(items: Integers, relevant: Integers, n_relevant: Integers) -> Mask:
    """
    (q, n) which places hold a relevant item.

    Shapes: items (q, n) item numbers, `EMPTY` where a list is short; relevant (sum of n_relevant,) the relevant items
            of the first person, then of the second, and so on; n_relevant (q,) how many each has.
    Raises: ValueError when the numbers do not add up.

    >>> find_hits(np.array([[7, 8], [7, -1]]), np.array([8, 9, 7]), np.array([2, 1])).tolist()
    [[False, True], [True, False]]
    """
    if len(n_relevant) != len(items) or int(np.sum(n_relevant)) != len(relevant):
        raise ValueError(
            f"found {len(items)} lists, {len(n_relevant)} counts that add up to {int(np.sum(n_relevant))}, and "
            f"{len(relevant)} relevant items, expected a count for each list and as many items as they add up to"
        )
    stride = 1 + max(int(items.max(initial=EMPTY)), int(relevant.max(initial=EMPTY)))
    wanted = np.sort(np.repeat(np.arange(len(items)), n_relevant) * stride + relevant)
    if not len(wanted):
        return np.zeros(items.shape, np.bool_)
    return np.concatenate([_among(items, start, wanted, stride) for start in range(0, len(items), _BLOCK)])


_BLOCK: Final = 50_000  # lists at once: their keys fit the processor's cache


def _among(items: Integers, start: int, wanted: Longs, stride: int) -> Mask:
    part = items[start : start + _BLOCK]
    keys = (np.arange(start, start + len(part)) * stride)[:, None] + part
    low, high = np.searchsorted(wanted, [start * stride, (start + len(part)) * stride])
    near = wanted[low:high]
    if not len(near):
        return np.zeros(part.shape, np.bool_)
    found = near[np.minimum(np.searchsorted(near, keys), len(near) - 1)] == keys
    return np.asarray(found & (part != EMPTY))


def _hits(is_relevant: Mask, k: int) -> Longs:
    return np.asarray(np.count_nonzero(is_relevant[:, : cut_off(k)], axis=1), np.int64)


def _known(values: Reals, n_relevant: Integers) -> Reals:
    return np.asarray(np.where(np.asarray(n_relevant) > 0, values, np.nan), np.float64)


def _discounts(k: int) -> Reals:
    return np.asarray(1 / np.log2(np.arange(2, k + 2)), np.float64)
