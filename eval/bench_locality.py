"""
What favouring local items costs on real choices: recall against local share, for three ways to favour.

    additive   score + strength x is_local: the plain boost
    sanad      score + strength x reach x is_local + lift_weight x min(strength, 0.5) x lift: see below
    floor      at least so many local items among the first k, the rest by score

Scores are in standard deviations over the catalogue. `lift` says how much more a place acts on an item than everybody
does, so that what a place really likes rises first, up to where it stops to help; `reach` grows with the root of a
person's history, because who is known well has more that fits, near and far, and loses less by one local item more.
The ranker is a graph filter (linear part and an ideal low-pass; Shen et al. 2021, GF-CF). Weights are tuned on a part
of train; test is read once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from eval.compare import Estimate, draws, estimate
from eval.places import UNKNOWN, Matrix, PlacedSplit, cut
from recsys import metrics
from recsys.errors import DataError
from recsys.metrics import Reals
from recsys.progress import Progress, quiet
from recsys.types import Floats, Mask, Rows

STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
TRIED: Final = tuple(round(0.1 * n, 1) for n in range(16))  # strengths on validation
LIFT_WEIGHTS: Final = (0.0, 0.5, 1.0, 1.5)
LIFTED: Final = 0.5  # the strength up to which the lift grows: beyond, it costs recall
FLOORS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
PULL: Final = 4_000.0  # events that a place needs to stand half on its own
MARGIN: Final = 0.003  # of the unfavoured recall: tuned strengths keep this far above it on validation
FEWEST_LOCAL: Final = 5  # local items that a place must have for its people to be judged
VALIDATION: Final = 0.2
CUTS: Final = 2  # validation parts; one alone moves the tuned strength by 0.2
MOST_ITEMS: Final = 20_000
_VECTORS: Final = 64
_LOW_PASS: Final = 0.2
_CHUNK: Final = 2_000  # people scored at once

Boost = Callable[["_Scored"], Floats]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a curve. Shares and recalls are means over people, in [0, 1]."""

    way: str
    strength: float  # standard deviations, or the floor's share
    recall: float
    ndcg: float
    local_share: float
    local_recall: float | None  # of the held-out items that are local
    unknown_share: float  # slots with items whose place nobody said


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A curve over some of the people, what they chose themselves, and the tuned point beside the unfavoured one."""

    name: str
    n_people: int
    history_share: float
    lift_weight: float
    strength: float
    unfavoured: Point
    tuned: Point
    recall_change: Estimate  # tuned less unfavoured, person by person
    points: list[Point]


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `sanad bench locality` says."""

    k: int
    seed: int
    n_users: int
    n_items: int
    n_places: int
    n_dropped: int
    large_places: list[str]
    groups: list[Group]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
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


def bench(split: PlacedSplit, *, k: int, seed: int, on_progress: Progress = quiet) -> Bench:
    """The curves over everybody with local supply, and over those outside the large places. Raises DataError."""
    if split.train.shape[1] > MOST_ITEMS:
        raise DataError(
            f"items: found {split.train.shape[1]:,}, expected at most {MOST_ITEMS:,} (memory grows with n²)"
        )
    large = split.large()
    groups = []
    for name, members in _groups(split, large).items():
        on_progress(f"tune {name}", 0, None)
        cuts = [cut(split, VALIDATION, np.random.default_rng([seed, 1, n])) for n in range(CUTS)]
        strength, lift_weight = _tuned(cuts, members, k)
        on_progress(f"judge {name}", 0, None)
        groups.append(_group(split, name, members, strength, lift_weight, k, np.random.default_rng([seed, 2])))
    return Bench(
        k=k, seed=seed, n_users=split.train.shape[0], n_items=split.train.shape[1], n_places=len(split.places),
        n_dropped=split.n_dropped, large_places=list(large), groups=groups,
    )  # fmt: skip


def _groups(split: PlacedSplit, large: tuple[str, ...]) -> Mapping[str, Rows]:
    """People with something held out whose place has local items."""
    n_local = np.bincount(split.item_place[split.item_place != UNKNOWN], minlength=len(split.places))
    has_supply = (split.user_place != UNKNOWN) & (n_local[np.maximum(split.user_place, 0)] >= FEWEST_LOCAL)
    judged = has_supply & (np.diff(split.test.indptr) > 0)
    is_large = np.isin(split.user_place, [split.places.index(place) for place in large])
    if not judged.any():
        raise DataError(f"test: found nobody held out whose place has {FEWEST_LOCAL} items; expected some")
    groups = {"everybody with local supply": np.flatnonzero(judged)}
    if large and (judged & ~is_large).any():
        groups[f"outside {' and '.join(large)}"] = np.flatnonzero(judged & ~is_large)
    return groups


