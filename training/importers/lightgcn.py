"""
Sets in the layout of LightGCN and NGCF (Gowalla, Yelp2018, Amazon-Book): `train` and `test`, each as `.npz` (a SciPy
sparse matrix, users x items) or `.txt` (a user and its items per line), and optionally `valid`.

Each pair becomes a `like`. Ids are the published row and column numbers, and users and items are written in that
order, also those without events: row i of a matrix built from the dataset is row i of the published one. What the
sets do not publish (times, creators, countries, titles): see `common`.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from recsys.errors import DataError
from training.importers.common import (
    CUTOFFS,
    DAY_ZERO,
    PARTS,
    ImportReport,
    find,
    finish,
    need,
    solo_creators,
    times_of_part,
    untitled,
)

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads `train.npz` or `train.txt`, and `test` and `valid` likewise.

    Raises:  DataError for a missing train or test file and for lines that are not numbers.
    """
    need(source, "train.npz", "train.txt")
    need(source, "test.npz", "test.txt")
    notices = [
        f"{p.name}: the original ids were not used, ids are the published numbers" for p in find(source, "*_list.txt")
    ]
    n_users = n_items = 0
    parts: list[pl.DataFrame] = []
    for part in PARTS:
        files = find(source, f"{part}.npz", f"{part}.txt")
        if not files:
            continue
        (rows, columns), shape = _pairs(files[0])
        n_users, n_items = max(n_users, shape[0]), max(n_items, shape[1])
        parts.append(_events(part, rows, columns))
    items = _numbered(n_items, "item_id").select(
        "item_id", creator_id="item_id", published_at=pl.lit(DAY_ZERO), title=untitled()
    )
    return finish(
        folder,
        creators=solo_creators(items),
        items=items,
        users=_numbered(n_users, "user_id"),
        events=pl.concat(parts).lazy(),
        notices=notices,
        cutoffs=CUTOFFS,
    )


def _numbered(n: int, name: str) -> pl.LazyFrame:
    return pl.LazyFrame({name: pl.int_range(n, eager=True).cast(pl.String)})


def _events(part: str, users: NDArray[np.int64], items: NDArray[np.int64]) -> pl.DataFrame:
    pairs = pl.DataFrame({"user_id": users, "item_id": items}).cast(pl.String).with_row_index("row")
    return pairs.select(
        "user_id",
        "item_id",
        event_id=pl.format(part + "-{}", "row"),
        kind=pl.lit("like"),
        at=times_of_part(part, pairs.height),
        variant=pl.lit(part),
    )


def _pairs(path: Path) -> tuple[Pairs, tuple[int, int]]:
    if path.suffix != ".npz":
        users, items = _text_pairs(path)
        return (users, items), (int(users.max(initial=-1)) + 1, int(items.max(initial=-1)) + 1)
    try:
        matrix = sparse.coo_array(sparse.load_npz(path))
    except (ValueError, OSError, KeyError) as error:
        raise DataError(f"{path.name}: found {error}, expected a SciPy sparse matrix (users x items)") from error
    rows, columns = matrix.coords
    return (rows.astype(np.int64), columns.astype(np.int64)), (matrix.shape[0], matrix.shape[1])


def _text_pairs(path: Path) -> Pairs:
    lines = pl.scan_lines(path, name="line").filter(pl.col("line").str.strip_chars() != "")
    numbers = lines.select(
        pl.col("line").str.strip_chars().str.split(" ").cast(pl.List(pl.Int64), strict=False)
    ).collect()
    if numbers["line"].list.eval(pl.element().is_null()).list.any().any():
        raise DataError(f"{path.name}: found text, expected lines of numbers: a user, then its items")
    pairs = (
        numbers.select(user=pl.col("line").list.first(), item=pl.col("line").list.slice(1)).explode("item").drop_nulls()
    )
    return pairs["user"].to_numpy(), pairs["item"].to_numpy()
