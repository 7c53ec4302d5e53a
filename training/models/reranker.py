"""
Fitting the re-ranker: trees over the blend's best items, from what users went on to interact with.

The trees start from the weighted sum and the rank, and are regularised, so that little evidence changes little. Trees
of each half of the users are evaluated on the other half, at several sizes (cross-validation). They are kept when they
raise NDCG by more than two standard errors; then all users fit them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import ndcg
from recsys.models.blend import Blend
from recsys.models.interactions import UserInteractions, entries_at
from recsys.models.reranker import (
    Offset,
    Reranker,
    has_positives,
    offset_log_odds,
    predict_trees,
    reranker_features,
    select_candidates,
)
from recsys.models.trees import open_booster
from recsys.types import Booster, Csr, Floats, Mask, Reals, Rows
from training.models.yardstick import standard_error

TREE_COUNTS: Final = (10, 25, 50, 100, 150)
"""Numbers of trees that are tried."""

MIN_USERS: Final = 100
"""Users who went on to interact with one of their best items; fewer prove nothing."""

MIN_STANDARD_ERRORS: Final = 2.0
"""Of the gain, which has to be larger, because the best of several sizes is taken."""

MAX_ROWS: Final = 500_000
"""Rows that trees are fitted to; beyond it rows without an interaction are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class RerankerTable:
    """
    The features of each user's best items, in the order of the weighted sum, and which of them became relevant.

    Shapes: `features` (q, m, n_features) float16; `is_new`, `is_relevant` (q, m); `n_relevant` (q,). `users` (q,) user
            numbers: the rows of a user who occurs twice are on the same side.
    """

    features: NDArray[np.float16]
    is_new: Mask
    is_relevant: Mask
    n_relevant: NDArray[np.int64]
    users: Rows

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Rows | Mask) -> "RerankerTable":
        """The given rows."""
        return RerankerTable(
            self.features[rows], self.is_new[rows], self.is_relevant[rows], self.n_relevant[rows], self.users[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerFit:
    """
    `trees` and `offset` as in `Reranker`; no trees where they do not help. NDCG at k of the weighted sum, and
    cross-validated with the trees, with its standard `error`.
    """

    trees: Booster | None
    offset: Offset
    ndcg_without: float
    ndcg_cross_validated: float
    error: float = float("nan")

    def build(self, names: tuple[str, ...], item_use: Floats) -> Reranker | None:
        """The re-ranker over the base models that were validated, in their order; None without trees."""
        return None if self.trees is None else Reranker(self.trees, self.offset, names, item_use)


NO_RERANKER: Final = RerankerFit(
    trees=None, offset=(1.0, 0.0, 0.0), ndcg_without=float("nan"), ndcg_cross_validated=float("nan")
)


def build_reranker_table(
    blend: Blend, item_use: Floats, users: UserInteractions, numbers: Rows, relevant: Csr, block: int = 64
) -> RerankerTable:
    """
    The rows of the users who have a positive interaction.

    Shapes: `users` of q people; `numbers` (q,) their user numbers; `relevant` CSR (q, n_items), what they went on to
            interact with.
    Memory: q * N_RERANKED * n_features * 2 bytes.
    """
    known = np.flatnonzero(has_positives(users))
    n_relevant = np.diff(relevant.indptr)[known].astype(np.int64)
    features: NDArray[np.float16] = np.empty((len(known), 0, 0), np.float16)
    is_new: Mask = np.empty((len(known), 0), np.bool_)
    is_relevant = is_new
    for start in range(0, len(known), block):
        at = known[start : start + block]
        batch = users[at]
        total, by_model = blend.weighted_sum(batch)
        rows, fresh = select_candidates(total, batch)
        values = reranker_features(rows, total, by_model, blend.base_models, batch, item_use)
        if not start:
            features = np.empty((len(known), *values.shape[1:]), np.float16)
            is_new, is_relevant = (np.empty(features.shape[:2], np.bool_) for _ in range(2))
        here = slice(start, start + len(at))
        features[here], is_new[here] = np.clip(values, -6e4, 6e4), fresh
        is_relevant[here] = (entries_at(relevant[at], rows) > 0) & fresh
    return RerankerTable(features, is_new, is_relevant, n_relevant, numbers[known])


def stack_reranker_tables(tables: Sequence[RerankerTable]) -> RerankerTable:
    """The tables of several folds as one."""
    full = [table for table in tables if len(table)] or list(tables[:1])
    if len(full) == 1:
        return full[0]
    return RerankerTable(
        np.concatenate([table.features for table in full]),
        np.concatenate([table.is_new for table in full]),
        np.concatenate([table.is_relevant for table in full]),
        np.concatenate([table.n_relevant for table in full]),
        np.concatenate([table.users for table in full]),
    )


def fit_reranker(table: RerankerTable, k: int, rng: np.random.Generator) -> RerankerFit:
    """The trees, if they help. Equal inputs and generators give equal trees."""
    users, number = np.unique(table.users, return_inverse=True)
    side = (rng.permutation(len(users)) % 2)[number]
    n_helped = len(np.unique(number[table.is_relevant.any(axis=1)]))
    if n_helped < MIN_USERS or not all(_has_both_labels(table.take(side == half)) for half in (0, 1)):
        return NO_RERANKER
    seed = int(rng.integers(2**31))
    plain = ndcg(table.is_relevant, table.n_relevant, k)
    by_size = _cross_validate(table, side, k, seed)
    best = int(by_size.mean(axis=1).argmax())
    gain = np.bincount(number, by_size[best] - plain) / np.bincount(number)  # of each user
    without = float(plain.mean())
    if gain.mean() <= MIN_STANDARD_ERRORS * gain.std() / len(gain) ** 0.5:
        return RerankerFit(trees=None, offset=NO_RERANKER.offset, ndcg_without=without, ndcg_cross_validated=without)
    trees, offset = _fit_trees(table, TREE_COUNTS[best], seed)
    crossed, error = float(by_size[best].mean()), standard_error(by_size[best], table.users)
    return RerankerFit(trees=trees, offset=offset, ndcg_without=without, ndcg_cross_validated=crossed, error=error)


def _cross_validate(table: RerankerTable, side: Rows, k: int, seed: int) -> Reals:
    """(len(TREE_COUNTS), q) NDCG of each row with the trees of the other half of the users."""
    by_size = np.zeros((len(TREE_COUNTS), len(table)))
    for half in (0, 1):
        trees, offset = _fit_trees(table.take(side == half), max(TREE_COUNTS), seed)
        for rows in np.array_split(np.flatnonzero(side != half), max(1, len(table) // 1_000)):
            by_size[:, rows] = list(_ndcg_by_size(trees, offset, table.take(rows), k))
    return by_size


def _has_both_labels(table: RerankerTable) -> bool:
    """Whether some new item became relevant and some did not."""
    labels = table.is_relevant[table.is_new]
    return bool(labels.any() and not labels.all())


def _fit_trees(table: RerankerTable, n_trees: int, seed: int) -> tuple[Booster, Offset]:
    """Trees and the offset that they start from."""
    import lightgbm
    from sklearn.linear_model import LogisticRegression

    relevant = table.is_relevant
    share = min(1.0, MAX_ROWS / max(1, relevant.size))
    is_drawn = relevant | (np.random.default_rng(seed).random(relevant.shape) < share)
    is_drawn &= table.is_new
    rows, labels = table.features[is_drawn].astype(np.float32), relevant[is_drawn]
    fitted = LogisticRegression(C=1e3).fit(rows[:, [0, 3]], labels)
    offset = (float(fitted.coef_[0, 0]), float(fitted.coef_[0, 1]), float(fitted.intercept_[0]))
    settings = {
        "objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 300, "lambda_l2": 50.0,
        "feature_fraction": 0.7, "bagging_fraction": 0.7, "bagging_freq": 1, "boost_from_average": False, "seed": seed,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(rows, labels.astype(np.float32), init_score=offset_log_odds(offset, rows))
    return open_booster(lightgbm.train(settings, data, n_trees).model_to_string()), offset


def _ndcg_by_size(trees: Booster, offset: Offset, table: RerankerTable, k: int) -> Iterator[Reals]:
    """(q,) NDCG with the first trees, for each number in `TREE_COUNTS`."""
    features = table.features.astype(np.float32)
    log_odds: NDArray[np.floating] = offset_log_odds(offset, features)
    for first, size in pairwise((0, *TREE_COUNTS)):
        log_odds = log_odds + predict_trees(trees, features, first, size - first)
        order = np.argsort(-np.where(table.is_new, log_odds, -np.inf), axis=1, kind="stable")
        yield ndcg(np.take_along_axis(table.is_relevant, order, axis=1), table.n_relevant, k)
