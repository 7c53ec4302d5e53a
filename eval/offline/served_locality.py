"""
What favouring local items costs in what an artifact serves: the whole score of blend, ranker and policy, with other
locality weights and with floors, on what people did after the artifact's cutoff.

Recall and NDCG are "as exposed": people could only act on what the old feed had shown. The estimated watch fraction
(`eval.offline.watch`) stands beside them for the weights; a floor has no ranking of its own to measure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from eval.offline.holdout import HeldOutUser, cutoff_of, hold_out, sample
from eval.offline.locality_benchmark import FLOORS, LOCALITY_WEIGHTS, LocalityPoint
from eval.offline.replay import offline_engine, request_of, with_predictions
from eval.offline.same_data import compare_data
from eval.offline.watch import RankedImpressions, estimated_watch, rank_impressions
from recsys import metrics
from recsys.clock import from_text
from recsys.data.locality_cost import LocalityScores, rank_pages
from recsys.feed import scorers
from recsys.feed.query import Query
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.progress import Progress, quiet
from recsys.types import Floats, Ids, Reals

WEIGHT: Final = "weight"
FLOOR: Final = "floor"
"""At the served weight."""

Key = tuple[str, float]
"""The method and the weight or floor of a point."""


class ServedLocality(msgspec.Struct, frozen=True, kw_only=True):
    """
    The points over `n_people`. `served_weight` is what pages of these people have, as a mean; `served_floor` is that of
    the policy; `mixing_weight` is the share of the ranker in the preference scores, 0 without one.
    """

    k: int
    seed: int
    n_people: int
    served_weight: float
    served_floor: float
    mixing_weight: float
    points: list[LocalityPoint]


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """By point: recall, ndcg, local share, recall of local items and share of unknown place; and the impressions."""

    values: Mapping[Key, Mapping[str, float]]
    impressions: RankedImpressions
    served_weight: float


def measure_served(
    artifact: Path, data: Path, policy: Path, *, k: int, n_people: int, seed: int, on_progress: Progress = quiet
) -> ServedLocality:
    """
    Every point. Equal files and seeds give equal points.

    Raises: ArtifactError, ConfigError or DataError, also for data that the artifact did not learn from.
    """
    on_progress("artifact", 0, None)
    loaded, market = load_artifact(artifact), load_market(policy)
    compare_data(loaded, data, cutoff_of(loaded), None)
    people = sample(hold_out(loaded, data), n_people, np.random.default_rng([seed, 1]))
    engine = offline_engine(loaded, market, from_text(loaded.manifest.created_at), [])
    items = engine.resources.catalogue_cache.items
    item_nos = np.zeros(len(loaded.items), np.int32)  # by row of the artifact
    item_nos[items.row[items.row >= 0]] = np.flatnonzero(items.row >= 0)
    parts = []
    with threadpool_limits(1):
        for n_done, person in enumerate(people, start=1):
            query = engine.plan(request_of(person, items, item_nos, k), person.at).context.query
            parts.append(_measure_person(query, person, item_nos, k))
            on_progress("measure", n_done, len(people))
    names = [f"{weight:g}" for weight in LOCALITY_WEIGHTS]
    watched = estimated_watch([part.impressions for part in parts], names, len(items))
    return ServedLocality(
        k=k,
        seed=seed,
        n_people=len(people),
        served_weight=float(np.mean([part.served_weight for part in parts])),
        served_floor=market.locality.floor,
        mixing_weight=loaded.ranker.mixing_weight if loaded.ranker else 0.0,
        points=[_point(key, [part.values[key] for part in parts], watched) for key in parts[0].values],
    )


def _point(key: Key, values: list[Mapping[str, float]], watched: Mapping[str, Reals]) -> LocalityPoint:
    method, weight = key
    means = {name: metrics.mean(np.array([of_person[name] for of_person in values])) for name in values[0]}
    local_recall = means.pop("local_recall")
    watch = metrics.mean(watched[f"{weight:g}"]) if method == WEIGHT else float("nan")
    return LocalityPoint(
        method=method,
        weight=weight,
        local_recall=None if np.isnan(local_recall) else local_recall,
        watch=None if np.isnan(watch) else watch,
        **means,
    )


def _measure_person(query: Query, person: HeldOutUser, item_nos: Ids, k: int) -> _Person:
    eligible = np.flatnonzero(query.is_eligible).astype(np.int32)
    served = query.weights.get("local", 0.0)
    pages: dict[Key, Ids] = {}
    neutral, local = _scores(query, eligible)
    for weight in LOCALITY_WEIGHTS:
        pages[WEIGHT, weight] = _page(query, eligible, neutral + np.float32(weight) * local, k, 0.0)
    for floor in FLOORS:
        pages[FLOOR, floor] = _page(query, eligible, neutral + np.float32(served) * local, k, floor)
    relevant = item_nos[person.relevant]
    values = {key: _values(query, page, relevant, k) for key, page in pages.items()}
    ranked = rank_impressions(query, person.impressions, item_nos, partial(_by_weight, query))
    return _Person(values, ranked, served)


def _scores(query: Query, rows: Ids) -> tuple[Floats, Floats]:
    """(n,) the score as served but for its weight of locality, and the locality that this multiplies."""
    candidates = with_predictions(query, query.whole.take(rows.astype(np.intp)))
    without = replace(query, weights={**query.weights, "local": 0.0})
    return scorers.value(without, candidates), scorers.local(query, candidates)


def _page(query: Query, eligible: Ids, scores: Floats, k: int, floor: float) -> Ids:
    """(min(k, n),) the best items, at least the floor's share of them local where there are enough."""
    if not len(eligible):
        return eligible
    one = LocalityScores(
        rows=np.zeros(1, np.intp), scores=scores[None], is_local=query.nearness.is_local[eligible][None],
        lift=np.zeros((1, len(eligible)), np.float32), history_factor=np.ones((1, 1), np.float32),
        is_known=np.zeros((1, len(eligible)), np.bool_),
    )  # fmt: skip
    return np.asarray(eligible[rank_pages(one, lambda users: users.scores, k, floor)[0]], np.int32)


def _values(query: Query, page: Ids, relevant: Ids, k: int) -> dict[str, float]:
    is_hit, is_local = np.isin(page, relevant)[None], query.nearness.is_local[page][None]
    n_relevant = np.array([len(relevant)])
    n_local = np.array([int(query.nearness.is_local[relevant].sum())])
    values = {
        "recall": metrics.recall(is_hit, n_relevant, k),
        "ndcg": metrics.ndcg(is_hit, n_relevant, k),
        "local_share": metrics.share(query.nearness.is_local, page[None]),
        "local_recall": metrics.recall(is_hit & is_local, n_local, k),
        "unknown_share": metrics.share(query.nearness.match == 0, page[None]),
    }
    return {name: float(of_one[0]) for name, of_one in values.items()}


def _by_weight(query: Query, item_nos: Ids) -> Mapping[str, Floats]:
    """(n,) the scores of items by the weight of locality."""
    neutral, local = _scores(query, item_nos)
    return {f"{weight:g}": neutral + np.float32(weight) * local for weight in LOCALITY_WEIGHTS}
