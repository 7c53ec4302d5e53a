"""How often impressions of an item, and of its creator, ended in an action: means, shrunk by how much they tell."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.data.impressions import Impressions, past_responses
from recsys.models.affinity import affinities, embed_user
from recsys.models.features import RATE_NAMES, RESPONSE
from recsys.types import Floats, Ids, Reals
from recsys.vocabulary import HEADS
from training.saturation import saturate

N_FOLDS: Final = 5

MAX_STRENGTH: Final = 1_000.0
"""In impressions of people who saw nothing else; where groups differ by chance alone, a mean counts next to nothing."""


def fit_rates(shown: Impressions, creator: Ids, before: Millis | None) -> Floats:
    """
    (n_items, 2 * len(RATE_NAMES)) the mean of each of `RATE_NAMES` over the impressions of each item, then of its
    creator. A person counts once for an item, and for a creator's items together as `saturation` says.

    A creator's mean is shrunk to that of all, an item's to its creator's, by as much as impressions of one item differ
    beside items (Bühlmann and Straub 1970). Shape: creator (n_items,) codes.
    """
    known = shown if before is None else shown.take(shown.at < before)
    weights = saturate(np.ones(len(known)), known.people, creator[known.rows], known.is_known)
    outcomes = {
        "response": known.response,
        **{name: known.did[:, HEADS.index(name)] for name in RATE_NAMES if name != "response"},
    }
    columns: list[Reals] = []
    for name in RATE_NAMES:
        values = np.asarray(outcomes[name], np.float64)
        mean = float(np.average(values, weights=weights)) if len(values) else 0.0
        of_creator = _shrunk_means(values - mean, weights, creator[known.rows], int(creator.max(initial=0)) + 1)[
            creator
        ]
        of_item = _shrunk_means(values - mean - of_creator[known.rows], weights, known.rows, len(creator))
        columns += [mean + of_creator + of_item, mean + of_creator]
    return np.array([*columns[::2], *columns[1::2]], np.float32).T.copy()


def cross_fitted_columns(shown: Impressions, creator: Ids, features: Floats) -> Mapping[str, Floats]:
    """
    Rates, affinity and mean surprise (n,) of every impression, by the name of the feature, worked out from the
    impressions of other folds. Shapes: creator (n_items,); features (n_items, d), see `recsys.models.affinity`.
    """
    names = (*(f"{of}_{name}" for of in ("item", "creator") for name in RATE_NAMES), "affinity", "mean_surprise")
    columns = np.empty((len(names), len(shown)), np.float32)
    fold = np.arange(len(shown)) % N_FOLDS
    for number in range(N_FOLDS):
        inside, others = np.flatnonzero(fold == number), shown.take(fold != number)
        rates = fit_rates(others, creator, None)
        columns[:-2, inside] = rates[shown.rows[inside]].T
        columns[-2:, inside] = _affinity_columns(shown.take(inside), others, features, rates[:, RESPONSE]).T
    return dict(zip(names, columns, strict=True))


def _affinity_columns(shown: Impressions, others: Impressions, features: Floats, expected: Floats) -> Floats:
    """(n, 2) affinity and mean surprise of impressions, by what the same people did with others."""
    n_people = int(max(shown.people.max(initial=0), others.people.max(initial=0))) + 1
    past = past_responses(others, n_people)
    order = np.argsort(shown.people, kind="stable")
    ends = np.searchsorted(shown.people[order], np.arange(n_people + 1))
    columns = np.empty((len(shown), 2), np.float32)
    for person in np.unique(shown.people).tolist():
        mine = order[ends[person] : ends[person + 1]]
        user = embed_user(features, expected, past.of(person))
        columns[mine, 0] = affinities(features, user, shown.rows[mine])
        columns[mine, 1] = user[-1]
    return columns


def _shrunk_means(values: Reals, weights: Reals, groups: Ids, n_groups: int) -> Reals:
    """(n_groups,) the means of values (n,) by group, shrunk to 0 by `credibility_strength`."""
    sums, volumes = np.bincount(groups, weights * values, n_groups), np.bincount(groups, weights, n_groups)
    return np.asarray(sums / (volumes + credibility_strength(values, weights, groups, n_groups)))


def credibility_strength(values: Reals, weights: Reals, groups: Ids, n_groups: int) -> float:
    """
    The weight at which the mean of a group is to be trusted half: the variance within groups over that between them,
    between 1 and `MAX_STRENGTH` (Bühlmann and Straub 1970). Shapes: values, weights and groups (n,).
    """
    volumes, n = np.bincount(groups, weights, n_groups), len(values)
    total, used = float(volumes.sum()), int((volumes > 0).sum())
    if n <= used or used < 2:
        return MAX_STRENGTH
    means = np.bincount(groups, weights * values, n_groups) / np.where(volumes > 0, volumes, 1.0)
    within = float((weights * (values - means[groups]) ** 2).sum() / (n - used))
    mean = float((weights * values).sum()) / total
    spread = float((volumes * (means - mean) ** 2).sum())
    between = (spread - (used - 1) * within) / (total - float((volumes**2).sum()) / total)
    return float(np.clip(within / between, 1.0, MAX_STRENGTH)) if between > 0 else MAX_STRENGTH
