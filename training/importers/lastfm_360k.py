"""
Last.fm 360K (Celma 2010; non-commercial use, not redistributed here): `usersha1-artmbid-artname-plays.tsv` and
`usersha1-profile.tsv`, without headers.
Source: the README of lastfm-dataset-360K, http://ocelma.net/MusicRecommendationDataset/lastfm-360K.html.

Having listened is `complete`, with the number of plays in `events.value`. An artist is an item; the id is that of
MusicBrainz or, where there is none, the name. The set publishes no times (see `training.importers.table`). Countries of
listeners are English names and become ISO 3166-1; ages are as declared.
"""

from pathlib import Path
from typing import Final

import polars as pl

from training.importers.common import ImportReport, age_band, all_needed, finish, note_unused_files
from training.importers.countries import code_of
from training.importers.fields import id_of, name_as_id, text
from training.importers.published import ROW, open_table
from training.importers.table import with_times

_PLAYS: Final = ("user", "mbid", "artist", "plays")
_PROFILE: Final = ("user", "gender", "age", "country", "signup")


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads both files, plain or packed.

    Raises:  DataError for missing files, lines with another number of fields, and values that cannot be read.
    """
    plays, people = (
        paths[0] for paths in all_needed(source, "usersha1-artmbid-artname-plays.tsv", "usersha1-profile.tsv")
    )
    notices = [f"{people.name}: gender and day of sign-up were left out"]
    note_unused_files(source, [plays, people], notices)
    listened = open_table(plays, separator="\t", quote=None, names=_PLAYS).read(
        {"user_id": id_of("user"), "mbid": name_as_id("mbid"), "name": name_as_id("artist"), "value": text("plays")}
    )
    named = listened.with_columns(item_id=pl.coalesce("mbid", "name")).filter(pl.col("item_id").is_not_null())
    events = named.select("user_id", "item_id", "value", kind=pl.lit("complete"), event_id=pl.col(ROW).cast(pl.String))
    artists = named.group_by("item_id", maintain_order=True).agg(title=pl.col("name").first())
    return finish(
        folder,
        events=with_times(events, notices),
        items=artists,
        users=_listeners(people, notices),
        notices=notices,
        users_name=people.name,
    )


def _listeners(path: Path, notices: list[str]) -> pl.LazyFrame:
    table = open_table(path, separator="\t", quote=None, names=_PROFILE)
    rows = table.read({"user_id": id_of("user"), "age": text("age"), "country": text("country")}).collect()
    codes = {name: code_of(name) for name in rows["country"].drop_nulls().unique().sort()}
    unknown = [repr(name) for name, code in codes.items() if code is None]
    if unknown:
        notices.append(f"{path.name}: the countries {', '.join(unknown[:20])} have no code in ISO 3166-1: unknown")
    return rows.lazy().select(
        "user_id",
        country=pl.col("country").replace_strict(codes, default=None, return_dtype=pl.String),
        age_band=age_band(pl.col("age").cast(pl.Float64, strict=False)),
        age_source=pl.lit("declared"),
    )