def graph_filter(train: Matrix) -> Floats:
    """
    (n_items, n_items) the item-item filter; a person's scores are their row of `train` times it.

    Source: GF-CF, Shen et al. 2021: R^T R of the degree-normalised matrix, plus `_LOW_PASS` times the projection on its
            leading vectors between the roots of the item degrees.
    """
    people, things = (np.maximum(np.asarray(train.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    normal = train.multiply(1 / np.sqrt(people)[:, None]).multiply(1 / np.sqrt(things)[None, :]).tocsr()
    linear = (normal.T @ normal).toarray()
    leading = np.linalg.eigh(linear)[1][:, -_VECTORS:]
    root = np.sqrt(things)
    return np.asarray(linear + _LOW_PASS * (leading @ leading.T) * root[None, :] / root[:, None], np.float32)


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


def _scored(split: PlacedSplit, rows: Rows) -> Iterator[_Scored]:
    """The people of `rows`, some at a time."""
    weights, lift = graph_filter(split.train), lifts(split)
    n_known = np.diff(split.train.indptr)
    root = np.clip(np.sqrt(n_known / max(1.0, float(n_known.mean()))), 0.25, 2.0)
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        raw = np.asarray(split.train[some] @ weights)
        spread = np.maximum(raw.std(axis=1, keepdims=True), 1e-9)
        yield _Scored(
            rows=some,
            scores=((raw - raw.mean(axis=1, keepdims=True)) / spread).astype(np.float32),
            is_local=split.is_local(some),
            lift=lift[split.user_place[some]],  # UNKNOWN is the last row, of zeros
            reach=root[some, None].astype(np.float32),
            is_known=split.train[some].toarray() > 0,
        )


def _pages(scored: _Scored, boost: Boost, k: int, floor: float = 0.0) -> NDArray[np.intp]:
    """(q, k) items by rank, at least `floor` of them local as far as there are any."""
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


def _values(split: PlacedSplit, scored: _Scored, pages: NDArray[np.intp], k: int) -> Mapping[str, Reals]:
    """(q,) per person: recall, ndcg, local share, recall of local items, share of items of unknown place."""
    wanted = split.test[scored.rows].toarray() > 0
    hits = np.take_along_axis(wanted, pages, axis=1)
    local = np.take_along_axis(scored.is_local, pages, axis=1)
    return {
        "recall": metrics.recall(hits, wanted.sum(axis=1), k),
        "ndcg": metrics.ndcg(hits, wanted.sum(axis=1), k),
        "local_share": local.mean(axis=1),
        "local_recall": metrics.recall(hits & local, (wanted & scored.is_local).sum(axis=1), k),
        "unknown_share": (split.item_place[pages] == UNKNOWN).mean(axis=1),
    }


def _judged(split: PlacedSplit, rows: Rows, plans: Mapping[Any, tuple[Boost, float]], k: int) -> dict[Any, Any]:
    """Plan -> metric -> (q,) values, everybody scored once."""
    parts: dict[Any, list[Mapping[str, Reals]]] = {name: [] for name in plans}
    for scored in _scored(split, rows):
        for name, (boost, floor) in plans.items():
            parts[name].append(_values(split, scored, _pages(scored, boost, k, floor), k))
    return {
        name: {metric: np.concatenate([part[metric] for part in some]) for metric in some[0]}
        for name, some in parts.items()
    }


def _tuned(cuts: Sequence[PlacedSplit], members: Rows, k: int) -> tuple[float, float]:
    """Strength and lift weight with the most local pages among those that lose no recall on validation."""
    grid = [(strength, weight) for strength in TRIED for weight in LIFT_WEIGHTS]
    plans = {point: (favoured(*point), 0.0) for point in grid}
    found = [_judged(split, members[np.diff(split.test.indptr)[members] > 0], plans, k) for split in cuts]

    def mean(point: tuple[float, float], metric: str) -> float:
        return sum(metrics.mean(values[point][metric]) for values in found) / len(found)

    least = (1 + MARGIN) * mean((0.0, 0.0), "recall")
    kept = [point for point in grid if mean(point, "recall") >= least] or [(0.0, 0.0)]
    return max(kept, key=lambda point: (mean(point, "local_share"), point))


def _group(
    split: PlacedSplit, name: str, rows: Rows, strength: float, weight: float, k: int, rng: np.random.Generator
) -> Group:
    plans: dict[tuple[str, float], tuple[Boost, float]] = {("tuned", strength): (favoured(strength, weight), 0.0)}
    plans |= {("additive", s): (additive(s), 0.0) for s in STRENGTHS}
    plans |= {("sanad", s): (favoured(s, weight), 0.0) for s in STRENGTHS}
    plans |= {("floor", f): (additive(0.0), f) for f in FLOORS}
    plans |= {("tuned, floor", f): (favoured(strength, weight), f) for f in FLOORS}
    found = _judged(split, rows, plans, k)
    points = {key: _point(key[0], key[1], values) for key, values in found.items()}
    tuned, plain = found["tuned", strength], found["additive", 0.0]
    mine = split.train[rows].multiply(split.is_local(rows)).sum(axis=1)
    return Group(
        name=name,
        n_people=len(rows),
        history_share=metrics.mean(np.asarray(mine).ravel() / np.maximum(np.diff(split.train.indptr)[rows], 1)),
        lift_weight=weight,
        strength=strength,
        unfavoured=points["additive", 0.0],
        tuned=points["tuned", strength],
        recall_change=estimate(tuned["recall"] - plain["recall"], draws(len(rows), rng)),
        points=[point for (way, _), point in points.items() if way != "tuned"],
    )


def _point(way: str, strength: float, values: Mapping[str, Reals]) -> Point:
    means = {metric: metrics.mean(of) for metric, of in values.items()}
    local_recall = means.pop("local_recall")
    return Point(way=way, strength=strength, local_recall=None if np.isnan(local_recall) else local_recall, **means)
