"""
The accuracy cost of favouring local items, measured on users' own choices, and the locality weight at which pages are
most local without losing recall.

    additive   score + weight * is_local                       what the engine adds to a score
    scaled     score + weight * history_factor * is_local + lift_weight * min(weight, 0.5) * lift

Scores are those of the served models, in standard deviations over the catalogue. `lift` is how much more a place acts
on an item than all users do: what a place prefers rises first, up to where this stops to help. `history_factor` grows
with the root of a user's history: a user with a long history has more relevant items, near and far, and loses less by
one more local item.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys import metrics
from recsys.data.locality_split import UNKNOWN, LocalitySplit
from recsys.models import graph_filter, spectral
from recsys.models.base import ItemItemModel, LinearSpace
from recsys.models.blend import standardise
from recsys.models.graph_filter import GraphFilterParams
from recsys.models.interactions import UserInteractions, interactions_from_matrix, row_numbers
from recsys.models.spectral import SpectralParams
from recsys.types import Csr, Floats, Mask, Reals, Rows

LOCALITY_WEIGHTS: Final = tuple(round(0.1 * n, 1) for n in range(16))
"""The weights that are tried on validation."""

LIFT_WEIGHTS: Final = (0.0, 1.0)
MAX_LIFTED_WEIGHT: Final = 0.5
"""The locality weight up to which the lift grows; beyond, it costs recall."""

LIFT_SHRINKAGE: Final = 4_000.0
"""Interactions of a place at which half of its share of an item is its own."""

MIN_RECALL_GAIN: Final = 0.005
"""Of the recall without boost: tuned weights stay this far above it on validation."""

VALIDATION_SHARE: Final = 0.2
N_SPLITS: Final = 3
"""Validation parts; with one alone the tuned weight varies by 0.2."""

SPECTRAL_WEIGHT: Final = 0.2
"""Of the spectral scores beside those of the graph filter."""

_GRAPH_FILTER: Final = GraphFilterParams(user_power=0.5, in_power=0.5, out_power=0.5, n_neighbours=1_000)
_SPECTRAL: Final = SpectralParams(embedding_size=64, user_power=0.5, item_power=0.5, in_power=0.5, out_power=0.5)
_PASSES: Final = 20
"""Of the subspace iteration: the last of 64 singular vectors differ little in their values."""

_CHUNK_USERS: Final = 2_000

Boost = Callable[["LocalityScores"], Floats]
"""(q, n_items) boosted scores."""

Plan = tuple[Boost, float]
"""A boost, and the smallest share of local items on a page."""

PlanName = TypeVar("PlanName")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalityScores:
    """
    Shapes: `rows` (q,) users; `scores` (q, n) standardised; `is_local` (q, n) to the user; `lift` (q, n) of the user's
            place; `history_factor` (q, 1) the root of the history's length over the mean one; `is_known` (q, n).
    """

    rows: Rows
    scores: Floats
    is_local: Mask
    lift: Floats
    history_factor: Floats
    is_known: Mask


def additive_boost(weight: float) -> Boost:
    """The same addition for every local item, as in the engine."""
    return lambda users: users.scores + np.float32(weight) * users.is_local.astype(np.float32)


def scaled_boost(weight: float, lift_weight: float) -> Boost:
    """More for users with a long history, and for items that the user's place acts on more than others."""
    lift = np.float32(lift_weight * min(weight, MAX_LIFTED_WEIGHT))
    return lambda users: users.scores + np.float32(weight) * users.history_factor * users.is_local + lift * users.lift


@dataclass(frozen=True, slots=True, eq=False)
class LocalityRanker:
    """
    The served graph filter and spectral model, with the powers of GF-CF (Shen et al. 2021); fast to fit again.

    `self_weights` (n_items,) are the weights of items to themselves, which the graph filter leaves out. They change no
    order, since known items are not recommended, but the spread by which scores are standardised.
    """

    graph_filter: ItemItemModel
    self_weights: Floats
    spectral: LinearSpace

    def scores(self, users: UserInteractions) -> Floats:
        """(q, n_items) standardised scores."""
        known = users.full.copy()
        known.data = known.data * self.self_weights[known.indices]
        filtered = self.graph_filter.scores(users) + known.toarray()
        return standardise(filtered + np.float32(SPECTRAL_WEIGHT) * self.spectral.scores(users))


