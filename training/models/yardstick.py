"""
The yardstick of base models: what the scores of a matrix are worth to validation users.

Users could only act on what the old feed had shown them, so NDCG on what they acted on prefers models like the old feed
("as exposed"). Where a log says how likely each impression was, a model is measured by how much of the head of its
ranking users would watch: each impression counts by how high the model puts it and by the inverse of its propensity
(SNIPS), shown and not watched included. `training.models.mixing_weight` measures the heads so too, but for equal
scores: base models leave many at 0, so an impression stands below half of its equals here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.metrics import CLIP, HALVING_SHARE, discounted_target, importance_weights, influence, ndcg
from recsys.models.blend import mask_excluded, standardise
from recsys.models.interactions import UserInteractions, entries_at
from recsys.topk import top_k
from recsys.types import Csr, Floats, Ids, Mask, Reals, Rows

WATCH: Final = "estimated watch fraction (SNIPS)"
NDCG: Final = "NDCG as exposed"

MIN_RISE: Final = 1.002
"""The factor by which a step must raise NDCG: less is noise, and larger models cost."""

Score = Callable[[UserInteractions], Floats]
"""(q, n_items) the scores of a model."""

_BLOCK_USERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownItems:
    """
    What p users were shown after an instant and had not met before.

    Shapes: `users` of p people as they were at the instant; `numbers` (p,) their user numbers. Of n impressions, by
            user: `rows` (n,) the row in `users`, `items`, `propensity` and `response`. `drawn` (m,) items drawn
            uniformly from the `n_open` that could be shown: an impression's rank is measured among them.
    """

    users: UserInteractions
    numbers: Rows
    rows: Rows
    items: Ids
    propensity: Floats
    response: Floats
    drawn: Ids
    n_open: int


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """
    A mean over users by one yardstick. `influence` (q,): how much each row moves it; `numbers` (q,) the users of the
    rows: a user of two folds has two rows.
    """

    yardstick: str
    value: float
    influence: Reals
    numbers: Rows

    @property
    def error(self) -> float:
        """The standard error of the value."""
        return standard_error(self.influence, self.numbers)

    def is_above(self, other: "Measured") -> bool:
        """Whether a step from `other` pays: by a share of NDCG, or by more than the difference's standard error."""
        if self.yardstick == NDCG:
            return self.value > MIN_RISE * other.value
        return self.value - other.value > standard_error(self.influence - other.influence, self.numbers)


def standard_error(influence: Reals, numbers: Rows) -> float:
    """Of a mean over rows whose influence (q,) adds up by user; NaN where fewer than two users tell of no spread."""
    known, user = np.unique(numbers, return_inverse=True)
    if len(known) < 2:
        return float("nan")
    by_user = np.bincount(user, influence - influence.mean())
    return float(np.sqrt((by_user**2).sum()) / len(numbers))


def measure_exposed(parts: Sequence[tuple[Score, UserInteractions, Csr, Rows]], k: int) -> Measured:
    """
    NDCG at k of one model, fitted once for each fold: its scores there, q users, what they went on to interact with
    CSR (q, n_items), and their numbers (q,).
    """
    values = np.concatenate(
        [np.empty(0), *(exposed_ndcg(score, users, wanted, k) for score, users, wanted, _ in parts)]
    )
    numbers = np.concatenate([np.empty(0, np.intp), *(part[3] for part in parts)])
    is_known = np.isfinite(values)
    value = float(values[is_known].mean()) if is_known.any() else 0.0
    return Measured(NDCG, value, np.where(is_known, values, value), numbers)


def exposed_ndcg(score: Score, users: UserInteractions, relevant: Csr, k: int) -> Reals:
    """(q,) NDCG at k of one model alone. Shapes: `users` of q people; `relevant` CSR (q, n_items)."""
    values: list[Reals] = [np.empty(0)]
    for start in range(0, len(users), _BLOCK_USERS):
        batch, expected = users[start : start + _BLOCK_USERS], relevant[start : start + _BLOCK_USERS]
        scores = mask_excluded(standardise(score(batch)), batch)
        values.append(ndcg(mark_hits(scores, expected, k), np.diff(expected.indptr), k))
    return np.concatenate(values)


def measure_watch(parts: Sequence[tuple[Score, ShownItems]]) -> Measured:
    """How much of the head of one model's rankings users would watch; the model is fitted once for each fold."""
    target = np.concatenate([np.empty(0), *(shown_target(score, shown) for score, shown in parts)])
    response = np.concatenate([np.empty(0), *(shown.response for _, shown in parts)])
    propensity = np.concatenate([np.empty(0), *(shown.propensity for _, shown in parts)])
    starts = np.cumsum([0, *(len(shown.users) for _, shown in parts)])
    rows = np.concatenate(
        [np.empty(0, np.intp), *(shown.rows + at for (_, shown), at in zip(parts, starts, strict=False))]
    )
    weights = importance_weights(propensity, target, CLIP)
    total = float(weights.sum())
    return Measured(
        WATCH,
        float(weights @ response) / total if total > 0 else 0.0,
        influence(response, weights, rows.astype(np.int64), int(starts[-1])),
        np.concatenate([np.empty(0, np.intp), *(shown.numbers for _, shown in parts)]),
    )


def shown_target(score: Score, shown: ShownItems) -> Reals:
    """(n,) how much a model's ranking shows of each impression. Items that a user has met are not ranked for them."""
    target = np.zeros(len(shown.rows))
    ends = np.searchsorted(shown.rows, np.arange(len(shown.users) + 1))
    for start in range(0, len(shown.users), _BLOCK_USERS):
        batch = shown.users[start : start + _BLOCK_USERS]
        scores = score(batch)
        drawn = mask_excluded(scores.copy(), batch)[:, shown.drawn]
        for row in range(len(batch)):
            mine = slice(ends[start + row], ends[start + row + 1])
            open_scores = np.sort(drawn[row][drawn[row] > -np.inf])
            ranks = rank_among(open_scores, scores[row, shown.items[mine]]) * shown.n_open
            target[mine] = discounted_target(ranks, max(HALVING_SHARE * shown.n_open, 1.0))
    return target


def rank_among(ascending: Floats, scores: Floats) -> Reals:
    """(m,) the share of the items that stand above each score, half of equal ones: sparse models leave many at 0."""
    at_least, above = (len(ascending) - np.searchsorted(ascending, scores, side=side) for side in ("left", "right"))
    return np.asarray((at_least + above) / (2 * max(len(ascending), 1)))


def mark_hits(scores: Floats, relevant: Csr, k: int) -> Mask:
    """
    (q, min(k, n_items)) whether each of the best items, by rank, is relevant.

    Shapes: `scores` (q, n_items); `relevant` CSR (q, n_items). Masked items (minus infinity) fill a list where nothing
            else is left; they would not be recommended, so they are no hits.
    """
    best = top_k(scores, k)
    if not len(best):
        return np.zeros(best.shape, np.bool_)
    return (entries_at(relevant, best) > 0) & (np.take_along_axis(scores, best, axis=1) > -np.inf)
