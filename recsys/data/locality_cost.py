"""
What favouring local items costs, on people's own choices: boosted scores, pages, what they are worth, and the strength
at which they are most local without losing recall.

    additive   score + strength x is_local: the plain boost
    favoured   score + strength x reach x is_local + lift_weight x min(strength, 0.5) x lift

Scores are in standard deviations over the catalogue. `lift` says how much more a place acts on an item than everybody
does, so that what a place really likes rises first, up to where it stops to help; `reach` grows with the root of a
person's history, because who is known well has more that fits, near and far, and loses less by one local item more.
The ranker is a graph filter (linear part and an ideal low-pass; Shen et al. 2021, GF-CF): good, and fast to fit again
on a part of the data.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from recsys import metrics
from recsys.data.places import UNKNOWN, Matrix, PlacedSplit
from recsys.types import Floats, Mask, Reals, Rows

TRIED: Final = tuple(round(0.1 * n, 1) for n in range(16))
"""Strengths on validation."""
LIFT_WEIGHTS: Final = (0.0, 1.0)
LIFTED: Final = 0.5  # the strength up to which the lift grows: beyond, it costs recall
PULL: Final = 4_000.0  # events that a place needs to stand half on its own
MARGIN: Final = 0.005  # of the unfavoured recall: tuned strengths keep this far above it on validation
VALIDATION: Final = 0.2
CUTS: Final = 3  # validation parts; one alone moves the tuned strength by 0.2
VECTORS: Final = 64
SMALL: Final = 1_500  # items up to which all vectors are as quick as the leading ones
LOW_PASS: Final = 0.2
CHUNK: Final = 2_000  # people scored at once

Boost = Callable[["Scored"], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """
    Some people's standardised scores (q, n), what is local to them (q, n), their places' lifts (q, n), the root of
    their history over the mean one (q, 1), and what they know already (q, n).
    """

    rows: Rows
    scores: Floats
    is_local: Mask
    lift: Floats
    reach: Floats
    is_known: Mask


def additive(strength: float) -> Boost:
    """The plain boost."""
    return lambda s: s.scores + np.float32(strength) * s.is_local.astype(np.float32)


def favoured(strength: float, lift_weight: float) -> Boost:
    """Sanad's: local items, and what the person's place acts on more than others do."""
    lift = np.float32(lift_weight * min(strength, LIFTED))
    return lambda s: s.scores + np.float32(strength) * s.reach * s.is_local + lift * s.lift


def graph_filter(train: Matrix) -> Floats:
    """
    (n_items, n_items) the item-item filter; a person's scores are their row of `train` times it.

    Source: GF-CF, Shen et al. 2021: R^T R of the degree-normalised matrix, plus `LOW_PASS` times the projection on its
            leading vectors between the roots of the item degrees.
    """
    people, things = (np.maximum(np.asarray(train.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    normal = train.multiply(1 / np.sqrt(people)[:, None]).multiply(1 / np.sqrt(things)[None, :]).tocsr()
    linear = (normal.T @ normal).toarray()
    leading = np.linalg.eigh(linear)[1][:, -VECTORS:] if len(linear) <= SMALL else _leading(normal)
    root = np.sqrt(things)
    return np.asarray(linear + LOW_PASS * (leading @ leading.T) * root[None, :] / root[:, None], np.float32)


def _leading(normal: Matrix) -> Floats:
    """
    (n_items, VECTORS) the leading right singular vectors, from a fixed start, so that equal data give equal ones; of
    fewer people all that there are.
    """
    if min(normal.shape) <= VECTORS:
        return np.asarray(np.linalg.svd(normal.toarray(), full_matrices=False)[2].T, np.float32)
    start = np.ones(min(normal.shape), np.float64)
    return np.asarray(svds(normal.astype(np.float64), k=VECTORS, v0=start)[2].T, np.float32)


def lifts(split: PlacedSplit) -> Floats:
    """(n_places + 1, n_items) the log of a place's share of an item over everybody's, shrunk to 0; the last is 0."""
    places, n_items = len(split.places), split.train.shape[1]
    counts = np.zeros((places, n_items))
    known = np.flatnonzero(split.user_place != UNKNOWN)
    for row, place in zip(known, split.user_place[known], strict=True):
        counts[place, split.train.indices[split.train.indptr[row] : split.train.indptr[row + 1]]] += 1
    share = np.maximum(np.asarray(split.train.sum(axis=0)).ravel(), 0.5)
    share = share / share.sum()
    ratio = (counts + PULL * share) / ((counts.sum(axis=1, keepdims=True) + PULL) * share)
    return np.vstack([np.log(ratio), np.zeros(n_items)]).astype(np.float32)


def scored(split: PlacedSplit, rows: Rows) -> Iterator[Scored]:
    """The people of `rows`, some at a time."""
    weights, lift = graph_filter(split.train), lifts(split)
    n_known = np.diff(split.train.indptr)
    root = np.clip(np.sqrt(n_known / max(1.0, float(n_known.mean()))), 0.25, 2.0)
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        raw = np.asarray(split.train[some] @ weights)
        spread = np.maximum(raw.std(axis=1, keepdims=True), 1e-9)
        yield Scored(
            rows=some,
            scores=((raw - raw.mean(axis=1, keepdims=True)) / spread).astype(np.float32),
            is_local=split.is_local(some),
            lift=lift[split.user_place[some]],  # UNKNOWN is the last row, of zeros
            reach=root[some, None].astype(np.float32),
            is_known=split.train[some].toarray() > 0,
        )


def pages(scored: Scored, boost: Boost, k: int, floor: float = 0.0) -> NDArray[np.intp]:
    """(q, min(k, n)) items by rank, at least `floor` of them local as far as there are any; known ones stand last."""
    k = min(k, scored.scores.shape[1])
    scores = np.where(scored.is_known, -np.inf, boost(scored))
    if not floor:
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
    order = np.argsort(-scores, axis=1)
    local = np.take_along_axis(scored.is_local & ~scored.is_known, order, axis=1)
    wanted = np.minimum(int(k * floor + 1e-9), local.sum(axis=1, keepdims=True))
    is_reserved = local & (np.cumsum(local, axis=1) <= wanted)  # the best local items, as many as the floor asks
    others = np.cumsum(~is_reserved, axis=1) <= k - wanted
    keep = is_reserved | (~is_reserved & others)
    return np.asarray(order[keep].reshape(len(order), k))


def _values(split: PlacedSplit, scored: Scored, pages: NDArray[np.intp], k: int) -> Mapping[str, Reals]:
    """
    (q,) per person: recall, ndcg, local share, recall of local items, share of items of unknown place. What a person
    knows fills a page where nothing else is left: it is not shown.
    """
    wanted = split.test[scored.rows].toarray() > 0
    hits = np.take_along_axis(wanted, pages, axis=1)
    local = np.take_along_axis(scored.is_local, pages, axis=1)
    shown = np.where(np.take_along_axis(scored.is_known, pages, axis=1), metrics.EMPTY, pages)
    return {
        "recall": metrics.recall(hits, wanted.sum(axis=1), k),
        "ndcg": metrics.ndcg(hits, wanted.sum(axis=1), k),
        "local_share": metrics.share(local, shown),
        "local_recall": metrics.recall(hits & local, (wanted & scored.is_local).sum(axis=1), k),
        "unknown_share": metrics.share(split.item_place == UNKNOWN, shown),
    }


def judged(split: PlacedSplit, rows: Rows, plans: Mapping[Any, tuple[Boost, float]], k: int) -> dict[Any, Any]:
    """Plan -> metric -> (q,) values, everybody scored once."""
    parts: dict[Any, list[Mapping[str, Reals]]] = {name: [] for name in plans}
    for some in scored(split, rows):
        for name, (boost, floor) in plans.items():
            parts[name].append(_values(split, some, pages(some, boost, k, floor), k))
    return {
        name: {metric: np.concatenate([part[metric] for part in found]) for metric in found[0]}
        for name, found in parts.items()
    }


def tuned(
    cuts: Sequence[PlacedSplit],
    members: Rows,
    k: int,
    *,
    lift_weights: Sequence[float] = LIFT_WEIGHTS,
    margin: float = MARGIN,
    goal: float = 0.0,
) -> tuple[float, float]:
    """
    Strength and lift weight with the most local pages among those whose recall on validation is at least (1 + margin)
    times that of no strength. Where these stay below the local share of `goal`, and others reach it without losing
    recall, the one among those with the most recall.

    Empty: no strength without anybody to judge by.
    """
    grid = [(strength, weight) for strength in TRIED for weight in lift_weights]
    plans = {point: (favoured(*point), 0.0) for point in grid}
    judges = [members[np.diff(split.test.indptr)[members] > 0] for split in cuts]
    if not all(map(len, judges)):
        return 0.0, 0.0
    judgements = [judged(split, some, plans, k) for split, some in zip(cuts, judges, strict=True)]

    def mean(point: tuple[float, float], metric: str) -> float:
        return sum(metrics.mean(values[point][metric]) for values in judgements) / len(judgements)

    plain = mean((0.0, 0.0), "recall")
    kept = [point for point in grid if mean(point, "recall") >= (1 + margin) * plain] or [(0.0, 0.0)]
    best = max(kept, key=lambda point: (mean(point, "local_share"), point))
    fitting = [p for p in grid if mean(p, "local_share") >= goal and mean(p, "recall") >= plain]
    if mean(best, "local_share") >= goal or not fitting:
        return best
    return max(fitting, key=lambda point: (mean(point, "recall"), point))