def fit_ranker(train: Csr) -> LocalityRanker:
    """The ranker of `train` (n_users, n_items). Equal data give equal scores."""
    normal = spectral.normalise(train, _GRAPH_FILTER.user_power, _GRAPH_FILTER.in_power)
    self_weights = np.asarray(normal.power(2).sum(axis=0), np.float32).ravel()
    rng = np.random.default_rng(0)
    decomposition = spectral.singular_vectors(normal, _SPECTRAL.embedding_size, rng, passes=_PASSES)
    space = spectral.build_space(decomposition, spectral.sum_confidence(train), _SPECTRAL)
    return LocalityRanker(graph_filter.fit(train, _GRAPH_FILTER), self_weights, space)


def compute_lifts(split: LocalitySplit) -> Floats:
    """
    (n_places + 1, n_items) the log of a place's share of an item over everybody's, shrunk to 0; the last row is 0.
    """
    n_items = split.train.shape[1]
    places = split.user_place[row_numbers(split.train)]
    is_known = places != UNKNOWN
    counts = np.zeros((len(split.places), n_items))
    np.add.at(counts, (places[is_known], split.train.indices[is_known]), 1)
    share = np.maximum(np.asarray(split.train.sum(axis=0)).ravel(), 0.5)
    share = share / share.sum()
    ratio = (counts + LIFT_SHRINKAGE * share) / ((counts.sum(axis=1, keepdims=True) + LIFT_SHRINKAGE) * share)
    return np.vstack([np.log(ratio), np.zeros(n_items)]).astype(np.float32)


def score_users(split: LocalitySplit, rows: Rows) -> Iterator[LocalityScores]:
    """The users of `rows`, some at a time."""
    ranker, lifts = fit_ranker(split.train), compute_lifts(split)
    n_known = np.diff(split.train.indptr)
    root = np.clip(np.sqrt(n_known / max(1.0, float(n_known.mean()))), 0.25, 2.0)
    for start in range(0, len(rows), _CHUNK_USERS):
        chunk = rows[start : start + _CHUNK_USERS]
        yield LocalityScores(
            rows=chunk,
            scores=ranker.scores(interactions_from_matrix(split.train[chunk])),
            is_local=split.is_local(chunk),
            lift=lifts[split.user_place[chunk]],  # UNKNOWN is the last row, of zeros
            history_factor=root[chunk, None].astype(np.float32),
            is_known=split.train[chunk].toarray() > 0,
        )


def rank_pages(users: LocalityScores, boost: Boost, k: int, floor: float = 0.0) -> NDArray[np.intp]:
    """(q, min(k, n)) items by rank, at least `floor` of them local where there are enough; known items come last."""
    k = min(k, users.scores.shape[1])
    scores = np.where(users.is_known, -np.inf, boost(users))
    if not floor:
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
    order = np.argsort(-scores, axis=1)
    is_local = np.take_along_axis(users.is_local & ~users.is_known, order, axis=1)
    n_reserved = np.minimum(int(k * floor + 1e-9), is_local.sum(axis=1, keepdims=True))
    is_reserved = is_local & (np.cumsum(is_local, axis=1) <= n_reserved)  # the best local items
    is_other = ~is_reserved & (np.cumsum(~is_reserved, axis=1) <= k - n_reserved)
    return np.asarray(order[is_reserved | is_other].reshape(len(order), k))


