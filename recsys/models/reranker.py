"""
The re-ranker: trees that order the best items of the blend for each user.

A weighted sum adds up everything a history says. So much weak evidence outweighs one strong reason, and the weights are
the same for a user with five interactions and with five hundred. The trees see what the sum loses, for every base
model: how near an item is to the nearest item of the history, to the three nearest, and to the nearest with negative
feedback; its rank among the best items; how much is known of the user and of the item. The re-ranked items share out
the scores that the sum gave them, so the scale of the scores stays the same, and everything below them too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.models.base import ItemItemModel, PopularityModel, PreferenceModel
from recsys.models.interactions import UserInteractions, row_numbers
from recsys.topk import top_k
from recsys.types import Booster, Csr, Floats, Mask, Reals, Rows

N_RERANKED: Final = 64
"""How many of a user's best items are re-ranked."""

SHRINKAGE: Final = 0.7
"""
How much of what the trees add counts. Future users differ from the validation users more than one half of these differs
from the other. On Gowalla, whose test is later than its train, half of it orders better than all of it (LOG.md).
"""

_N_NEAREST: Final = 3
"""Nearest items of the history whose mean similarity is a feature."""

ModelScores = Mapping[str, Floats]
"""(q, n_items) standardised scores of each base model."""

Offset = tuple[float, float, float]
"""What the trees start from: a slope for the weighted sum, one for the rank, and a constant."""


class _HasVectors(Protocol):
    @property
    def item_vectors(self) -> Floats: ...


@dataclass(frozen=True, slots=True, eq=False)
class Reranker:
    """
    `trees` read the `reranker_features` of the base models `model_names`, and start from `offset`.

    Shapes: `item_use` (n_items,) as `compute_item_use` returns it.
    """

    trees: Booster
    offset: Offset
    model_names: tuple[str, ...]
    item_use: Floats

    def rerank(
        self,
        total: Floats,
        by_model: ModelScores,
        base_models: Mapping[str, PreferenceModel],
        users: UserInteractions,
    ) -> Floats:
        """(q, n_items) the weighted sum `total`, in which each user's best new items share out their scores anew."""
        rows, is_new = select_candidates(total, users)
        models = {name: base_models[name] for name in self.model_names}
        features = reranker_features(rows, total, by_model, models, users, self.item_use)
        log_odds = offset_log_odds(self.offset, features) + predict_trees(self.trees, features)
        return reassign_scores(total, rows, np.where(is_new, log_odds, -np.inf), users)


def predict_trees(trees: Booster, features: Floats, first: int = 0, count: int = -1) -> Reals:
    """(q, m) what `count` trees from `first` on add to the log odds, after shrinkage; all that are left for -1."""
    rows = features.reshape(-1, features.shape[2])
    raw = trees.predict(rows, raw_score=True, start_iteration=first, num_iteration=count, num_threads=1)
    return np.asarray(SHRINKAGE * raw.reshape(features.shape[:2]))


def offset_log_odds(offset: Offset, features: Floats) -> Floats:
    """
    (...,) the log odds that the trees start from, of `features` (..., n): the first is the sum, the fourth its rank.
    """
    score, rank, constant = offset
    return np.asarray(score * features[..., 0] + rank * features[..., 3] + constant)


def reassign_scores(total: Floats, rows: Rows, log_odds: NDArray[np.floating], users: UserInteractions) -> Floats:
    """
    A copy of `total` (q, n_items) in which the scores of `rows` (q, m), best first, go to the same rows in the order of
    `log_odds` (q, m). A user without a positive interaction keeps their scores.
    """
    order = np.argsort(-log_odds, axis=1, kind="stable")
    after = np.where(has_positives(users)[:, None], np.take_along_axis(rows, order, axis=1), rows)
    reassigned = total.copy()
    np.put_along_axis(reassigned, after, np.take_along_axis(total, rows, axis=1), axis=1)
    return reassigned


def has_positives(users: UserInteractions) -> Mask:
    """(q,) whether a user has a positive interaction."""
    return np.bincount(row_numbers(users.full)[users.full.data > 0], minlength=len(users)) > 0


def select_candidates(total: Floats, users: UserInteractions) -> tuple[Rows, Mask]:
    """(q, m) the best items of each user, those they know already last; and (q, m) which are new to them."""
    fresh = total.copy()
    fresh[row_numbers(users.excluded), users.excluded.indices] = -np.inf
    rows = top_k(fresh, N_RERANKED)
    return rows, np.take_along_axis(fresh, rows, axis=1) > -np.inf


def compute_item_use(positives: Csr) -> Floats:
    """(n_items,) how many users have a positive interaction with an item, as log(1 + count / mean count)."""
    counts = np.bincount(positives.indices[positives.data > 0], minlength=positives.shape[1]).astype(np.float32)
    mean = max(float(counts.mean()) if len(counts) else 0.0, 1e-9)
    return np.asarray(np.log1p(counts / mean), np.float32)


