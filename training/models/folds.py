"""
Who judges the parts of taste: people who came back in the last windows of time, as `sanad eval` judges later.

A window knows what happened before it, and what people went on to want in it: what they reacted well to and had not
met before, since a feed shows nobody the same again. One window is the last share of the events; a dataset with few
people has up to four, each before the other, because what a hundred people say is mostly noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from scipy import sparse

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.models import popularity
from recsys.models.interactions import Tastes
from recsys.models.popularity import Popularity, PopularityParams
from recsys.types import Rows
from recsys.user.feedback import WANTED
from training.interactions import Interactions, build_interactions, names_of, of_people, tastes_of

MOST_WINDOWS: Final = 4

MOST_JUDGED: Final = 10_000_000
"""Wishes that the parts are fitted to when they are judged: beyond it people are drawn, so that time is bounded."""


MANY: Final = 1_000_000
"""Wishes of a dataset that has one window, however few its judges: fits would cost more than they tell."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """
    What was known before (`early`, `popular`), and what q people wanted after: `wanted` CSR (q, n_items).

    `tastes` (q) with what they had met; `people` (q,) rows of the whole dataset, `rows` (q,) those of `early`.
    """

    early: Interactions
    popular: Popularity
    tastes: Tastes
    wanted: Any
    people: Rows
    rows: Rows

    @property
    def markets(self) -> list[str | None]:
        """(q,) the market of each person."""
        names = names_of(self.early)
        return [names[code] for code in self.early.user_markets[self.rows]]


def windows(
    dataset: Dataset,
    seen: Interactions,
    by_market: PopularityParams,
    before: Millis | None,
    *,
    share: float,
    judges: int,
    seed: int,
) -> Iterator[Window]:
    """
    The latest first, until so many people judge or each has had its turn; none where nobody can judge. `seen` are the
    events before `before`.
    """
    end, later, n_judges = before, seen, 0
    for number in range(1, MOST_WINDOWS + 1):
        is_enough = n_judges >= judges or (number > 1 and later.positives.nnz > MANY)
        since = None if number * share >= 1 or is_enough else split_at(dataset, number * share, before)
        if since is None or (end is not None and since >= end):
            return
        whole = build_interactions(dataset, before=since)
        some = people_within(whole.positives, MOST_JUDGED, seed)
        early, wanted = of_people(whole, some), wanted_since(later, since)[some]
        rows = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(early.histories.indptr) > 0))
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[: judges - n_judges])
        met = met_before(dataset, early, rows, since)
        fresh = unmet(wanted[rows], met)
        has_some = np.diff(fresh.indptr) > 0
        rows, met, fresh = rows[has_some], met[has_some], fresh[has_some]
        if len(rows):
            popular = popularity.fit(early.market_positives, names_of(early), by_market)
            tastes = replace(tastes_of(early, popular.markets)[rows], met=met)
            yield Window(early=early, popular=popular, tastes=tastes, wanted=fresh, people=some[rows], rows=rows)
        end, later, n_judges = since, whole, n_judges + len(rows)


def split_at(dataset: Dataset, share: float, before: Millis | None) -> Millis | None:
    """Where the last share of the events about items begins; None without events of two instants."""
    events = dataset.events if before is None else dataset.events.filter(pl.col("at") < before)
    about = events.filter(pl.col("item_id").is_not_null() & (pl.col("kind") != "impression")).select("at")
    first, since = about.select(
        first=pl.col("at").min(), since=pl.col("at").quantile(1 - share, "higher")
    ).collect(engine="streaming").row(0)  # fmt: skip
    return None if since is None or since <= first else int(since)


def wanted_since(seen: Interactions, since: Millis) -> Any:
    """
    CSR (n_users, n_items): ones where a person's reactions from an instant on add up to `feedback.WANTED`, as
    `sanad eval` has it, among the latest that histories keep; anything above zero where no reaction goes so far.
    """
    flat, shape = seen.histories, seen.positives.shape
    is_late = flat.at >= since
    owner = np.repeat(np.arange(shape[0]), np.diff(flat.indptr))[is_late]
    total = sparse.csr_matrix((flat.weights[is_late], (owner, flat.items[is_late])), shape, dtype=np.float32)
    least = WANTED if np.any(total.data >= WANTED) else np.finfo(np.float32).tiny
    total.data = (total.data >= least).astype(np.float32)
    total.eliminate_zeros()
    return total


def met_before(dataset: Dataset, seen: Interactions, people: Rows, before: Millis) -> Any:
    """CSR (len(people), n_items): ones where a person met an item in any event before an instant, shown or acted on."""
    rows = pl.LazyFrame({"user_id": [seen.user_ids[row] for row in people]}, {"user_id": pl.String})
    columns = pl.LazyFrame({"item_id": seen.item_ids}, {"item_id": pl.String})
    events = dataset.events.filter(pl.col("at") < before, pl.col("item_id").is_not_null())
    pairs = (
        events.join(rows.with_row_index("row"), on="user_id")
        .join(columns.with_row_index("column"), on="item_id")
        .select("row", "column")
        .unique()
        .collect(engine="streaming")
    )
    at = (pairs["row"].to_numpy(), pairs["column"].to_numpy())
    return sparse.csr_matrix((np.ones(len(pairs), np.float32), at), (len(people), len(seen.item_ids)))


def unmet(wanted: Any, met: Any) -> Any:
    """CSR: the entries of `wanted` that nobody had met."""
    fresh = sparse.csr_matrix(wanted - wanted.multiply(met > 0), dtype=np.float32)
    fresh.eliminate_zeros()
    return fresh


def people_within(positives: Any, most: int, seed: int) -> Rows:
    """Everybody, or as many people at random as have `most` wishes together: more would not change the weights."""
    counts = np.diff(positives.indptr)
    if counts.sum() <= most:
        return np.arange(len(counts))
    order = np.random.default_rng([seed, 1]).permutation(len(counts))
    return np.sort(order[np.cumsum(counts[order]) <= most])
