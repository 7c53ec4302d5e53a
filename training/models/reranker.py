"""
Fitting the re-ranker: trees over the blend's best items, from what users went on to interact with.

The trees start from the weighted sum and the rank, and are regularised, so that little evidence changes little. Trees
of each half of the users are evaluated on the other half, at several sizes (cross-validation). They are kept when they
raise the measure by more than two standard errors; then all users fit them again. The measure is the estimated watch
fraction where the log tells what users were shown, else NDCG at k.
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
from training.models.reranked_watch import RerankedWatch
from training.models.yardstick import Measured, standard_error

TREE_COUNTS: Final = (10, 25, 50, 100, 150)
"""Numbers of trees that are tried."""

MIN_USERS: Final = 100
"""Users who went on to interact with one of their best items; fewer prove nothing."""

MIN_STANDARD_ERRORS: Final = 2.0
"""Of the gain, which has to be larger, because the best of several sizes is taken."""

_CHUNK_USERS: Final = 1_000  # whose features are held as 32-bit floats at a time

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
    cross-validated with the trees, with its standard `error`. `watch_without`, `watch_with`: the estimated watch
    fraction without and with the trees, cross-validated, where it decided.
    """

    trees: Booster | None
    offset: Offset
    ndcg_without: float
    ndcg_cross_validated: float
    error: float = float("nan")
    watch_without: float = float("nan")
    watch_with: float = float("nan")

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


def fit_reranker(
    table: RerankerTable, k: int, rng: np.random.Generator, watch: RerankedWatch | None = None
) -> RerankerFit:
    """
    The trees, if they help by the estimate of `watch`, where it is given, else by NDCG at k. Equal inputs and
    generators give equal trees.
    """
    users, number = np.unique(table.users, return_inverse=True)
    side = (rng.permutation(len(users)) % 2)[number]
    n_helped = len(np.unique(number[table.is_relevant.any(axis=1)]))
    if n_helped < MIN_USERS or not all(_has_both_labels(table.take(side == half)) for half in (0, 1)):
        return NO_RERANKER
    seed = int(rng.integers(2**31))
    halves = [_fit_trees(table.take(side == half), max(TREE_COUNTS), seed) for half in (0, 1)]
    by_size = _cross_validate(table, side, halves, k)
    plain = ndcg(table.is_relevant, table.n_relevant, k)
    if watch is None:
        best = int(by_size.mean(axis=1).argmax())
        is_better, watched = _is_better(by_size[best] - plain, number), (float("nan"), float("nan"))
    else:
        best, is_better, watched = _choose_by_watch(watch, _opposite(watch.table.numbers, table.users, side), halves)
    values = by_size[best] if is_better else plain
    trees, offset = _fit_trees(table, TREE_COUNTS[best], seed) if is_better else (None, NO_RERANKER.offset)
    return RerankerFit(
        trees=trees, offset=offset, ndcg_without=float(plain.mean()), ndcg_cross_validated=float(values.mean()),
        error=standard_error(values, table.users) if is_better else float("nan"), watch_without=watched[0],
        watch_with=watched[1],
    )  # fmt: skip


def _is_better(gain: Reals, number: Rows) -> bool:
    """Whether the gain (q,) of rows, by user `number` (q,), is above 0 by the standard errors that it takes."""
    by_user = np.bincount(number, gain) / np.bincount(number)
    return bool(by_user.mean() > MIN_STANDARD_ERRORS * by_user.std() / len(by_user) ** 0.5)


def _opposite(numbers: Rows, users: Rows, side: Rows) -> Rows:
    """(u,) which half's trees did not learn from each user `numbers` (u,); alternately where neither did."""
    order = np.argsort(users, kind="stable")
    at = np.minimum(np.searchsorted(users[order], numbers), len(users) - 1)
    is_known = users[order][at] == numbers
    return np.where(is_known, 1 - side[order][at], numbers % 2)


def _choose_by_watch(
    watch: RerankedWatch, half: Rows, halves: Sequence[tuple[Booster, Offset]]
) -> tuple[int, bool, tuple[float, float]]:
    """Which size is best, whether it is better than none, and the estimates without and with it."""
    without, sizes = watch.measure(None), _watch_by_size(watch, half, halves)
    best = int(np.argmax([measured.value for measured in sizes]))
    error = standard_error(sizes[best].influence - without.influence, without.numbers)
    is_better = sizes[best].value - without.value > MIN_STANDARD_ERRORS * error
    return best, is_better, (without.value, sizes[best].value)


def _watch_by_size(watch: RerankedWatch, half: Rows, halves: Sequence[tuple[Booster, Offset]]) -> list[Measured]:
    """The estimate with the first trees, for each number in `TREE_COUNTS`; `half` (u,): whose trees order a user."""
    log_odds = np.zeros((len(TREE_COUNTS), *watch.items.is_new.shape))
    for number, (trees, offset) in enumerate(halves):
        mine = np.flatnonzero(half == number)
        for rows in np.array_split(mine, max(1, len(mine) // _CHUNK_USERS)):
            features = watch.items.features[rows].astype(np.float32)
            for size, values in enumerate(_log_odds_by_size(trees, offset, features)):
                log_odds[size, rows] = values
    return [watch.measure(values) for values in log_odds]


def _cross_validate(table: RerankerTable, side: Rows, halves: Sequence[tuple[Booster, Offset]], k: int) -> Reals:
    """(len(TREE_COUNTS), q) NDCG of each row with the trees of the other half of the users."""
    by_size = np.zeros((len(TREE_COUNTS), len(table)))
    for half, (trees, offset) in enumerate(halves):
        for rows in np.array_split(np.flatnonzero(side != half), max(1, len(table) // _CHUNK_USERS)):
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
    for log_odds in _log_odds_by_size(trees, offset, table.features.astype(np.float32)):
        order = np.argsort(-np.where(table.is_new, log_odds, -np.inf), axis=1, kind="stable")
        yield ndcg(np.take_along_axis(table.is_relevant, order, axis=1), table.n_relevant, k)


def _log_odds_by_size(trees: Booster, offset: Offset, features: Floats) -> Iterator[NDArray[np.floating]]:
    """(q, m) log odds with the first trees, for each number in `TREE_COUNTS`."""
    log_odds: NDArray[np.floating] = offset_log_odds(offset, features)
    for first, size in pairwise((0, *TREE_COUNTS)):
        log_odds = log_odds + predict_trees(trees, features, first, size - first)
        yield log_odds
