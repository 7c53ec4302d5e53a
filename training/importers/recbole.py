"""
RecBole's atomic files: `NAME.inter` and, when they are there, `NAME.item` and `NAME.user`. Fields are divided by tabs,
and the header says the type of each, as `user_id:token`.
Source: https://recbole.io/docs/user_guide/data/atomic_files.html (Zhao et al. 2021).

The person is `user_id`, else the first token; the item is `item_id`, else the second. A field `rating` becomes likes,
views and `not_interested` as in MovieLens, a field `label` likes and `not_interested`; without either, every row is a
`like`. Ratings on another scale than 1 to 5 need `sanad import table --rating`. Without `timestamp`, see
`training.importers.table`. Of the items, the first text is the title and the others the text.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from recsys.errors import DataError
from training.importers.common import ImportReport, age_band, find, need, note_unused_columns, note_unused_files
from training.importers.fields import id_of, number, text
from training.importers.movielens import DISLIKE, LIKE
from training.importers.published import PublishedTable, open_table
from training.importers.table import TableColumns, import_tables

_TITLES: Final = ("title", "movie_title", "name", "product_title", "book_title", "artist_name", "business_name")
_MAX_STARS: Final = 5
_ABOUT: Final = ("class", "genre", "genres", "categories", "category", "tags")


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the atomic files in `source`; several `.inter` files count as parts of one.

    Raises:  DataError for a missing `.inter` file, a value that cannot be read, and ratings of an unknown scale.
    """
    notices: list[str] = []
    logs = [_open(path) for path in need(source, "*.inter")]
    items, users = ([_open(path) for path in find(source, f"*.{kind}")[:1]] for kind in ("item", "user"))
    note_unused_files(source, [table.path for table in (*logs, *items, *users)], notices)
    columns = _columns(logs[0])
    return import_tables(
        folder,
        _with_texts(columns, items[0]) if items else columns,
        logs,
        items,
        users=_users(users[0], columns.user, notices) if users else None,
        notices=notices,
        users_name=users[0].path.name if users else "",
    )


def _open(path: Path) -> PublishedTable:
    return open_table(path, separator="\t", quote=None)


def _types(table: PublishedTable) -> Mapping[str, str]:
    """
    Field -> type. Raises DataError for a header without types.
    """
    pairs = [name.partition(":") for name in table.columns]
    wrong = next((name for name, _, kind in pairs if kind not in ("token", "token_seq", "float", "float_seq")), None)
    if wrong is not None:
        raise DataError(
            f"{table.path.name}, line 1: found the field {wrong!r} without a type, expected such as user_id:token; is "
            "it an atomic file of RecBole?"
        )
    return {name: kind for name, _, kind in pairs}


def _columns(table: PublishedTable) -> TableColumns:
    types = _types(table)
    tokens = [name for name, kind in types.items() if kind == "token"]
    user = "user_id" if "user_id" in types else next(iter(tokens), "user_id")
    item = "item_id" if "item_id" in types else next((name for name in tokens if name != user), "item_id")
    columns = TableColumns(user=f"{user}:token", item=f"{item}:token")
    if "timestamp" in types:
        columns = replace(columns, at=f"timestamp:{types['timestamp']}")
    if "label" in types:
        return replace(columns, rating=f"label:{types['label']}", threshold=1.0, dislike=0.0)
    if "rating" not in types:
        return columns
    columns = replace(columns, rating=f"rating:{types['rating']}", threshold=LIKE, dislike=DISLIKE)
    _check_scale(table, columns)
    return columns


def _check_scale(table: PublishedTable, columns: TableColumns) -> None:
    rating = pl.col("rating")
    rows = table.read({"rating": number(str(columns.rating))}).select(low=rating.min(), high=rating.max()).collect()
    for low, high in rows.rows():
        if low is not None and (low < 0 or not 2 < high <= _MAX_STARS):
            raise DataError(
                f"{table.path.name}: found ratings from {low:g} to {high:g}, expected some of 1 to {_MAX_STARS}; say "
                f"what a like is: sanad import table --user {columns.user} --item {columns.item} --rating "
                f"{columns.rating} --threshold ..."
            )


def _with_texts(columns: TableColumns, items: PublishedTable) -> TableColumns:
    """The columns with title and texts of the items: a title by its name, else the first text."""
    types = _types(items)
    texts = [name for name, kind in types.items() if kind == "token_seq"]
    title = next((name for name in (*_TITLES, *texts) if name in types), None)
    about = [name for name in types if name != title and (name in texts or name in _ABOUT)]
    return replace(
        columns,
        title=f"{title}:{types[title]}" if title else None,
        texts=tuple(f"{name}:{types[name]}" for name in about),
    )


def _users(table: PublishedTable, user: str, notices: list[str]) -> pl.LazyFrame:
    types = _types(table)
    fields = {"user_id": id_of(user if user in table.columns else table.columns[0])}
    if "age" in types:
        fields["age"] = text(f"age:{types['age']}")
    note_unused_columns(table, [field.column for field in fields.values()], notices)
    rows = table.read(fields)
    if "age" not in types:
        return rows.select("user_id")
    return rows.select(
        "user_id", age_band=age_band(pl.col("age").cast(pl.Float64, strict=False)), age_source=pl.lit("declared")
    )