def reranker_features(
    rows: Rows,
    total: Floats,
    by_model: ModelScores,
    models: Mapping[str, PreferenceModel],
    users: UserInteractions,
    item_use: Floats,
) -> Floats:
    """
    (q, m, n_features) float32 of the items `rows` (q, m).

    For the sum and each model: the score, its share of the user's best, that best, the rank as log(1 + rank). For each
    model that compares items: the similarity to the nearest positive item, the mean of the three nearest, the
    similarity to the nearest item with negative feedback, and how much the model knows of the item. Then the item's
    use, the mean use of the user's positive items, and log(1 + how many these are).
    """
    columns: list[NDArray[np.floating]] = []
    for scores in (total, *(by_model[name] for name in models)):
        columns += _score_columns(np.take_along_axis(scores, rows, axis=1))
    near, user_columns = _history_columns(rows, models, users, item_use)
    columns += [*near.reshape(-1, *rows.shape), item_use[rows], *np.broadcast_to(user_columns, (2, *rows.shape))]
    return np.stack(columns, axis=2).astype(np.float32)


def _score_columns(scores: Floats) -> list[NDArray[np.floating]]:
    """Of (q, m) scores: the score, its share of the best, the best, and the rank as log(1 + rank); (q, m) each."""
    best = np.maximum(scores.max(axis=1, keepdims=True, initial=0), 1e-6)
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return [scores, scores / best, np.broadcast_to(best, scores.shape), np.log1p(rank)]


def _history_columns(
    rows: Rows, models: Mapping[str, PreferenceModel], users: UserInteractions, item_use: Floats
) -> tuple[Floats, Floats]:
    """(n_compared, 4, q, m) the similarities of candidates and history; (2, q, 1) use and number of positive items."""
    compared = [model for model in models.values() if not isinstance(model, PopularityModel)]
    near = np.zeros((len(compared), 4, *rows.shape), np.float32)
    user_columns = np.zeros((2, len(rows), 1), np.float32)
    full = users.full
    for user, candidates in enumerate(rows):
        entries = slice(full.indptr[user], full.indptr[user + 1])
        items, is_positive = full.indices[entries], full.data[entries] > 0
        if not is_positive.any():
            continue
        user_columns[:, user, 0] = item_use[items[is_positive]].mean(), np.log1p(is_positive.sum())
        for n, model in enumerate(compared):
            similarity, known = compute_similarity(model, items, candidates)
            to_negative = similarity[~is_positive].max(axis=0, initial=0)
            near[n, :, user] = *_nearest_similarities(similarity[is_positive]), to_negative, known
    return near, user_columns


def count_features(models: Mapping[str, PreferenceModel]) -> int:
    """How many `reranker_features` there are for these models."""
    n_compared = sum(not isinstance(model, PopularityModel) for model in models.values())
    return 4 * (1 + len(models)) + 4 * n_compared + 3


def compute_similarity(
    model: PreferenceModel, items: NDArray[np.integer], candidates: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """
    (h, m) the similarity of the items (h,) of a history and the candidates (m,): the cosine in a space, the weight in
    an item-item model; and (m,) how much the model knows of a candidate: the length of its vector, or how many of the
    items have a weight to it.
    """
    if isinstance(model, ItemItemModel):
        pairs = _pair_weights(model.weights, items, candidates)
        return pairs, (pairs > 0).sum(axis=0).astype(np.float32)
    vectors = np.asarray(cast(_HasVectors, model).item_vectors)
    from_history, to_candidates = vectors[items], vectors[candidates]
    lengths = np.linalg.norm(to_candidates, axis=1)
    products = from_history @ to_candidates.T
    products /= np.maximum(np.linalg.norm(from_history, axis=1), 1e-12)[:, None]
    products /= np.maximum(lengths, 1e-12)
    return products, lengths


def _pair_weights(weights: Csr | Floats, items: NDArray[np.integer], candidates: NDArray[np.integer]) -> Floats:
    """(h, m) entries of a dense matrix, or of a sparse one, whose own choice of columns is slow."""
    if not sparse.issparse(weights):
        return np.asarray(weights[np.ix_(items, candidates)], np.float32)
    starts, counts = weights.indptr[items], np.diff(weights.indptr)[items]
    owner = np.repeat(np.arange(len(items)), counts)
    at = np.arange(len(owner)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    order = np.argsort(candidates)
    ordered = candidates[order]
    columns = weights.indices[at]
    place = np.minimum(np.searchsorted(ordered, columns), len(ordered) - 1)
    is_present = ordered[place] == columns
    pairs = np.zeros((len(items), len(candidates)), np.float32)
    pairs[owner[is_present], order[place[is_present]]] = weights.data[at[is_present]]
    return pairs


def _nearest_similarities(similarity: Floats) -> tuple[Floats, Floats]:
    """Of (h, m), h > 0: (m,) the largest of each column, and the sum of its three largest, divided by three."""
    n = min(_N_NEAREST, len(similarity))
    largest = np.partition(similarity, len(similarity) - n, axis=0)[-n:]
    return largest.max(axis=0), largest.sum(axis=0) / _N_NEAREST
