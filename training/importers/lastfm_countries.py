"""
Last.fm listeners with their countries and artists with theirs: `users.csv` (user, country_iso2), `artists.csv`
(artist, country_iso2), `train.csv` and optionally `test.csv` (user, artist).

An artist is a creator with one item of the same name; having listened is `complete`. The set publishes no times
(see `common`); an artist without a country gets `ZZ`, a listener without one null. The part is in `events.variant`.
"""

from pathlib import Path

import polars as pl

from training.importers.common import (
    CUTOFFS,
    DAY_ZERO,
    PARTS,
    UNKNOWN_COUNTRY,
    ImportReport,
    all_needed,
    find,
    finish,
    note_unused_columns,
    times_of_part,
)
from training.importers.fields import id_of, text
from training.importers.published import ROW, PublishedTable, open_table


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the files, plain or `.gz`.

    Raises:  DataError for missing files or columns.
    """
    people, acts, _ = all_needed(source, "users.csv", "artists.csv", "train.csv")
    notices: list[str] = []
    artists, users = _places(acts[0], "artist", notices), _places(people[0], "user", notices)
    parts = [_events(files[0], part, notices) for part in PARTS if (files := find(source, f"{part}.csv"))]
    n_unknown = artists.filter(pl.col("country").is_null()).select(pl.len()).collect().item()
    if n_unknown:
        notices.append(f"{n_unknown} artists have no country and were given {UNKNOWN_COUNTRY} (unknown)")
    items = artists.select(item_id="id", creator_id="id", published_at=pl.lit(DAY_ZERO), title="id", country="country")
    return finish(
        folder,
        items=items,
        users=users.select(user_id="id", country="country"),
        creators=artists.select(creator_id="id", country=pl.col("country").fill_null(UNKNOWN_COUNTRY)),
        events=pl.concat(parts).lazy(),
        notices=notices,
        items_name=acts[0].name,
        users_name=people[0].name,
        cutoffs=CUTOFFS,
    )


def _open(path: Path, columns: tuple[str, str], notices: list[str]) -> PublishedTable:
    table = open_table(path)
    note_unused_columns(table, columns, notices)
    return table


def _places(path: Path, key: str, notices: list[str]) -> pl.LazyFrame:
    """id and country of artists or listeners."""
    table = _open(path, (key, "country_iso2"), notices)
    return table.read({"id": id_of(key), "country": text("country_iso2")})


def _events(path: Path, part: str, notices: list[str]) -> pl.DataFrame:
    table = _open(path, ("user", "artist"), notices)
    rows = table.read({"user_id": id_of("user"), "item_id": id_of("artist")}).collect()
    return rows.select(
        "user_id",
        "item_id",
        event_id=pl.format(part + "-{}", ROW),
        kind=pl.lit("complete"),
        at=times_of_part(part, rows.height),
        variant=pl.lit(part),
    )
