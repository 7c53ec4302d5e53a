"""
The estimated watch fraction: how much people would watch of what a ranking puts first, watched or not.

Recall and NDCG count what people went on to watch, and they could only watch what the old feed had shown. Here every
impression after the cutoff counts, by how high the ranking puts it and by the inverse of the propensity with which it
was shown (SNIPS). Training makes its choices by the same measure (`training.models.mixing_weight`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eval.offline.holdout import HeldOutImpressions
from recsys.feed.query import Query
from recsys.metrics import (
    CLIP,
    effective_size,
    estimated_propensity,
    importance_weights,
    influence,
    ranking_target,
    tells_exposure,
)
from recsys.types import Floats, Ids, Reals

MAX_DRAWN: Final = 500
"""Items drawn uniformly from what could be shown, in which the rank of an impression is measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedImpressions:
    """The impressions of one person and, by ranking, how much it would show of each (m,)."""

    impressions: HeldOutImpressions
    target: Mapping[str, Reals]


def rank_impressions(
    query: Query, impressions: HeldOutImpressions, item_nos: Ids, score: Callable[[Ids], Mapping[str, Floats]]
) -> RankedImpressions:
    """
    The impressions that pass the filters, and how high each ranking puts them.

    `item_nos` (n_rows,) are the item numbers of the artifact's rows; `score` gives the scores of item numbers (n,) by
    ranking. A rank is measured among items drawn uniformly from what could be shown.
    """
    is_open = query.is_eligible[item_nos[impressions.rows]]
    kept = HeldOutImpressions(
        rows=impressions.rows[is_open], response=impressions.response[is_open],
        propensity=impressions.propensity[is_open],
    )  # fmt: skip
    drawn, n_open = _draw_open(query), int(query.is_eligible.sum())
    scores = score(np.concatenate([drawn, item_nos[kept.rows]]))
    target = {
        name: ranking_target(values[: len(drawn)], values[len(drawn) :], n_open) for name, values in scores.items()
    }
    return RankedImpressions(impressions=kept, target=target)


def _draw_open(query: Query) -> Ids:
    """Item numbers drawn uniformly from what could be shown; the same draw for the same request."""
    eligible = np.flatnonzero(query.is_eligible).astype(np.int32)
    rng = np.random.default_rng([query.seed, 3])
    return np.sort(rng.choice(eligible, min(MAX_DRAWN, len(eligible)), replace=False)).astype(np.int32)


def estimated_watch(people: Sequence[RankedImpressions], rankings: Sequence[str], n_rows: int) -> dict[str, Reals]:
    """
    By ranking, a value for each person (q,) whose mean is the estimate and whose spread gives its error.

    The estimate is a ratio of sums over everybody, so a value is the estimate plus what the person moves it
    (`metrics.influence`). NaN for a ranking without scores, and where nothing counts. `n_rows` is how many items the
    artifact has.
    """
    numbers = np.repeat(np.arange(len(people)), [len(person.impressions.rows) for person in people])
    response = _joined([person.impressions.response for person in people])
    propensity = _propensity(people, n_rows)
    values: dict[str, Reals] = {}
    for name in rankings:
        if not all(name in person.target for person in people):
            values[name] = np.full(len(people), np.nan)
            continue
        weights = importance_weights(propensity, _joined([person.target[name] for person in people]), CLIP)
        total = float(weights.sum())
        estimate = float(weights @ response) / total if total > 0 else float("nan")
        values[name] = estimate + influence(response, weights, numbers, len(people))
    return values


def effective_impressions(people: Sequence[RankedImpressions], ranking: str, n_rows: int) -> float:
    """How many equally weighted impressions would tell as much about a ranking."""
    target = _joined([person.target[ranking] for person in people if ranking in person.target])
    return effective_size(importance_weights(_propensity(people, n_rows), target, CLIP)) if len(target) else 0.0


def _propensity(people: Sequence[RankedImpressions], n_rows: int) -> Reals:
    """The logged propensities of all impressions; estimated for all where they do not tell how the old feed chose."""
    logged = _joined([person.impressions.propensity for person in people])
    if tells_exposure(logged):
        return logged
    rows = np.concatenate([person.impressions.rows for person in people]) if people else np.empty(0, np.int32)
    return np.asarray(estimated_propensity(np.bincount(rows, minlength=n_rows))[rows], np.float64)


def _joined(parts: Sequence[Floats | Reals]) -> Reals:
    return np.asarray(np.concatenate(parts) if parts else np.empty(0), np.float64)
