"""What users of a fold were shown, where a log says how likely each impression was: what `yardstick` measures with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import Millis
from recsys.data.impressions import Impressions, Log, open_since, read_impressions, read_log
from recsys.data.tables import Dataset, reading
from recsys.metrics import tells_exposure
from recsys.types import Ids, Mask
from training.interactions import Interactions, user_interactions
from training.models.folds import RollingFold, exposed_before
from training.models.yardstick import ShownItems

MAX_USERS: Final = 2_000
MAX_ITEMS: Final = 1_000
MIN_USERS: Final = 20
"""Users of all folds who were shown something new; with fewer, an estimate of what they would watch proves nothing."""


def shown_in_folds(
    dataset: Dataset, folds: Sequence[RollingFold], before: Millis | None, seed: int
) -> list[ShownItems] | None:
    """
    What the users of each fold were shown in it; None where the log does not tell how the feed chose, or of too few.

    The folds are the latest first; the first ends at `before`.
    """
    with reading("items"):
        items = dataset.items.collect(engine="streaming")
    log = read_log(dataset, items)
    published = items["published_at"].fill_null(0).to_numpy()
    found, end = [], before
    for fold in folds:
        shown = read_impressions(log, fold.since, end)
        if not tells_exposure(shown.propensity):
            return None
        is_open = log.items["is_learnable"].to_numpy() & (open_since(published, shown) <= int(shown.at.max()))
        found.append(_shown_to(dataset, fold, log, shown, is_open, np.random.default_rng([seed, 3])))
        end = fold.since
    users = np.unique(np.concatenate([shown.numbers[shown.rows] for shown in found]))
    return found if len(users) >= MIN_USERS else None


def _shown_to(
    dataset: Dataset, fold: RollingFold, log: Log, shown: Impressions, is_open: Mask, rng: np.random.Generator
) -> ShownItems:
    """The impressions of a fold's users that were new to them."""
    row_of = _rows_of(fold.earlier, log)
    rows = row_of[shown.people]
    has_history = np.diff(fold.earlier.histories.indptr) > 0
    is_known = (rows >= 0) & has_history[np.maximum(rows, 0)]
    shown, rows = shown.take(is_known), rows[is_known]
    people = np.sort(rng.permutation(np.unique(rows))[:MAX_USERS]).astype(np.intp)
    exposed = exposed_before(dataset, fold.earlier, people, fold.since)
    users = replace(user_interactions(fold.earlier, fold.popularity.markets)[people], exposed=exposed)
    place = np.searchsorted(people, rows)
    is_drawn = (place < len(people)) & (people[np.minimum(place, len(people) - 1)] == rows) if len(people) else rows < 0
    shown, place = shown.take(is_drawn), place[is_drawn]
    is_new = np.asarray(exposed[place, shown.rows]).ravel() == 0
    shown, place = shown.take(is_new), place[is_new]
    order = np.argsort(place, kind="stable")
    open_rows = np.flatnonzero(is_open)
    return ShownItems(
        users=users, numbers=fold.drawn[people], rows=place[order].astype(np.intp), items=shown.rows[order],
        propensity=shown.propensity[order], response=shown.response[order],
        drawn=np.sort(rng.choice(open_rows, min(MAX_ITEMS, len(open_rows)), replace=False)).astype(np.int32),
        n_open=len(open_rows),
    )  # fmt: skip


def _rows_of(earlier: Interactions, log: Log) -> Ids:
    """(n_people,) the row in `earlier` of each person of the log, -1 for others."""
    known = pl.DataFrame({"user_id": earlier.user_ids}, {"user_id": pl.String}).with_row_index("row")
    joined = log.people.select("user_id").join(known, on="user_id", how="left", maintain_order="left")
    return joined["row"].cast(pl.Int32).fill_null(-1).to_numpy()
