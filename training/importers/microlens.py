"""
MicroLens (Ni et al. 2023; for research): titles in `MicroLens-*_title*.csv` (item, title; with or without a header,
the longest title of an item wins), and interactions in `MicroLens-*_pairs.csv` (user, item, timestamp in
milliseconds) or, where only a part is at hand, `events_subset.csv` (user, item, datetime_utc).

The published interactions are comments, so each becomes `comment`. An item counts as published at its first
event, or at the first event of all. Creators and countries are not published (see `common`); titles are machine
translations, so `language`, which is that of the video, stays unknown.
"""

from pathlib import Path
from typing import Final

import polars as pl

from recsys.data.delimited import first_record
from recsys.data.text_files import look_through, scan_lines
from recsys.errors import DataError
from training.importers.common import ImportReport, by_number, find, finish, need, note_unused_files
from training.importers.fields import id_of, instant, text
from training.importers.published import ROW, open_table

_TITLES: Final = "MicroLens-*_title*.csv"
_PAIRS: Final = "MicroLens-*_pairs.csv"
_SUBSET: Final = "events_subset.csv"


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads titles and interactions, plain or `.gz`.

    Raises:  DataError for missing files or columns.
    """
    logs = find(source, _PAIRS) or find(source, _SUBSET)
    titles = need(source, _TITLES)
    notices: list[str] = []
    if not logs:
        need(source, _PAIRS, _SUBSET)
    if not find(source, _PAIRS):
        notices.append("only a part of the interactions is at hand (events_subset.csv)")
    note_unused_files(source, [*titles, *logs], notices)
    named = pl.concat(_titles(path) for path in titles).lazy()
    events = pl.concat(_events(path) for path in logs).with_row_index(ROW)
    ids = pl.concat([named.select("item_id"), events.select("item_id")]).unique().sort(*by_number("item_id"))
    longest = named.filter(pl.col("title") != "").sort(pl.col("title").str.len_chars(), descending=True)
    items = ids.join(
        longest.unique("item_id", keep="first", maintain_order=True), on="item_id", how="left", maintain_order="left"
    )
    return finish(
        folder,
        items=items,
        events=events.with_columns(event_id=pl.col(ROW).cast(pl.String), kind=pl.lit("comment")).drop(ROW),
        notices=notices,
    )


def _events(path: Path) -> pl.LazyFrame:
    table = open_table(path)
    at = "timestamp" if "timestamp" in table.columns else "datetime_utc"
    return table.read({"user_id": id_of("user"), "item_id": id_of("item"), "at": instant(at)}).drop(ROW)


def _titles(path: Path) -> pl.DataFrame:
    """item_id, title. The short titles stand without quotes and without a header, so the first comma divides."""
    file = look_through(path)
    if first_record(file, ",") == ["item", "title"]:
        rows = open_table(path).read({"item_id": id_of("item"), "title": text("title")}).drop(ROW).collect()
        return rows.with_columns(pl.col("title").str.strip_chars())
    fields = scan_lines(file).select(parts=pl.col("line").str.splitn(",", 2)).collect()["parts"].struct
    table = pl.DataFrame({"item_id": fields.field("field_0"), "title": fields.field("field_1").str.strip_chars()})
    wrong = table.with_row_index(ROW).filter(~pl.col("item_id").str.contains(r"^\d+$") | pl.col("title").is_null())
    for row, item_id, _ in wrong.head(1).rows():
        raise DataError(f"line {row + 1:,} of {path.name}: found {item_id[:60]!r}, expected an item, a comma, a title")
    return table
