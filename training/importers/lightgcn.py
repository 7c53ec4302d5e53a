"""
Sets in the layout of LightGCN and NGCF (Gowalla, Yelp2018, Amazon-Book): `train` and `test`, each as `.npz` (a SciPy
sparse matrix, users x items) or `.txt` (a user and its items per line), and optionally `valid`.

Each pair becomes a `like`; an entry below 0 is `not_interested`, and a stored 0 nothing. Ids are the published row and
column numbers, and users and items are written in that order, also those without events: row i of a matrix built from
the dataset is row i of the published one. What the sets do not publish (times, creators, countries, titles): see
`common`.
"""

from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.text_files import look_through, scan_lines
from recsys.errors import DataError
from training.importers.common import CUTOFFS, DAY_ZERO, PARTS, ImportReport, find, finish, need, times_of_part
from training.models.splits import check_numbers, read_npz


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads `train.npz` or `train.txt`, and `test` and `valid` likewise.

    Raises:  DataError for a missing train or test file, for lines that are not numbers and for ids in their place.
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
        pairs, shape = _read(files[0])
        n_users, n_items = max(n_users, shape[0]), max(n_items, shape[1])
        parts.append(_events(part, pairs))
    items = _numbered(n_items, "item_id").with_columns(published_at=pl.lit(DAY_ZERO))
    users, events = _numbered(n_users, "user_id"), pl.concat(parts).lazy()
    return finish(folder, items=items, users=users, events=events, notices=notices, cutoffs=CUTOFFS)


def _numbered(n: int, name: str) -> pl.LazyFrame:
    return pl.LazyFrame({name: pl.int_range(n, eager=True).cast(pl.String)})


def _events(part: str, pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.with_row_index("row").select(
        pl.col("user_id", "item_id").cast(pl.String),
        event_id=pl.format(part + "-{}", "row"),
        kind=pl.when(pl.col("sign") > 0).then(pl.lit("like")).otherwise(pl.lit("not_interested")),
        at=times_of_part(part, pairs.height),
        variant=pl.lit(part),
    )


def _read(path: Path) -> tuple[pl.DataFrame, tuple[int, int]]:
    """user_id, item_id and sign of every pair; and the numbers of users and items."""
    if ".npz" not in path.suffixes:
        return _read_text(path)
    matrix = read_npz(path).tocoo()
    pairs = {"user_id": matrix.row.astype(np.int64), "item_id": matrix.col.astype(np.int64), "sign": matrix.data}
    return pl.DataFrame(pairs), (matrix.shape[0], matrix.shape[1])


def _read_text(path: Path) -> tuple[pl.DataFrame, tuple[int, int]]:
    """A line for each user: their number, then the numbers of their items. A user may have none."""
    words = pl.col("line").str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    lines = scan_lines(look_through(path)).with_row_index("row").filter(pl.col("line").str.strip_chars() != "")
    numbers = lines.select("row", "line", number=words.cast(pl.List(pl.UInt32), strict=False)).collect()
    wrong = numbers.filter(pl.col("number").list.eval(pl.element().is_null()).list.any())
    for row, line, _ in wrong.head(1).rows():
        raise DataError(
            f"line {row + 1:,} of {path.name}: found {line[:60]!r}, expected lines of numbers: a user, then its items"
        )
    users, items = pl.col("number").list.first().cast(pl.Int64), pl.col("number").list.slice(1)
    pairs = numbers.select(user_id=users, item_id=items).explode("item_id").cast(pl.Int64)
    shape = tuple(_size(path, what, pairs[key]) for what, key in (("users", "user_id"), ("items", "item_id")))
    return pairs.drop_nulls().with_columns(sign=pl.lit(1.0, pl.Float32)), (shape[0], shape[1])


def _size(path: Path, what: str, numbers: pl.Series) -> int:
    """The largest number and one. Raises DataError where ids stand for numbers of rows."""
    size = int(numbers.drop_nulls().to_numpy().max(initial=-1)) + 1
    check_numbers(path, what, size, numbers.drop_nulls().n_unique())
    return size
