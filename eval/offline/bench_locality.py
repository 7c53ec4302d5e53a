"""
What favouring local items costs on real choices: recall against local share, for the plain boost (`additive`), Sanad's
(`sanad`, see `recsys.data.locality_cost`) and a floor of so many local items among the first k (`floor`). Weights are
tuned on a part of train; test is read once.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from eval.offline.compare import Estimate, draws, estimate
from recsys import metrics
from recsys.data.locality_cost import CUTS, VALIDATION, Boost, additive, favoured, judged, tuned
from recsys.data.places import UNKNOWN, PlacedSplit, cut
from recsys.errors import DataError
from recsys.metrics import Reals
from recsys.progress import Progress, quiet
from recsys.types import Rows

STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
FLOORS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
GOAL: Final = 2.1  # times the local share of people's own history: what is asked for where it costs no recall
FEWEST_LOCAL: Final = 5  # local items that a place must have for its people to be judged
MOST_ITEMS: Final = 20_000


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
        goal = GOAL * metrics.mean(history_share(split, members))
        strength, lift_weight = tuned(cuts, members, k, goal=goal)
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
    is_judged = has_supply & (np.diff(split.test.indptr) > 0)
    is_large = np.isin(split.user_place, [split.places.index(place) for place in large])
    if not is_judged.any():
        raise DataError(f"test: found nobody held out whose place has {FEWEST_LOCAL} items; expected some")
    groups = {"everybody with local supply": np.flatnonzero(is_judged)}
    if large and (is_judged & ~is_large).any():
        groups[f"outside {' and '.join(large)}"] = np.flatnonzero(is_judged & ~is_large)
    return groups


def history_share(split: PlacedSplit, rows: Rows) -> Reals:
    """(len(rows),) the local share of what each person chose."""
    mine = np.asarray(split.train[rows].multiply(split.is_local(rows)).sum(axis=1)).ravel()
    return np.asarray(mine / np.maximum(np.diff(split.train.indptr)[rows], 1), np.float64)


def _group(
    split: PlacedSplit, name: str, rows: Rows, strength: float, weight: float, k: int, rng: np.random.Generator
) -> Group:
    plans: dict[tuple[str, float], tuple[Boost, float]] = {("tuned", strength): (favoured(strength, weight), 0.0)}
    plans |= {("additive", s): (additive(s), 0.0) for s in STRENGTHS}
    plans |= {("sanad", s): (favoured(s, weight), 0.0) for s in STRENGTHS}
    plans |= {("floor", f): (additive(0.0), f) for f in FLOORS}
    plans |= {("tuned, floor", f): (favoured(strength, weight), f) for f in FLOORS}
    found = judged(split, rows, plans, k)
    points = {key: _point(key[0], key[1], values) for key, values in found.items()}
    best, plain = found["tuned", strength], found["additive", 0.0]
    return Group(
        name=name,
        n_people=len(rows),
        history_share=metrics.mean(history_share(split, rows)),
        lift_weight=weight,
        strength=strength,
        unfavoured=points["additive", 0.0],
        tuned=points["tuned", strength],
        recall_change=estimate(best["recall"] - plain["recall"], draws(len(rows), rng)),
        points=[point for (way, _), point in points.items() if way != "tuned"],
    )


def _point(way: str, strength: float, values: Mapping[str, Reals]) -> Point:
    means = {metric: metrics.mean(of) for metric, of in values.items()}
    local_recall = means.pop("local_recall")
    return Point(way=way, strength=strength, local_recall=None if np.isnan(local_recall) else local_recall, **means)
