"""
Learning the second look: trees over the blend's best items, from what people went on to want.

They begin from what the sum and its places say, and are held back, so that little evidence changes little. Each half of
the people grows trees and judges those of the other half, at several sizes. They are kept when they put what people
wanted higher than the sum does by more than two standard errors; then all the people grow them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import ndcg
from recsys.models.blend import Blend
from recsys.models.interactions import Tastes
from recsys.models.reranker import SecondLook, begun, best, features, has_wishes, raw_of
from recsys.models.trees import open_booster
from recsys.types import Floats, Mask, Rows

SIZES: Final = (10, 25, 50, 100, 150)
"""Numbers of trees that are tried."""

FEWEST: Final = 100
"""People who went on to want one of their best items; fewer prove nothing."""

ERRORS: Final = 2.0
"""Standard errors that the gain has to be above, since the best of several sizes is taken."""

MOST_ROWS: Final = 500_000
"""Rows that trees are grown from: beyond it items that nobody wanted are drawn."""

Offset = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """
    What can be seen of each person's best items, in the order of the sum, and what the person went on to want.

    Shapes: `table` (q, m, n_features) float16; `is_new`, `is_relevant` (q, m); `n_relevant` (q,). `people` (q,) numbers
    of the people: of somebody who occurs twice both are on the same side.
    """

    table: NDArray[np.float16]
    is_new: Mask
    is_relevant: Mask
    n_relevant: NDArray[np.int64]
    people: Rows

    def __len__(self) -> int:
        return len(self.people)

    def of(self, rows: Any) -> "Looked":
        """Some of the rows."""
        return Looked(
            self.table[rows], self.is_new[rows], self.is_relevant[rows], self.n_relevant[rows], self.people[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    `trees` and `offset` as in `SecondLook`; no trees where they do not help. NDCG without them, and with them, each
    half of the people by those of the other half.
    """

    trees: Any
    offset: Offset
    without: float
    honest: float

    def over(self, names: tuple[str, ...], use: Floats) -> SecondLook | None:
        """As a blend has it, over the parts that were judged, in their order; `use` as `use_of` has it."""
        return None if self.trees is None else SecondLook(self.trees, self.offset, names, use)


NO_LOOK: Final = Look(trees=None, offset=(1.0, 0.0, 0.0), without=float("nan"), honest=float("nan"))


def look(blend: Blend, use: Floats, tastes: Tastes, people: Rows, wanted: Any, block: int = 64) -> Looked:
    """
    The rows of people (q,) of these tastes (q) who have wanted something before; `wanted` CSR (q, n_items) is what
    they went on to want.

    Memory: q * WIDTH * n_features * 2 bytes.
    """
    some = np.flatnonzero(has_wishes(tastes))
    n_relevant = np.diff(wanted.indptr)[some].astype(np.int64)
    table: Any = np.empty((len(some), 0, 0), np.float16)
    is_new = is_relevant = np.empty((len(some), 0), np.bool_)
    for start in range(0, len(some), block):
        at = some[start : start + block]
        total, said = blend.said(tastes[at])
        rows, fresh = best(total, tastes[at])
        seen = features(rows, total, said, blend.parts, tastes[at], use)
        if not start:
            table = np.empty((len(some), *seen.shape[1:]), np.float16)
            is_new, is_relevant = (np.empty(table.shape[:2], np.bool_) for _ in range(2))
        here = slice(start, start + len(at))
        table[here], is_new[here] = np.clip(seen, -6e4, 6e4), fresh
        is_relevant[here] = np.asarray(wanted[at[:, None], rows].todense() > 0) & fresh
    return Looked(table, is_new, is_relevant, n_relevant, people[some])


def stacked_looks(tables: Sequence[Looked]) -> Looked:
    """Those of several folds as one."""
    full = [each for each in tables if len(each)] or tables[:1]
    if len(full) == 1:
        return full[0]
    names = ("table", "is_new", "is_relevant", "n_relevant", "people")
    return Looked(*(np.concatenate([getattr(each, name) for each in full]) for name in names))


def learn_look(seen: Looked, k: int, rng: np.random.Generator) -> Look:
    """The trees, if they help. Equal inputs and generators give equal trees."""
    people, who = np.unique(seen.people, return_inverse=True)
    side = (rng.permutation(len(people)) % 2)[who]
    if len(np.unique(who[seen.is_relevant.any(axis=1)])) < FEWEST or not all(
        _can_grow(seen.of(side == one)) for one in (0, 1)
    ):
        return NO_LOOK
    seed = int(rng.integers(2**31))
    plain = ndcg(seen.is_relevant, seen.n_relevant, k)
    found = np.zeros((len(SIZES), len(seen)))
    for one in (0, 1):
        trees, offset = _grown(seen.of(side == one), max(SIZES), seed)
        for rows in np.array_split(np.flatnonzero(side != one), max(1, len(seen) // 1_000)):
            found[:, rows] = list(_measured(trees, offset, seen.of(rows), k))
    at = int(found.mean(axis=1).argmax())
    gain = np.bincount(who, found[at] - plain) / np.bincount(who)  # of each person
    if gain.mean() <= ERRORS * gain.std() / len(gain) ** 0.5:
        return Look(trees=None, offset=NO_LOOK.offset, without=float(plain.mean()), honest=float(plain.mean()))
    trees, offset = _grown(seen, SIZES[at], seed)
    return Look(trees=trees, offset=offset, without=float(plain.mean()), honest=float(found[at].mean()))


def _can_grow(seen: Looked) -> bool:
    """Whether something new was wanted and something was not."""
    wanted = seen.is_relevant[seen.is_new]
    return bool(wanted.any() and not wanted.all())


def _grown(seen: Looked, size: int, seed: int) -> tuple[Any, Offset]:
    """Trees and what they begin from."""
    import lightgbm
    from sklearn.linear_model import LogisticRegression

    wanted = seen.is_relevant
    share = min(1.0, MOST_ROWS / max(1, wanted.size))
    is_drawn = wanted | (np.random.default_rng(seed).random(wanted.shape) < share)
    is_drawn &= seen.is_new
    rows, did = seen.table[is_drawn].astype(np.float32), wanted[is_drawn]
    fitted = LogisticRegression(C=1e3).fit(rows[:, [0, 3]], did)
    offset = (float(fitted.coef_[0, 0]), float(fitted.coef_[0, 1]), float(fitted.intercept_[0]))
    settings = {
        "objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 300, "lambda_l2": 50.0,
        "feature_fraction": 0.7, "bagging_fraction": 0.7, "bagging_freq": 1, "boost_from_average": False, "seed": seed,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(rows, did.astype(np.float32), init_score=begun(offset, rows))
    return open_booster(lightgbm.train(settings, data, size).model_to_string()), offset


def _measured(trees: Any, offset: Offset, seen: Looked, k: int) -> Iterator[Any]:
    """(q,) NDCG with the first `SIZES` of trees."""
    table = seen.table.astype(np.float32)
    worth = begun(offset, table)
    for first, size in pairwise((0, *SIZES)):
        worth = worth + raw_of(trees, table, first, size - first)
        order = np.argsort(-np.where(seen.is_new, worth, -np.inf), axis=1, kind="stable")
        yield ndcg(np.take_along_axis(seen.is_relevant, order, axis=1), seen.n_relevant, k)
