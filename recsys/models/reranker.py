"""
A second look at the blend's best items: trees that put the first few in order.

A weighted sum adds up what everything in a history says, so much weak evidence outdoes one strong reason, and weights
are the same for somebody with five reactions and with five hundred. The trees see what the sum loses: how near an item
is to the one thing, and to the three things, in the history that are nearest to it, and to what was refused, in every
part; where it stands among the few; how much is known of the person and of the item. The few share out the
scores that the sum gave them, so the scale of the scores, and everything below, stay what they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.models.base import ItemItem, Part, Popular
from recsys.models.interactions import Tastes
from recsys.topk import top_k
from recsys.types import Floats, Mask, Rows

WIDTH: Final = 64
"""Items that are looked at again."""

SHARE: Final = 0.7
"""
How much of what the trees add counts: what comes is less like what they saw than one half of their judges is like the
other. On Gowalla, whose test is later than its train, half of it gives a better order than all of it (LOG.md).
"""

_CLOSEST: Final = 3

Said = Mapping[str, Floats]
"""(q, n_items) standardised scores of each part of a blend."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondLook:
    """
    `trees` is a LightGBM booster over the `features` of the parts named, with `offset` what it begins from: a slope for
    the sum, one for the place, and a constant. `use` (n_items,) as `use_of` has it.
    """

    trees: Any
    offset: tuple[float, float, float]
    names: tuple[str, ...]
    use: Floats

    def reordered(self, total: Floats, said: Said, parts: Mapping[str, Part], tastes: Tastes) -> Floats:
        """(q, n_items) the sum's scores, with those of each person's best items, of what is new to them, shared out."""
        rows, is_new = best(total, tastes)
        read = {name: parts[name] for name in self.names}
        worth = chances(self.trees, self.offset, features(rows, total, said, read, tastes, self.use))
        return shared_out(total, rows, np.where(is_new, worth, -np.inf), tastes)


def chances(trees: Any, offset: tuple[float, float, float], table: Floats) -> NDArray[Any]:
    """(q, m) what the trees and their offset say of a table of `features`."""
    return np.asarray(begun(offset, table) + raw_of(trees, table))


def raw_of(trees: Any, table: Floats, first: int = 0, count: int = -1) -> NDArray[Any]:
    """(q, m) what `count` trees from `first` on add, or all that are left for -1."""
    flat = table.reshape(-1, table.shape[2])
    raw = trees.predict(flat, raw_score=True, start_iteration=first, num_iteration=count, num_threads=1)
    return np.asarray(SHARE * raw.reshape(table.shape[:2]))


def begun(offset: tuple[float, float, float], table: Floats) -> Floats:
    """(..., ) the offset of rows of `features`: the sum and its place, which stand first and fourth, as a chance."""
    score, place, constant = offset
    return np.asarray(score * table[..., 0] + place * table[..., 3] + constant)


def shared_out(total: Floats, rows: Rows, worth: NDArray[Any], tastes: Tastes) -> Floats:
    """
    `total` (q, n_items) in which the scores of `rows` (q, m), best first, go to the same rows in the order of `worth`
    (q, m). Whoever has wanted nothing keeps what they had: there is nothing to look at.
    """
    order = np.argsort(-worth, axis=1, kind="stable")
    after = np.where(has_wishes(tastes)[:, None], np.take_along_axis(rows, order, axis=1), rows)
    shared = total.copy()
    np.put_along_axis(shared, after, np.take_along_axis(total, rows, axis=1), axis=1)
    return shared


def has_wishes(tastes: Tastes) -> Mask:
    """(q,) who has wanted anything."""
    return np.bincount(_owners(tastes.long)[tastes.long.data > 0], minlength=len(tastes)) > 0


def _owners(matrix: Any) -> Rows:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def best(total: Floats, tastes: Tastes) -> tuple[Rows, Mask]:
    """(q, m) the best items of each person, those they know already last; and which are new to them."""
    fresh = total.copy()
    fresh[_owners(tastes.known), tastes.known.indices] = -np.inf
    rows = top_k(fresh, WIDTH)
    return rows, np.take_along_axis(fresh, rows, axis=1) > -np.inf


def use_of(positive: Any) -> Floats:
    """(n_items,) by how many people each item is wanted, as log(1 + share of the mean)."""
    wanted = np.asarray((positive > 0).sum(axis=0), np.float32).ravel()
    mean = max(float(wanted.mean()) if len(wanted) else 0.0, 1e-9)
    return np.asarray(np.log1p(wanted / mean), np.float32)


