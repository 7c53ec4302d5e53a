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
    scan_text,
    times_of_part,
)


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the files, plain or `.gz`.

    Raises:  DataError for missing files or columns.
    """
    people, acts, _ = all_needed(source, "users.csv", "artists.csv", "train.csv")
    notices: list[str] = []
    artists = scan_text(acts[0], ["artist", "country_iso2"], notices=notices)
    users = scan_text(people[0], ["user", "country_iso2"], notices=notices)
    parts = [_events(files[0], part, notices) for part in PARTS if (files := find(source, f"{part}.csv"))]
    n_unknown = artists.filter(pl.col("country_iso2").is_null()).select(pl.len()).collect().item()
    if n_unknown:
        notices.append(f"{n_unknown} artists have no country and were given {UNKNOWN_COUNTRY} (unknown)")
    country = pl.col("country_iso2")
    return finish(
        folder,
        creators=artists.select(creator_id="artist", country=country.fill_null(UNKNOWN_COUNTRY)),
        items=artists.select(
            item_id="artist", creator_id="artist", published_at=pl.lit(DAY_ZERO), title="artist", country=country
        ),
        users=users.select(user_id="user", country=country),
        events=pl.concat(parts).lazy(),
        notices=notices,
        cutoffs=CUTOFFS,
    )


def _events(path: Path, part: str, notices: list[str]) -> pl.DataFrame:
    raw = scan_text(path, ["user", "artist"], notices=notices).collect().with_row_index("row")
    return raw.select(
        event_id=pl.format(part + "-{}", "row"),
        user_id="user",
        item_id="artist",
        kind=pl.lit("complete"),
        at=times_of_part(part, raw.height),
        variant=pl.lit(part),
    )
