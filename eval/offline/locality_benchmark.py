"""
The accuracy cost of favouring local items on real choices: recall against local share, for a plain boost (`additive`),
Sanad's boost (`sanad`, see `recsys.data.locality_cost`) and a floor of so many local items among the first k (`floor`).
Weights are tuned on a part of train; test is read once.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from eval.offline.intervals import Estimate, estimate, resample
from recsys import metrics
from recsys.data.locality_cost import (
    N_SPLITS,
    VALIDATION_SHARE,
    Plan,
    additive_boost,
    evaluate_plans,
    scaled_boost,
    tune_weights,
)
from recsys.data.locality_split import UNKNOWN, LocalitySplit, hold_out_share
from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.types import Reals, Rows

LOCALITY_WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # standard deviations of a person's scores
FLOORS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
TARGET_LIFT: Final = 2.1  # times the local share of people's own history: the target where it costs no recall
MIN_LOCAL_ITEMS: Final = 5  # that a place must have for its people to be evaluated
MAX_ITEMS: Final = 20_000


class LocalityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    One point of a curve. Shares and recalls are means over people, in [0, 1]. `weight` is the locality weight in
    standard deviations, or the floor's share. `local_recall` is that of the held-out items that are local.
    `unknown_share`: slots with an item of unknown place. `watch`: the estimated watch fraction, of an artifact alone.
    """

    method: str
    weight: float
    recall: float
    ndcg: float
    local_share: float
    local_recall: float | None
    unknown_share: float
    watch: float | None = None


class LocalityCurve(msgspec.Struct, frozen=True, kw_only=True):
    """
    The curve over a part of the people. `history_share` is the local share of what they chose in train; `baseline` and
    `tuned` are the points without and with the tuned weights; `recall_change` is their difference, person by person.
    """

    name: str
    n_people: int
    history_share: float
    lift_weight: float
    locality_weight: float
    baseline: LocalityPoint
    tuned: LocalityPoint
    recall_change: Estimate
    points: list[LocalityPoint]


class LocalityBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """All results of `sanad bench locality`."""

    k: int
    seed: int
    n_users: int
    n_items: int
    n_places: int
    n_dropped: int
    large_places: list[str]
    groups: list[LocalityCurve]


def run_benchmark(split: LocalitySplit, *, k: int, seed: int, on_progress: Progress = quiet) -> LocalityBenchmark:
    """The curves over everybody with local supply, and over those outside the large places. Raises DataError."""
    if split.train.shape[1] > MAX_ITEMS:
        raise DataError(f"items: found {split.train.shape[1]:,}, expected at most {MAX_ITEMS:,} (memory grows with n²)")
    large = split.large_places()
    groups = []
    for name, rows in _groups(split, large).items():
        on_progress(f"tune {name}", 0, None)
        splits = [hold_out_share(split, VALIDATION_SHARE, np.random.default_rng([seed, 1, n])) for n in range(N_SPLITS)]
        target = TARGET_LIFT * metrics.mean(history_share(split, rows))
        locality_weight, lift_weight = tune_weights(splits, rows, k, target=target)
        on_progress(f"evaluate {name}", 0, None)
        groups.append(_curve(split, name, rows, locality_weight, lift_weight, k, np.random.default_rng([seed, 2])))
    return LocalityBenchmark(
        k=k, seed=seed, n_users=split.train.shape[0], n_items=split.train.shape[1], n_places=len(split.places),
        n_dropped=split.n_dropped, large_places=list(large), groups=groups,
    )  # fmt: skip


def _groups(split: LocalitySplit, large: tuple[str, ...]) -> Mapping[str, Rows]:
    """People with something held out whose place has local items."""
    n_local = np.bincount(split.item_place[split.item_place != UNKNOWN], minlength=len(split.places))
    has_supply = (split.user_place != UNKNOWN) & (n_local[np.maximum(split.user_place, 0)] >= MIN_LOCAL_ITEMS)
    is_evaluated = has_supply & (np.diff(split.test.indptr) > 0)
    is_large = np.isin(split.user_place, [split.places.index(place) for place in large])
    if not is_evaluated.any():
        raise DataError(f"test: found nobody held out whose place has {MIN_LOCAL_ITEMS} items; expected some")
    groups = {"everybody with local supply": np.flatnonzero(is_evaluated)}
    if large and (is_evaluated & ~is_large).any():
        groups[f"outside {' and '.join(large)}"] = np.flatnonzero(is_evaluated & ~is_large)
    return groups


def history_share(split: LocalitySplit, rows: Rows) -> Reals:
    """(len(rows),) the local share of what each person chose in train."""
    n_local = np.asarray(split.train[rows].multiply(split.is_local(rows)).sum(axis=1)).ravel()
    return np.asarray(n_local / np.maximum(np.diff(split.train.indptr)[rows], 1), np.float64)


def _curve(
    split: LocalitySplit, name: str, rows: Rows, weight: float, lift_weight: float, k: int, rng: np.random.Generator
) -> LocalityCurve:
    plans: dict[tuple[str, float], Plan] = {("tuned", weight): (scaled_boost(weight, lift_weight), 0.0)}
    plans |= {("additive", w): (additive_boost(w), 0.0) for w in LOCALITY_WEIGHTS}
    plans |= {("sanad", w): (scaled_boost(w, lift_weight), 0.0) for w in LOCALITY_WEIGHTS}
    plans |= {("floor", f): (additive_boost(0.0), f) for f in FLOORS}
    plans |= {("tuned, floor", f): (scaled_boost(weight, lift_weight), f) for f in FLOORS}
    values = evaluate_plans(split, rows, plans, k)
    points = {(method, w): _point(method, w, row) for (method, w), row in values.items()}
    gain = values["tuned", weight]["recall"] - values["additive", 0.0]["recall"]
    return LocalityCurve(
        name=name,
        n_people=len(rows),
        history_share=metrics.mean(history_share(split, rows)),
        lift_weight=lift_weight,
        locality_weight=weight,
        baseline=points["additive", 0.0],
        tuned=points["tuned", weight],
        recall_change=estimate(gain, resample(len(rows), rng)),
        points=[point for (method, _), point in points.items() if method != "tuned"],
    )


def _point(method: str, weight: float, values: Mapping[str, Reals]) -> LocalityPoint:
    means = {metric: metrics.mean(column) for metric, column in values.items()}
    local_recall = means.pop("local_recall")
    return LocalityPoint(
        method=method, weight=weight, local_recall=None if np.isnan(local_recall) else local_recall, **means
    )
