"""
Rolling validation folds: users who came back in the last parts of a dataset, evaluated as `sanad eval` does later.

A fold knows what happened before an instant, and which items its users then became interested in: those they
interacted with positively and had not met before, since a feed shows no item twice. One fold is the last share of the
events. A dataset with few users has up to four, each before the other, because a hundred users give mostly noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.models import popularity
from recsys.models.interactions import UserInteractions, row_numbers
from recsys.models.popularity import Popularity, PopularityParams
from recsys.types import Csr, Rows
from recsys.user.feedback import MIN_POSITIVE_CONFIDENCE
from training.interactions import Interactions, build_interactions, market_names, select_users, user_interactions

MAX_FOLDS: Final = 4

MAX_POSITIVES: Final = 10_000_000
"""Positive interactions that base models are fitted to for a fold. Beyond it users are drawn, to limit the time."""

SINGLE_FOLD_POSITIVES: Final = 1_000_000
"""Positive interactions above which a dataset has one fold, however few its users: more fits would not pay."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RollingFold:
    """
    What was known before the instant `since` (`earlier`, `popularity`), and what q users interacted with after it.

    Shapes: `users` of q people, with the items they had met; `relevant` CSR (q, n_items); `numbers` (q,) rows of the
            users in the whole dataset; `rows` (q,) their rows in `earlier`; `drawn` the row in the whole dataset of
            every row of `earlier`.
    """

    since: Millis
    earlier: Interactions
    drawn: Rows
    popularity: Popularity
    users: UserInteractions
    relevant: Csr
    numbers: Rows
    rows: Rows

    @property
    def markets(self) -> list[str | None]:
        """(q,) the market of each user."""
        names = market_names(self.earlier)
        return [names[code] for code in self.earlier.user_markets[self.rows]]


def rolling_folds(
    dataset: Dataset,
    interactions: Interactions,
    popularity_params: PopularityParams,
    before: Millis | None,
    *,
    share: float,
    n_users: int,
    seed: int,
) -> Iterator[RollingFold]:
    """
    Folds, the latest first, until they have `n_users` users in all. Each holds `share` of the events.

    `interactions` are those of the events before `before`. Empty: no fold where no user came back for something new.
    """
    end, later, n_drawn = before, interactions, 0
    for number in range(1, MAX_FOLDS + 1):
        is_enough = n_drawn >= n_users or (number > 1 and later.positives.nnz > SINGLE_FOLD_POSITIVES)
        since = None if number * share >= 1 or is_enough else find_split(dataset, number * share, before)
        if since is None or (end is not None and since >= end):
            return
        whole = build_interactions(dataset, before=since)
        fold = _build_fold(dataset, whole, later, since, popularity_params, n_users - n_drawn, seed)
        if len(fold.rows):
            yield fold
        end, later, n_drawn = since, whole, n_drawn + len(fold.rows)


def _build_fold(
    dataset: Dataset,
    whole: Interactions,
    later: Interactions,
    since: Millis,
    popularity_params: PopularityParams,
    n_users: int,
    seed: int,
) -> RollingFold:
    """The fold of up to `n_users` users who are known before `since` (`whole`) and came back after it (`later`)."""
    drawn = sample_users(whole.positives, MAX_POSITIVES, seed)
    earlier, relevant = select_users(whole, drawn), relevant_since(later, since)[drawn]
    rows = np.flatnonzero((np.diff(relevant.indptr) > 0) & (np.diff(earlier.histories.indptr) > 0))
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:n_users])
    exposed = exposed_before(dataset, earlier, rows, since)
    fresh = drop_exposed(relevant[rows], exposed)
    has_relevant = np.diff(fresh.indptr) > 0
    rows, exposed, fresh = rows[has_relevant], exposed[has_relevant], fresh[has_relevant]
    fitted = popularity.fit(earlier.market_positives, market_names(earlier), popularity_params)
    users = replace(user_interactions(earlier, fitted.markets)[rows], exposed=exposed)
    return RollingFold(
        since=since, earlier=earlier, drawn=drawn, popularity=fitted, users=users, relevant=fresh, numbers=drawn[rows],
        rows=rows,
    )  # fmt: skip


def find_split(dataset: Dataset, share: float, before: Millis | None) -> Millis | None:
    """The instant where the last share of the events about items begins; None without events of two instants."""
    events = dataset.events if before is None else dataset.events.filter(pl.col("at") < before)
    about = events.filter(pl.col("item_id").is_not_null() & (pl.col("kind") != "impression")).select("at")
    first, since = about.select(
        first=pl.col("at").min(), since=pl.col("at").quantile(1 - share, "higher")
    ).collect(engine="streaming").row(0)  # fmt: skip
    return None if since is None or since <= first else int(since)


def relevant_since(interactions: Interactions, since: Millis) -> Csr:
    """
    CSR (n_users, n_items): ones where a user's interactions from an instant on add up to
    `feedback.MIN_POSITIVE_CONFIDENCE`, as in `sanad eval`, among the latest that histories keep. Where none goes so
    far, ones for anything above zero.
    """
    flat, shape = interactions.histories, interactions.positives.shape
    is_late = flat.at >= since
    owner = np.repeat(np.arange(shape[0]), np.diff(flat.indptr))[is_late]
    total = sparse.csr_matrix((flat.weights[is_late], (owner, flat.items[is_late])), shape, dtype=np.float32)
    threshold = MIN_POSITIVE_CONFIDENCE if np.any(total.data >= MIN_POSITIVE_CONFIDENCE) else np.finfo(np.float32).tiny
    total.data = (total.data >= threshold).astype(np.float32)
    total.eliminate_zeros()
    return total


def exposed_before(dataset: Dataset, interactions: Interactions, users: Rows, before: Millis) -> Csr:
    """CSR (q, n_items): ones where a user of `users` (q,) met an item before an instant, in an event of any kind."""
    rows = pl.LazyFrame({"user_id": [interactions.user_ids[row] for row in users]}, {"user_id": pl.String})
    columns = pl.LazyFrame({"item_id": interactions.item_ids}, {"item_id": pl.String})
    events = dataset.events.filter(pl.col("at") < before, pl.col("item_id").is_not_null())
    pairs = (
        events.join(rows.with_row_index("row"), on="user_id")
        .join(columns.with_row_index("column"), on="item_id")
        .select("row", "column")
        .unique()
        .collect(engine="streaming")
    )
    at = (pairs["row"].to_numpy(), pairs["column"].to_numpy())
    return sparse.csr_matrix((np.ones(len(pairs), np.float32), at), (len(users), len(interactions.item_ids)))


def drop_exposed(relevant: Csr, exposed: Csr) -> Csr:
    """CSR: the entries of `relevant` that are not entries of `exposed`."""
    columns = exposed.shape[1]
    known = row_numbers(exposed) * columns + exposed.indices
    fresh = relevant.copy()
    fresh.data[np.isin(row_numbers(relevant) * columns + relevant.indices, known)] = 0
    fresh.eliminate_zeros()
    return fresh


def sample_users(positives: Csr, max_positives: int, seed: int) -> Rows:
    """Every user, or as many at random as have `max_positives` positive interactions together, in order."""
    counts = np.diff(positives.indptr)
    if counts.sum() <= max_positives:
        return np.arange(len(counts))
    order = np.random.default_rng([seed, 1]).permutation(len(counts))
    return np.sort(order[np.cumsum(counts[order]) <= max_positives])