def _measure_pages(split: LocalitySplit, users: LocalityScores, pages: NDArray[np.intp], k: int) -> Mapping[str, Reals]:
    """
    (q,) by user: recall, ndcg, local share, recall of local items, share of items of unknown place. Known items fill a
    page where nothing else is left; they would not be shown, so they count as empty.
    """
    relevant = split.test[users.rows].toarray() > 0
    hits = np.take_along_axis(relevant, pages, axis=1)
    is_local = np.take_along_axis(users.is_local, pages, axis=1)
    shown = np.where(np.take_along_axis(users.is_known, pages, axis=1), metrics.EMPTY, pages)
    return {
        "recall": metrics.recall(hits, relevant.sum(axis=1), k),
        "ndcg": metrics.ndcg(hits, relevant.sum(axis=1), k),
        "local_share": metrics.share(is_local, shown),
        "local_recall": metrics.recall(hits & is_local, (relevant & users.is_local).sum(axis=1), k),
        "unknown_share": metrics.share(split.item_place == UNKNOWN, shown),
    }


def evaluate_plans(
    split: LocalitySplit, rows: Rows, plans: Mapping[PlanName, Plan], k: int
) -> dict[PlanName, dict[str, Reals]]:
    """Plan -> metric -> (q,) values by user; every user is scored once."""
    parts: dict[PlanName, list[Mapping[str, Reals]]] = {name: [] for name in plans}
    for users in score_users(split, rows):
        for name, (boost, floor) in plans.items():
            parts[name].append(_measure_pages(split, users, rank_pages(users, boost, k, floor), k))
    return {
        name: {metric: np.concatenate([part[metric] for part in of_plan]) for metric in of_plan[0]}
        for name, of_plan in parts.items()
    }


def tune_weights(
    splits: Sequence[LocalitySplit],
    rows: Rows,
    k: int,
    *,
    lift_weights: Sequence[float] = LIFT_WEIGHTS,
    min_gain: float = MIN_RECALL_GAIN,
    target: float = 0.0,
) -> tuple[float, float]:
    """
    Locality weight and lift weight of the scaled boost with the most local pages, among those whose recall on
    validation is at least (1 + min_gain) times that without boost. Where these pages are below the local share
    `target`, and others reach it without losing recall, the one of those with the most recall.

    Empty: no weight without users to validate by.
    """
    grid = [(weight, lift_weight) for weight in LOCALITY_WEIGHTS for lift_weight in lift_weights]
    plans: dict[tuple[float, float], Plan] = {point: (scaled_boost(*point), 0.0) for point in grid}
    mean = _mean_over_splits(splits, rows, plans, k)
    if mean is None:
        return 0.0, 0.0
    plain = mean((0.0, 0.0), "recall")
    allowed = [point for point in grid if mean(point, "recall") >= (1 + min_gain) * plain] or [(0.0, 0.0)]
    best = max(allowed, key=lambda point: (mean(point, "local_share"), point))
    reaching = [p for p in grid if mean(p, "local_share") >= target and mean(p, "recall") >= plain]
    if mean(best, "local_share") >= target or not reaching:
        return best
    return max(reaching, key=lambda point: (mean(point, "recall"), point))


def tune_additive_weight(splits: Sequence[LocalitySplit], rows: Rows, k: int, *, max_loss: float) -> float:
    """
    The locality weight of the engine's own boost with the most local pages, among those whose recall on validation is
    at least (1 - max_loss) times that without boost. Empty: 0 without users to validate by.
    """
    plans: dict[float, Plan] = {weight: (additive_boost(weight), 0.0) for weight in LOCALITY_WEIGHTS}
    mean = _mean_over_splits(splits, rows, plans, k)
    if mean is None:
        return 0.0
    plain = mean(0.0, "recall")
    allowed = [weight for weight in LOCALITY_WEIGHTS if mean(weight, "recall") >= (1 - max_loss) * plain]
    return max(allowed, key=lambda weight: (mean(weight, "local_share"), weight))


def _mean_over_splits(
    splits: Sequence[LocalitySplit], rows: Rows, plans: Mapping[PlanName, Plan], k: int
) -> Callable[[PlanName, str], float] | None:
    """The mean of a metric of a plan over splits; None where a split has no user with a held-out item."""
    users = [rows[np.diff(split.test.indptr)[rows] > 0] for split in splits]
    if not all(map(len, users)):
        return None
    values = [evaluate_plans(split, some, plans, k) for split, some in zip(splits, users, strict=True)]
    return lambda name, metric: sum(metrics.mean(of_split[name][metric]) for of_split in values) / len(values)
