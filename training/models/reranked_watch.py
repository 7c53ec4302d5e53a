"""What re-ranking does to what users were shown: trees measured by the estimated watch fraction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import HALVING_SHARE, discounted_target
from recsys.models.blend import Blend
from recsys.models.reranker import has_positives, reranker_features, select_candidates
from recsys.types import Floats, Longs, Mask, Reals, Rows
from training.models.watch_table import BLOCK_USERS, WatchTable
from training.models.yardstick import Measured, ShownItems


@dataclass(frozen=True, slots=True, eq=False)
class RerankedItems:
    """
    Shapes: of u users: `features` (u, m, n_features) float16 of their best items, best first, `is_new` (u, m) and
            `is_reranked` (u,), for users with a positive interaction. Of n impressions: `place` (n,) among the best
            items of their user, -1 below them.
    """

    features: NDArray[np.float16]
    is_new: Mask
    is_reranked: Mask
    place: Rows


@dataclass(frozen=True, slots=True, eq=False)
class RerankedWatch:
    """`table` of one model, the blend, and the best items of the same users."""

    table: WatchTable
    items: RerankedItems

    def measure(self, log_odds: NDArray[np.floating] | None) -> Measured:
        """The estimate where the best items stand in the order of `log_odds` (u, m); None = as they are."""
        return self.table.measure_targets(self._targets(log_odds))

    def _targets(self, log_odds: NDArray[np.floating] | None) -> Reals:
        """(n,) what is below the best items stays where it is."""
        targets = self.table.targets(np.ones(1, np.float32))
        is_among = self.items.place >= 0
        rows, place = self.table.rows[is_among], self.items.place[is_among]
        if log_odds is not None:
            ranks = _ranks(np.where(self.items.is_new, log_odds, -np.inf))
            place = np.where(self.items.is_reranked[rows], ranks[rows, place], place)
        halving = np.maximum(HALVING_SHARE * self.table.n_open[rows], 1.0)
        targets[is_among] = discounted_target(place / halving, 1.0)
        return targets


def _ranks(scores: NDArray[np.floating]) -> Longs:
    """(u, m) the rank of each score among its row, 0 = the highest."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty(scores.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(scores.shape[1])[None, :], axis=1)
    return ranks


def build_reranked_items(blend: Blend, item_use: Floats, shown: ShownItems) -> RerankedItems:
    """
    Of the users of one fold, for the models that were fitted to it.

    Memory: u * N_RERANKED * n_features * 2 bytes.
    """
    place = np.full(len(shown.rows), -1)
    ends = np.searchsorted(shown.rows, np.arange(len(shown.users) + 1))
    blocks: list[tuple[NDArray[np.float16], Mask]] = []
    for start in range(0, max(len(shown.users), 1), BLOCK_USERS):
        batch = shown.users[start : start + BLOCK_USERS]
        total, by_model = blend.weighted_sum(batch)
        rows, is_new = select_candidates(total, batch)
        features = reranker_features(rows, total, by_model, blend.base_models, batch, item_use)
        blocks.append((np.clip(features, -6e4, 6e4).astype(np.float16), is_new))
        mine = slice(ends[start], ends[start + len(batch)])
        is_here = rows[shown.rows[mine] - start] == shown.items[mine, None]
        place[mine] = np.where(is_here.any(axis=1), is_here.argmax(axis=1), -1)
    return RerankedItems(
        np.concatenate([features for features, _ in blocks]),
        np.concatenate([is_new for _, is_new in blocks]),
        has_positives(shown.users),
        place,
    )


def stack_reranked_items(parts: Sequence[RerankedItems]) -> RerankedItems:
    """Those of several folds as one."""
    return RerankedItems(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.is_new for part in parts]),
        np.concatenate([part.is_reranked for part in parts]),
        np.concatenate([part.place for part in parts]),
    )
