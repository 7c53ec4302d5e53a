"""
Metrics of accuracy on frames, for notebooks: one row for each person.

A frame is one of Polars; `polars.from_pandas` makes one of a frame of pandas.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys.errors import DataError
from recsys.metrics.accuracy import (
    ACCURACY,
    find_hits,
    inverse_propensity,
    score_lists,
    weighted_ndcg,
    weighted_recall,
)
from recsys.types import Mask, Reals


def score_frame(
    shown: pl.DataFrame, relevant: pl.DataFrame, ks: Sequence[int] = (5, 10, 20), names: Sequence[str] = tuple(ACCURACY)
) -> pl.DataFrame:
    """
    A row for each person of `relevant`, by user_id: `name@k` of what they were shown.

    Frames:  shown with user_id, item_id and rank (1 = best; ranks may have gaps); relevant with user_id and item_id,
             and with `propensity` also weighted_recall@k and weighted_ndcg@k. A person without a row in `shown` was
             shown nothing, and counts with 0. People without a relevant item are left out: nothing is known of them.
    Raises:  DataError for a column that is missing, a row that lacks one of these values, an item that a list or a
             person has twice, or two of one rank; ValueError for an unknown name or a k below 1.

    >>> shown = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"], "rank": [1, 2, 1]})
    >>> relevant = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["y", "z"]})
    >>> score_frame(shown, relevant, (2,), ("recall", "mrr")).rows()
    [('a', 1.0, 0.5), ('b', 0.0, 0.0)]
    """
    _check(shown, "shown", ("user_id", "item_id", "rank"), (("user_id", "item_id"), ("user_id", "rank")))
    _check(relevant, "relevant", ("user_id", "item_id"), (("user_id", "item_id"),))
    for column in ("user_id", "item_id"):
        if shown[column].dtype != relevant[column].dtype:
            types = f"{shown[column].dtype} in shown and {relevant[column].dtype} in relevant"
            raise DataError(f"{column}: found {types}, expected one type; cast one of them")
    items = pl.concat([shown["item_id"], relevant["item_id"]]).unique().sort().to_frame().with_row_index("item")
    people = relevant.select("user_id").unique().sort("user_id").with_row_index("person")
    wanted = relevant.join(people, on="user_id").join(items, on="item_id").sort("person", "item")
    n_relevant = np.bincount(wanted["person"].to_numpy(), minlength=len(people))
    pages = _pages(shown.join(people, on="user_id").join(items, on="item_id"), len(people))
    hits = find_hits(pages, wanted["item"].to_numpy().astype(np.int64), n_relevant)
    columns = score_lists(hits, n_relevant, ks, names)
    if "propensity" in relevant.columns:
        weights = inverse_propensity(wanted["propensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        of_slots, of_people = _weights(wanted, weights, pages, hits)
        columns |= {f"weighted_recall@{k}": weighted_recall(of_slots, of_people, k) for k in ks}
        columns |= {f"weighted_ndcg@{k}": weighted_ndcg(of_slots, of_people, k) for k in ks}
    return people.select("user_id").with_columns(pl.Series(name, values) for name, values in columns.items())


def _check(frame: pl.DataFrame, name: str, columns: Sequence[str], keys: Sequence[Sequence[str]]) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(f"{name}: found the columns {', '.join(frame.columns)}, expected also {', '.join(missing)}")
    for column in columns:
        values = frame[column].fill_nan(None) if frame[column].dtype.is_float() else frame[column]
        if n_unknown := values.null_count():
            raise DataError(f"{name}: found {n_unknown} rows without {column}, expected none; leave these rows out")
    for key in keys:
        twice = frame.filter(pl.struct(key).is_duplicated()).head(1)
        if len(twice):
            told = " and ".join(f"{column} {twice[column][0]}" for column in key)
            raise DataError(f"{name}: found {told} twice, expected it once; take unique({list(key)})")


def _pages(shown: pl.DataFrame, n_people: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(n_people, longest) item numbers by rank, -1 where a list is short."""
    ordered = shown.sort("person", "rank")
    persons = ordered["person"].to_numpy().astype(np.int64)
    starts = np.searchsorted(persons, np.arange(n_people))
    places = np.arange(len(persons)) - starts[persons] if len(persons) else persons
    pages = np.full((n_people, int(places.max(initial=-1)) + 1), -1, np.int64)
    pages[persons, places] = ordered["item"].to_numpy()
    return pages


def _weights(
    wanted: pl.DataFrame, weights: Reals, pages: np.ndarray[tuple[int, int], np.dtype[np.int64]], hits: Mask
) -> tuple[Reals, Reals]:
    """The weights in the places (q, n) and of all that is relevant (q, m)."""
    persons, items = wanted["person"].to_numpy().astype(np.int64), wanted["item"].to_numpy().astype(np.int64)
    starts = np.searchsorted(persons, np.arange(len(pages)))
    places = np.arange(len(persons)) - starts[persons] if len(persons) else persons
    of_people = np.zeros((len(pages), int(places.max(initial=-1)) + 1))
    of_people[persons, places] = weights
    stride = 1 + int(items.max(initial=0))
    rows, slots = np.nonzero(hits)
    found = np.searchsorted(persons * stride + items, rows * stride + pages[rows, slots])
    of_slots = np.zeros(pages.shape)
    of_slots[rows, slots] = weights[found]
    return of_slots, of_people