def features(rows: Rows, total: Floats, said: Said, parts: Mapping[str, Part], tastes: Tastes, use: Floats) -> Floats:
    """
    (q, m, n_features) float32 of the items `rows` (q, m).

    For the sum and each part: the score, its share of the person's best, that best, the place as log(1 + place). For
    each part that compares items: the nearest of what was wanted, the mean of the three nearest, the nearest of what
    was refused, and how much the part knows of the item. Then how much the item is wanted by all, the same for what
    the person wanted, and log(1 + how many that are).
    """
    q, m = rows.shape
    columns: list[Any] = []
    for scores in (total, *(said[name] for name in parts)):
        mine = np.take_along_axis(scores, rows, axis=1)
        top = np.maximum(mine.max(axis=1, keepdims=True, initial=0), 1e-6)
        place = np.argsort(np.argsort(-mine, axis=1, kind="stable"), axis=1)
        columns += [mine, mine / top, np.broadcast_to(top, (q, m)), np.log1p(place)]
    compared = [part for part in parts.values() if not isinstance(part, Popular)]
    near = np.zeros((len(compared), 4, q, m), np.float32)
    usual = np.zeros((2, q, 1), np.float32)
    for person, candidates in enumerate(rows):
        own = slice(tastes.long.indptr[person], tastes.long.indptr[person + 1])
        items, is_wanted = tastes.long.indices[own], tastes.long.data[own] > 0
        if not is_wanted.any():
            continue
        usual[:, person, 0] = use[items[is_wanted]].mean(), np.log1p(is_wanted.sum())
        for n, part in enumerate(compared):
            alike, known = likeness(part, items, candidates)
            refused = alike[~is_wanted].max(axis=0, initial=0)
            near[n, :, person] = *_nearest(alike[is_wanted]), refused, known
    columns += [*near.reshape(-1, q, m), use[rows], *np.broadcast_to(usual, (2, q, m))]
    return np.stack(columns, axis=2).astype(np.float32)


def n_features(parts: Mapping[str, Part]) -> int:
    """How many `features` there are of these parts."""
    n_compared = sum(not isinstance(part, Popular) for part in parts.values())
    return 4 * (1 + len(parts)) + 4 * n_compared + 3


def likeness(part: Any, items: NDArray[Any], candidates: NDArray[Any]) -> tuple[Floats, Floats]:
    """
    (h, m) how like the items (h,) of a history the candidates (m,) are: the cosine in a space, the weight from item to
    item; and (m,) how much the part knows of a candidate: the length of its vector, how many of the items speak for it.
    """
    if isinstance(part, ItemItem):
        pairs = _pairs(part.weights, items, candidates)
        return pairs, (pairs > 0).sum(axis=0).astype(np.float32)
    vectors = np.asarray(part.item_vectors)
    ours, theirs = vectors[items], vectors[candidates]
    lengths = np.linalg.norm(theirs, axis=1)
    products = ours @ theirs.T
    products /= np.maximum(np.linalg.norm(ours, axis=1), 1e-12)[:, None]
    products /= np.maximum(lengths, 1e-12)
    return products, lengths


def _pairs(matrix: Any, items: NDArray[Any], candidates: NDArray[Any]) -> Floats:
    """(h, m) of a dense matrix, or of a sparse one without the slow choice of its columns."""
    if not sparse.issparse(matrix):
        return np.asarray(matrix[np.ix_(items, candidates)], np.float32)
    weights: Any = matrix
    starts, counts = weights.indptr[items], np.diff(weights.indptr)[items]
    owner = np.repeat(np.arange(len(items)), counts)
    at = np.arange(len(owner)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    order = np.argsort(candidates)
    ordered = candidates[order]
    columns = weights.indices[at]
    place = np.minimum(np.searchsorted(ordered, columns), len(ordered) - 1)
    is_there = ordered[place] == columns
    found = np.zeros((len(items), len(candidates)), np.float32)
    found[owner[is_there], order[place[is_there]]] = weights.data[at[is_there]]
    return found


def _nearest(alike: Floats) -> tuple[Floats, Floats]:
    """Of (h, m), h > 0: (m,) the largest of each column, and the sum of its three largest, by three."""
    few = min(_CLOSEST, len(alike))
    largest = np.partition(alike, len(alike) - few, axis=0)[-few:]
    return largest.max(axis=0), largest.sum(axis=0) / _CLOSEST
