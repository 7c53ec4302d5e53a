"""
Metrics of rankings, one value for each person; a report takes the mean last.

A ranking is a table `items` (q, n): for each of q people the items shown, best first, as item numbers >= 0, and `EMPTY`
where a page is short. Where a metric is undefined for a person (nothing relevant, an empty page) the value is NaN,
never 0. `n_counted` says how many people are left, and belongs beside every mean.
"""

from typing import Final

import numpy as np

from recsys.types import Floats, Integers, Mask, Reals

EMPTY: Final = -1
"""Fills the end of a page that is shorter than the others."""


def recall(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    The share of each person's relevant items that is among the first k.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,) relevant items in all; returns (q,) in [0, 1].
    Formula: hits among the first k / n_relevant. Not divided by min(k, n_relevant): with more than k relevant items
             even a perfect ranking stays below 1, as in the published tables.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.
    """
    hits = is_relevant[:, : cut_off(k)].sum(axis=1)
    return ratio(hits, n_relevant)


def ndcg(is_relevant: Mask, n_relevant: Integers, k: int) -> Reals:
    """
    Normalised discounted cumulative gain of each person, binary relevance.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: sum over ranks i <= k of rel_i / log2(i + 1), divided by its value for min(k, n_relevant) hits on top.
    Empty:   NaN for a person with nothing relevant.
    Source:  Järvelin and Kekäläinen 2002.
    Raises:  ValueError when k < 1.
    """
    k = min(cut_off(k), max(is_relevant.shape[1], int(n_relevant.max(initial=0))))  # ranks beyond hold nothing
    discounts = 1 / np.log2(np.arange(2, k + 2))
    hits = is_relevant[:, :k]
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(n_relevant, k)]
    return ratio(hits @ discounts[: hits.shape[1]], ideal)


def auc(scores: Floats | Reals, is_relevant: Mask) -> float:
    """
    The chance that a random relevant item scores above a random other one; ties count half.

    Shapes:  scores (n,), NaN = unknown and below all; is_relevant (n,).
    Formula: (mean rank of the relevant, tied ranks shared, less the least it could be) / number of others.
    Empty:   NaN without both kinds.
    """
    from scipy.stats import rankdata  # a third of the imports of a service, which asks for no AUC

    n_relevant = int(is_relevant.sum())
    n_others = len(is_relevant) - n_relevant
    if not n_relevant or not n_others:
        return float("nan")
    ranks = rankdata(np.nan_to_num(scores, nan=-np.inf))
    return float((ranks[is_relevant].sum() - n_relevant * (n_relevant + 1) / 2) / (n_relevant * n_others))


def share(has_property: Mask, items: Integers) -> Reals:
    """
    The share of each page that has a property (local, supportive, of a tier).

    Shapes:  has_property (n_items,) indexed by item number, or (q, n) slot by slot; items (q, n); returns (q,).
    Formula: slots with the property / slots that are filled.
    Empty:   NaN for an empty page.
    """
    is_shown = items != EMPTY
    of_slot = has_property if has_property.ndim == 2 else has_property[np.where(is_shown, items, 0)]
    return ratio((of_slot & is_shown).sum(axis=1), is_shown.sum(axis=1))


def exposure(items: Integers, n_items: int) -> Reals:
    """
    The attention that each item gets, discounted by position.

    Shapes:  items (q, n); returns (n_items,).
    Formula: sum over people and ranks i of 1 / log2(i + 1), the discount of `ndcg`.
    """
    weights = np.broadcast_to(1 / np.log2(np.arange(2, items.shape[1] + 2)), items.shape)
    is_shown = items != EMPTY
    return np.bincount(items[is_shown], weights[is_shown], n_items).astype(np.float64)


def coverage(items: Integers, is_eligible: Mask) -> float:
    """
    The share of the catalogue that is on at least one page.

    Shapes:  items (q, n); is_eligible (n_items,) what could be shown to anyone.
    Formula: eligible items on at least one page / eligible items. It grows with the number of people: compare it only
             between rankings of the same people.
    Empty:   NaN when nothing is eligible.
    """
    is_shown = np.zeros(len(is_eligible), np.bool_)
    is_shown[items[items != EMPTY]] = True
    return float(ratio(np.array((is_shown & is_eligible).sum()), np.array(is_eligible.sum())))


def gini(amounts: Reals) -> float:
    """
    How unequally amounts are spread: 0 = all are equal, towards 1 = one gets all.

    Shapes:  amounts (n,) >= 0, zeros included: those who get nothing count.
    Formula: sum over i of (2 i - n - 1) x_i / (n sum x), x ascending and i from 1.
    Empty:   NaN when all amounts are 0.
    Raises:  ValueError for a negative amount.
    """
    if np.any(amounts < 0):
        raise ValueError(f"found an amount of {amounts.min()}, expected 0 or more")
    n, ordered = len(amounts), np.sort(amounts)
    return float(ratio((2 * np.arange(1, n + 1) - n - 1) @ ordered, np.array(n * ordered.sum())))


def hhi(amounts: Reals) -> float:
    """
    Herfindahl-Hirschman index: the sum of squared shares; 1 / n when n get the same, 1 when one gets all.

    Shapes: amounts (n,) >= 0. Empty: NaN when all amounts are 0.
    """
    total = amounts.sum()
    return float(ratio(np.array((amounts**2).sum()), np.array(total * total)))


def top_share(amounts: Reals, n: int) -> float:
    """
    The share of the total that the n largest amounts hold. Shapes: amounts (m,) >= 0. Empty: NaN when all are 0.
    """
    return float(ratio(np.array(np.sort(amounts)[::-1][:n].sum()), np.array(amounts.sum())))


def jensen_shannon(first: Reals, second: Reals) -> Reals:
    """
    The Jensen-Shannon divergence of two distributions, in bits: 0 = equal, 1 = nothing in common.

    Shapes:  first, second (q, n) amounts >= 0, of which the shares count; returns (q,).
    Formula: H((p + q) / 2) - (H(p) + H(q)) / 2, H the entropy to base 2.
    Empty:   NaN where one of the two is empty.
    Source:  Lin 1991; as miscalibration of countries, Lesota et al. 2022.
    """
    p = ratio(first, np.broadcast_to(first.sum(axis=1, keepdims=True), first.shape))
    q = ratio(second, np.broadcast_to(second.sum(axis=1, keepdims=True), second.shape))
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.asarray(np.where(np.isnan(divergence), np.nan, np.clip(divergence, 0.0, 1.0)), np.float64)


def _entropy(shares: Reals) -> Reals:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1), np.float64)


def n_counted(values: Reals) -> int:
    """The number of people for whom a per-person metric is defined."""
    return int(np.isfinite(values).sum())


def mean(values: Reals) -> float:
    """The mean over the people for whom the metric is defined; NaN when there are none."""
    counted = values[np.isfinite(values)]
    return float(counted.mean()) if len(counted) else float("nan")


def ratio(parts: Reals | Integers, wholes: Reals | Integers) -> Reals:
    """parts / wholes, NaN where the whole is 0."""
    empty = np.full(np.shape(wholes), np.nan)
    return np.asarray(np.divide(parts, wholes, out=empty, where=np.asarray(wholes) > 0), np.float64)


def cut_off(k: int) -> int:
    """`k`. Raises ValueError below 1."""
    if k < 1:
        raise ValueError(f"found k = {k}, expected 1 or more")
    return k
