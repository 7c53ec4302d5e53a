"""
The scores of base models for what users of the folds were shown: weights of a blend measured by the estimated watch
fraction, without scoring the catalogue again for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.metrics import CLIP, HALVING_SHARE, discounted_target, importance_weights, influence
from recsys.models.base import PreferenceModel
from recsys.models.blend import standardise
from recsys.models.interactions import entries_at
from recsys.types import Floats, Ids, Mask, Reals, Rows
from training.models.yardstick import WATCH, Measured, ShownItems, rank_among

BLOCK_USERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchTable:
    """
    Shapes: of u users: `numbers` (u,) their user numbers, their `markets` (u,), `n_open` (u,) the items that could be
            shown; `items` (u, m) drawn from those, with `drawn` (u, m, n_models) standardised scores; `is_open` (u, m)
            False for items that a user has met. Of n impressions, by user: `rows` (n,) the row of the user,
            `shown_items`, `shown` (n, n_models), `propensity` and `response`.
    """

    model_names: tuple[str, ...]
    numbers: Rows
    markets: tuple[str | None, ...]
    n_open: Reals
    items: Ids
    drawn: Floats
    is_open: Mask
    rows: Rows
    shown_items: Ids
    shown: Floats
    propensity: Floats
    response: Floats

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, users: Rows) -> "WatchTable":
        """The given rows of users, in ascending order, and their impressions."""
        is_taken = np.isin(self.rows, users)
        return replace(
            self, numbers=self.numbers[users], markets=tuple(self.markets[row] for row in users),
            n_open=self.n_open[users], items=self.items[users], drawn=self.drawn[users], is_open=self.is_open[users],
            rows=np.searchsorted(users, self.rows[is_taken]), shown_items=self.shown_items[is_taken],
            shown=self.shown[is_taken], propensity=self.propensity[is_taken], response=self.response[is_taken],
        )  # fmt: skip

    def half(self, side: int) -> "WatchTable":
        """The rows of every other user, `side` 0 or 1; all rows where that would be none."""
        is_side = self._is_side(side)
        return self if is_side.all() or not is_side.any() else self.take(np.flatnonzero(is_side))

    def _is_side(self, side: int) -> Mask:
        return np.asarray(np.unique(self.numbers, return_inverse=True)[1] % 2 == side)

    def measure(self, weights: Floats) -> Measured:
        """The estimated watch fraction of a blend with weights (n_models,), or (u, n_models) of each user."""
        return self.measure_targets(self.targets(weights))

    def cross_validate(self, first: Floats, second: Floats) -> Measured:
        """The second half of the users with the weights of the first, and the other way round."""
        return self.measure(np.where(self._is_side(1)[:, None], first, second))

    def is_gain(self, after: Measured, before: Measured) -> bool:
        """Whether the estimate rises by more than the standard error of the difference."""
        return after.is_above(before)

    def targets(self, weights: Floats) -> Reals:
        """(n,) how much rankings by these weights show of each impression."""
        by_user = np.broadcast_to(np.asarray(weights, np.float32), (len(self), len(self.model_names)))
        drawn = np.matmul(self.drawn, by_user[:, :, None])[:, :, 0]
        drawn[~self.is_open] = -np.inf
        drawn.sort(axis=1)
        shown = np.einsum("ij,ij->i", self.shown, by_user[self.rows])
        ends = np.searchsorted(self.rows, np.arange(len(self) + 1))
        n_closed = (~self.is_open).sum(axis=1)
        targets = np.empty(len(self.rows))
        for row, n_open in enumerate(self.n_open):
            mine = slice(ends[row], ends[row + 1])
            ranks = rank_among(drawn[row, n_closed[row] :], shown[mine]) * n_open
            targets[mine] = discounted_target(ranks, max(HALVING_SHARE * n_open, 1.0))
        return targets

    def measure_targets(self, targets: Reals) -> Measured:
        """The estimated watch fraction where rankings show so much (n,) of each impression."""
        weights = importance_weights(self.propensity, targets, CLIP)
        total = float(weights.sum())
        value = float(weights @ self.response) / total if total > 0 else 0.0
        return Measured(
            WATCH, value, influence(self.response, weights, self.rows.astype(np.int64), len(self)), self.numbers
        )

    def collapse(self, weights: Floats, name: str = "blend") -> "WatchTable":
        """The table of one model: a blend with weights (u, n_models) of each user, in standard deviations of theirs."""
        drawn = np.matmul(self.drawn, np.asarray(weights, np.float32)[:, :, None])
        shown = np.einsum("ij,ij->i", self.shown, np.asarray(weights, np.float32)[self.rows])
        spread = np.array(
            [
                scores[is_open, 0].std() if is_open.any() else 0.0
                for scores, is_open in zip(drawn, self.is_open, strict=True)
            ]
        )
        spread = np.where(spread > 0, spread, 1.0).astype(np.float32)
        return replace(
            self, model_names=(name,), drawn=drawn / spread[:, None, None],
            shown=(shown / spread[self.rows])[:, None],
        )  # fmt: skip


def build_watch_table(
    models: Mapping[str, PreferenceModel], shown: ShownItems, market_names: Sequence[str] = ()
) -> WatchTable:
    """The table of one fold, of the models that were fitted to it. `market_names`: of the popularity by market."""
    n_users, n_drawn = len(shown.users), len(shown.drawn)
    drawn = np.empty((n_users, n_drawn, len(models)), np.float32)
    at_shown = np.empty((len(shown.rows), len(models)), np.float32)
    is_open = np.empty((n_users, n_drawn), np.bool_)
    items = np.tile(shown.drawn.astype(np.intp), (n_users, 1))
    ends = np.searchsorted(shown.rows, np.arange(n_users + 1))
    for start in range(0, n_users, BLOCK_USERS):
        batch = shown.users[start : start + BLOCK_USERS]
        here, mine = slice(start, start + len(batch)), slice(ends[start], ends[start + len(batch)])
        is_open[here] = entries_at(batch.excluded, items[here]) == 0
        for column, model in enumerate(models.values()):
            scores = standardise(model.scores(batch))
            drawn[here, :, column] = scores[:, shown.drawn]
            at_shown[mine, column] = scores[shown.rows[mine] - start, shown.items[mine]]
    return WatchTable(
        model_names=tuple(models), numbers=shown.numbers, markets=_markets(shown, market_names),
        n_open=np.full(n_users, float(shown.n_open)),
        items=items.astype(np.int32), drawn=drawn, is_open=is_open, rows=shown.rows, shown_items=shown.items,
        shown=at_shown, propensity=shown.propensity, response=shown.response,
    )  # fmt: skip


def _markets(shown: ShownItems, names: Sequence[str]) -> tuple[str | None, ...]:
    """(u,) the market of each user, None for the world."""
    rows = shown.users.markets
    return (None,) * len(shown.users) if rows is None else tuple((*names, None)[row] for row in rows.tolist())


def stack_watch_tables(tables: Sequence[WatchTable]) -> WatchTable:
    """The tables of several folds as one; their models must be the same."""
    if len(tables) == 1:
        return tables[0]  # no copy
    width = max(table.items.shape[1] for table in tables)
    gaps = [width - table.items.shape[1] for table in tables]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    return WatchTable(
        model_names=tables[0].model_names,
        numbers=np.concatenate([table.numbers for table in tables]),
        markets=tuple(market for table in tables for market in table.markets),
        n_open=np.concatenate([table.n_open for table in tables]),
        items=np.concatenate([np.pad(it.items, ((0, 0), (0, gap))) for it, gap in zip(tables, gaps, strict=True)]),
        drawn=np.concatenate(
            [np.pad(it.drawn, ((0, 0), (0, gap), (0, 0))) for it, gap in zip(tables, gaps, strict=True)]
        ),
        is_open=np.concatenate([np.pad(it.is_open, ((0, 0), (0, gap))) for it, gap in zip(tables, gaps, strict=True)]),
        rows=np.concatenate([table.rows + start for table, start in zip(tables, starts, strict=False)]),
        shown_items=np.concatenate([table.shown_items for table in tables]),
        shown=np.concatenate([table.shown for table in tables]),
        propensity=np.concatenate([table.propensity for table in tables]),
        response=np.concatenate([table.response for table in tables]),
    )  # fmt: skip
