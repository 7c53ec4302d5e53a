"""
MovieLens (Harper and Konstan 2015; research use, not redistributed here) in its three layouts: 100k (`u.data`,
`u.item`, `u.user`), 1M and 10M (`ratings.dat`, `movies.dat`, `users.dat`, fields divided by `::`), and 20M and later
(`ratings.csv`, `movies.csv`).
Source: the README files at https://files.grouplens.org/datasets/movielens/.

A rating of 4 and above becomes `like`, of 2 and below `not_interested`, between them `view` of an unknown length;
the rating itself is in `events.value`. An item counts as published at its first rating (films are older than the
log), genres are its text. Ages are as declared; "under 18" of 1M and 10M says no band, so it is unknown.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from recsys.errors import DataError
from training.importers.common import (
    ImportReport,
    age_band,
    all_needed,
    find,
    finish,
    note_unused_columns,
    note_unused_files,
)
from training.importers.fields import id_of, number, text
from training.importers.published import ROW, PublishedTable, open_table
from training.importers.table import TableColumns, events_of

LIKE: Final = 4.0
"""Of five stars: from here on somebody likes it."""

DISLIKE: Final = 2.0
"""Of five stars: up to here it is negative feedback."""

_GENRES_100K: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_RATINGS: Final = ("user_id", "item_id", "rating", "timestamp")

Read = tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame | None, list[Path]]
"""Events, films, people, and the files that were read: films second."""


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads whichever layout stands in `source`.

    Raises:  DataError when none of the three is there, or a file, a column or a value of it cannot be read.
    """
    notices: list[str] = []
    layouts: dict[str, Callable[[Path, list[str]], Read]] = {
        "u.data": _read_100k,
        "ratings.dat": _read_dat,
        "ratings.csv": _read_csv,
    }
    readers = [read for name, read in layouts.items() if find(source, name)]
    if len(readers) != 1:
        raise DataError(
            f"found {len(readers)} of {', '.join(layouts)} in {source}, expected exactly one; which set is it?"
        )
    events, films, people, files = readers[0](source, notices)
    note_unused_files(source, files, notices)
    return finish(
        folder,
        events=events,
        items=films,
        users=people,
        notices=notices,
        items_name=files[1].name,
        users_name=files[-1].name,
    )


def _events(table: PublishedTable, user: str, item: str) -> pl.LazyFrame:
    columns = TableColumns(user=user, item=item, rating="rating", threshold=LIKE, dislike=DISLIKE, at="timestamp")
    return events_of(table, columns).with_columns(event_id=pl.format("{}-{}-{}", "user_id", "item_id", "at")).drop(ROW)


def _read_100k(source: Path, notices: list[str]) -> Read:
    data, films, people = (paths[0] for paths in all_needed(source, "u.data", "u.item", "u.user"))
    ratings = open_table(data, separator="\t", quote=None, names=_RATINGS)
    genres = [f"genre_{n}" for n in range(len(_GENRES_100K))]
    names = ["item_id", "title", "released", "video_released", "url", *genres]
    rows = open_table(films, separator="|", quote=None, names=names).read(
        {"item_id": id_of("item_id"), "title": text("title")} | {genre: number(genre) for genre in genres}
    )
    named = [pl.when(pl.col(f"genre_{n}") == 1).then(pl.lit(name)) for n, name in enumerate(_GENRES_100K)]
    items = rows.select("item_id", "title", text=pl.concat_str(named, separator=", ", ignore_nulls=True))
    table = open_table(people, separator="|", quote=None, names=("user_id", "age", "gender", "occupation", "zip"))
    users = table.read({"user_id": id_of("user_id"), "age": number("age", is_required=False)}).select(
        "user_id", age_band=age_band(pl.col("age")), age_source=pl.lit("declared")
    )
    notices.append(f"{films.name}, {people.name}: dates, links, gender, occupation and zip code were left out")
    return _events(ratings, "user_id", "item_id"), items, users, [data, films, people]


def _read_dat(source: Path, notices: list[str]) -> Read:
    data, films = (paths[0] for paths in all_needed(source, "ratings.dat", "movies.dat"))
    ratings = open_table(data, separator="::", quote=None, names=_RATINGS)
    items = open_table(films, separator="::", quote=None, names=("item_id", "title", "genres"))
    people = find(source, "users.dat")
    users = None
    if people:  # 10M has none
        table = open_table(
            people[0], separator="::", quote=None, names=("user_id", "gender", "age", "occupation", "zip")
        )
        users = table.read({"user_id": id_of("user_id"), "age": number("age", is_required=False)}).select(
            "user_id", age_band=age_band(pl.col("age")), age_source=pl.lit("declared")
        )
        notices.append(f"{people[0].name}: gender, occupation and zip code were left out")
    return _events(ratings, "user_id", "item_id"), _films(items, "item_id"), users, [data, films, *people]


def _read_csv(source: Path, notices: list[str]) -> Read:
    data, films = (paths[0] for paths in all_needed(source, "ratings.csv", "movies.csv"))
    ratings, items = open_table(data), open_table(films)
    note_unused_columns(ratings, ("userId", "movieId", "rating", "timestamp"), notices)
    note_unused_columns(items, ("movieId", "title", "genres"), notices)
    return _events(ratings, "userId", "movieId"), _films(items, "movieId"), None, [data, films]


def _films(table: PublishedTable, item: str) -> pl.LazyFrame:
    rows = table.read({"item_id": id_of(item), "title": text("title"), "text": text("genres")})
    return rows.drop(ROW).with_columns(pl.col("text").str.replace_all("|", ", ", literal=True))
