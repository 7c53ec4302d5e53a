"""
MovieLens (Harper and Konstan 2015; research use, not redistributed here) in its three layouts: 100k (`u.data`,
`u.item`, `u.user`), 1M and 10M (`ratings.dat`, `movies.dat`, `users.dat`, fields divided by `::`), and 20M and later
(`ratings.csv`, `movies.csv`).

A rating of 4 and above becomes `like`, of 2 and below `not_interested`, between them `view` of an unknown length;
the rating itself is in `events.value`. An item counts as published at its first rating (films are older than the
log), genres are its text. Ages are as declared; "under 18" of 1M and 10M says no band, so it is unknown.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from recsys.errors import DataError
from training.importers.common import DAY_ZERO, ImportReport, all_needed, find, finish, scan_text, solo_creators

_GENRES_100K: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_RATINGS: Final = ("user_id", "item_id", "rating", "seconds")

Read = tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame | None]  # ratings, films, people


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads whichever layout stands in `source`.

    Raises:  DataError when none of the three is there, or a file or column of it is missing.
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
    ratings, films, people = readers[0](source, notices)
    events = _events(ratings)
    first = events.group_by("item_id").agg(published_at=pl.col("at").min())
    items = films.join(first, on="item_id", how="left", maintain_order="left").select(
        "item_id",
        creator_id="item_id",
        published_at=pl.col("published_at").fill_null(DAY_ZERO),
        title="title",
        text="text",
    )
    users = people if people is not None else events.select("user_id").unique().sort("user_id")
    return finish(folder, creators=solo_creators(items), items=items, users=users, events=events, notices=notices)


def _events(ratings: pl.LazyFrame) -> pl.LazyFrame:
    rating = pl.col("rating").cast(pl.Float64)
    kind = pl.when(rating >= 4).then(pl.lit("like")).when(rating <= 2).then(pl.lit("not_interested"))
    return ratings.select(
        "user_id",
        "item_id",
        event_id=pl.format("{}-{}-{}", "user_id", "item_id", "seconds"),
        kind=kind.otherwise(pl.lit("view")),
        at=pl.col("seconds").cast(pl.Int64) * 1_000,
        value=pl.col("rating"),
    )


def _read_100k(source: Path, notices: list[str]) -> Read:
    data, films, people = all_needed(source, "u.data", "u.item", "u.user")
    ratings = scan_text(data[0], _RATINGS, notices=notices, separator="\t", header=False, quote=None)
    genres = [f"genre_{n}" for n in range(len(_GENRES_100K))]
    rows = _split(films[0], "|", ["item_id", "title", "released", "video_released", "url", *genres])
    named = [pl.when(pl.col(f"genre_{n}") == "1").then(pl.lit(name)) for n, name in enumerate(_GENRES_100K)]
    items = rows.select("item_id", "title", text=pl.concat_str(named, separator=", ", ignore_nulls=True))
    ages = _split(people[0], "|", ["user_id", "age", "gender", "occupation", "zip"])
    notices.append(f"{films[0].name}, {people[0].name}: dates, links, gender, occupation and zip code were left out")
    return ratings, items, ages.select("user_id", *_age(pl.col("age").cast(pl.Int64)))


def _age(years: pl.Expr) -> list[pl.Expr]:
    band = (
        pl.when(years < 13).then(pl.lit("under_13")).when(years < 16).then(pl.lit("13-15"))
        .when(years < 18).then(pl.lit("16-17")).otherwise(pl.lit("18+"))
    )  # fmt: skip
    return [band.alias("age_band"), pl.lit("declared").alias("age_source")]


def _read_dat(source: Path, notices: list[str]) -> Read:
    data, films = all_needed(source, "ratings.dat", "movies.dat")
    ratings = _split(data[0], "::", list(_RATINGS))
    items = _split(films[0], "::", ["item_id", "title", "genres"])
    people = find(source, "users.dat")
    users = None
    if people:  # 10M has none
        rows = _split(people[0], "::", ["user_id", "gender", "age", "occupation", "zip"])
        band = pl.when(pl.col("age") == "1").then(pl.lit("unknown")).otherwise(pl.lit("18+"))
        users = rows.select("user_id", age_band=band, age_source=pl.lit("declared"))
        notices.append(f"{people[0].name}: gender, occupation and zip code were left out")
    return (
        ratings,
        items.select("item_id", "title", text=pl.col("genres").str.replace_all("|", ", ", literal=True)),
        users,
    )


def _read_csv(source: Path, notices: list[str]) -> Read:
    data, films = all_needed(source, "ratings.csv", "movies.csv")
    ratings = scan_text(data[0], ["userId", "movieId", "rating", "timestamp"], notices=notices)
    items = scan_text(films[0], ["movieId", "title", "genres"], notices=notices)
    others = [p.name for p in find(source, "*.csv") if p not in (*data, *films)]
    notices.extend(f"{name} was left out" for name in others)
    return (
        ratings.rename({"userId": "user_id", "movieId": "item_id", "timestamp": "seconds"}),
        items.select(
            pl.col("movieId").alias("item_id"), "title", text=pl.col("genres").str.replace_all("|", ", ", literal=True)
        ),
        None,
    )


def _split(path: Path, separator: str, columns: list[str]) -> pl.LazyFrame:
    """A table whose separator no CSV reader knows, or whose text is Latin-1 (u.item, movies.dat)."""
    raw = path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = pl.Series("line", [line for line in text.split("\n") if line.strip()], dtype=pl.String)
    fields = lines.str.strip_chars_end("\r").str.split(separator)
    wrong = fields.list.len() != len(columns)
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise DataError(
            f"{path.name}: line {row + 1} has {len(fields[row])} fields, expected {len(columns)}: {columns}"
        )
    return pl.LazyFrame({name: fields.list.get(n) for n, name in enumerate(columns)})
