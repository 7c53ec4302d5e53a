"""
What a ranking is worth, one value per person first; whoever reports takes the mean last.

Every ranking is a table of `items` (q, n): for each of q people the items shown, best first, as item numbers >= 0,
and `EMPTY` where a page is short. A person about whom a metric says nothing (nothing relevant, an empty page) is
NaN, never 0; `counted` says how many are left, and belongs beside every mean.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from recsys.types import Mask

Reals = NDArray[np.float64]
Pages = NDArray[np.integer[Any]]

EMPTY: Final = -1
"""Fills the end of a page that is shorter than the others."""


def recall(is_relevant: Mask, n_relevant: NDArray[np.integer[Any]], k: int) -> Reals:
    """
    The share of what each person wanted that is among the first k.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,) relevant items in all; returns (q,) in [0, 1].
    Formula: hits among the first k / n_relevant. Not divided by min(k, n_relevant): with more than k relevant items
             even a perfect ranking stays below 1, as in the published tables.
    Empty:   NaN for a person with nothing relevant.
    Raises:  ValueError when k < 1.
    """
    hits = is_relevant[:, : _positive(k)].sum(axis=1)
    return _ratio(hits, n_relevant)


def ndcg(is_relevant: Mask, n_relevant: NDArray[np.integer[Any]], k: int) -> Reals:
    """
    Normalised discounted cumulative gain of each person, binary relevance.

    Shapes:  is_relevant (q, n) best first; n_relevant (q,); returns (q,) in [0, 1].
    Formula: sum over ranks i <= k of rel_i / log2(i + 1), divided by its value for min(k, n_relevant) hits on top.
    Empty:   NaN for a person with nothing relevant.
    Source:  Järvelin and Kekäläinen 2002.
    Raises:  ValueError when k < 1.
    """
    k = min(_positive(k), max(is_relevant.shape[1], int(n_relevant.max(initial=0))))  # ranks beyond hold nothing
    discounts = 1 / np.log2(np.arange(2, k + 2))
    found = is_relevant[:, :k]
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(n_relevant, k)]
    return _ratio(found @ discounts[: found.shape[1]], ideal)


def auc(scores: NDArray[Any], is_wanted: Mask) -> float:
    """
    The chance that a random wanted item scores above a random other one; ties count half.

    Shapes:  scores (n,), NaN = unknown and below all; is_wanted (n,).
    Formula: (mean rank of the wanted, tied ranks shared, less the least it could be) / number of others.
    Empty:   NaN without both kinds.
    """
    n_wanted = int(is_wanted.sum())
    n_others = len(is_wanted) - n_wanted
    if not n_wanted or not n_others:
        return float("nan")
    ranks = rankdata(np.nan_to_num(scores, nan=-np.inf))
    return float((ranks[is_wanted].sum() - n_wanted * (n_wanted + 1) / 2) / (n_wanted * n_others))


def share(has_property: Mask, items: Pages) -> Reals:
    """
    The share of each page that has a property (local, supportive, of a tier).

    Shapes:  has_property (n_items,) indexed by item number, or (q, n) slot by slot; items (q, n); returns (q,).
    Formula: slots with the property / slots that are filled.
    Empty:   NaN for an empty page.
    """
    is_shown = items != EMPTY
    of_slot = has_property if has_property.ndim == 2 else has_property[np.where(is_shown, items, 0)]
    return _ratio((of_slot & is_shown).sum(axis=1), is_shown.sum(axis=1))


def exposure(items: Pages, n_items: int) -> Reals:
    """
    How much attention each item is given, position by position.

    Shapes:  items (q, n); returns (n_items,).
    Formula: sum over people and ranks i of 1 / log2(i + 1), the discount of `ndcg`.
    """
    weights = np.broadcast_to(1 / np.log2(np.arange(2, items.shape[1] + 2)), items.shape)
    is_shown = items != EMPTY
    return np.bincount(items[is_shown], weights[is_shown], n_items).astype(np.float64)


def coverage(items: Pages, is_offered: Mask) -> float:
    """
    The share of the catalogue that anybody is shown.

    Shapes:  items (q, n); is_offered (n_items,) what could be shown to anyone.
    Formula: offered items on at least one page / offered items. It grows with the number of people: compare it only
             between rankings of the same people.
    Empty:   NaN when nothing is offered.
    """
    is_shown = np.zeros(len(is_offered), np.bool_)
    is_shown[items[items != EMPTY]] = True
    return float(_ratio(np.array((is_shown & is_offered).sum()), np.array(is_offered.sum())))


def gini(amounts: Reals) -> float:
    """
    How unequally something is spread: 0 = everyone gets the same, towards 1 = one gets all.

    Shapes:  amounts (n,) >= 0, zeros included: who gets nothing counts.
    Formula: sum over i of (2 i - n - 1) x_i / (n sum x), x ascending and i from 1.
    Empty:   NaN when nothing is given to anybody.
    Raises:  ValueError for a negative amount.
    """
    if np.any(amounts < 0):
        raise ValueError(f"found an amount of {amounts.min()}, expected 0 or more")
    n, ordered = len(amounts), np.sort(amounts)
    return float(_ratio((2 * np.arange(1, n + 1) - n - 1) @ ordered, np.array(n * ordered.sum())))


def hhi(amounts: Reals) -> float:
    """
    Herfindahl-Hirschman index: the sum of squared shares; 1 / n when n get the same, 1 when one gets all.

    Shapes: amounts (n,) >= 0. Empty: NaN when nothing is given to anybody.
    """
    total = amounts.sum()
    return float(_ratio(np.array((amounts**2).sum()), np.array(total * total)))


def top_share(amounts: Reals, n: int) -> float:
    """
    What the n who get most get together, as a share. Shapes: amounts (m,) >= 0. Empty: NaN when nothing is given.
    """
    return float(_ratio(np.array(np.sort(amounts)[::-1][:n].sum()), np.array(amounts.sum())))


def jensen_shannon(first: Reals, second: Reals) -> Reals:
    """
    How far two distributions are apart, in bits: 0 = equal, 1 = nothing in common.

    Shapes:  first, second (q, n) amounts >= 0, of which the shares count; returns (q,).
    Formula: H((p + q) / 2) - (H(p) + H(q)) / 2, H the entropy to base 2.
    Empty:   NaN where one of the two is empty.
    Source:  Lin 1991; as miscalibration of countries, Lesota et al. 2022.
    """
    p = _ratio(first, np.broadcast_to(first.sum(axis=1, keepdims=True), first.shape))
    q = _ratio(second, np.broadcast_to(second.sum(axis=1, keepdims=True), second.shape))
    apart = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.asarray(np.where(np.isnan(apart), np.nan, np.clip(apart, 0.0, 1.0)), np.float64)


def _entropy(shares: Reals) -> Reals:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1), np.float64)


def counted(values: Reals) -> int:
    """How many people a per-person metric says something about."""
    return int(np.isfinite(values).sum())


def mean(values: Reals) -> float:
    """The mean over the people that are counted; NaN when there are none."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _ratio(parts: NDArray[Any], wholes: NDArray[Any]) -> Reals:
    """parts / wholes, NaN where there is no whole."""
    empty = np.full(np.shape(wholes), np.nan)
    return np.asarray(np.divide(parts, wholes, out=empty, where=np.asarray(wholes) > 0), np.float64)


def _positive(k: int) -> int:
    if k < 1:
        raise ValueError(f"found k = {k}, expected 1 or more")
    return k
