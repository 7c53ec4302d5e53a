"""
MicroLens (Ni et al. 2023; for research): titles in `MicroLens-*_title*.csv` (item, title; with or without a header,
the longest title of an item wins), and interactions in `MicroLens-*_pairs.csv` (user, item, timestamp in
milliseconds) or, where only a part is at hand, `events_subset.csv` (user, item, datetime_utc).

The published interactions are comments, so each becomes `comment`. An item counts as published at its first
event, or at the first event of all. Creators and countries are not published (see `common`); titles are machine
translations, so `language`, which is that of the video, stays unknown.
"""

from pathlib import Path

import polars as pl

from recsys.errors import DataError
from training.importers.common import ImportReport, find, finish, need, scan_text, solo_creators, untitled


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads titles and interactions, plain or `.gz`.

    Raises:  DataError for missing files or columns.
    """
    problems: list[str] = []
    for patterns in (("MicroLens-*_title*.csv",), ("MicroLens-*_pairs.csv", "events_subset.csv")):
        try:
            need(source, *patterns)
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    notices: list[str] = []
    events = _events(source, notices).collect()
    titles = pl.concat(_titles(path) for path in find(source, "MicroLens-*_title*.csv"))
    items = _items(titles, events)
    used = [*find(source, "MicroLens-*_title*.csv"), *find(source, "MicroLens-*_pairs.csv", "events_subset.csv")]
    notices.extend(f"{p.name} was left out" for p in find(source, "*.csv", "*.txt") if p not in used)
    return finish(
        folder,
        creators=solo_creators(items.lazy()),
        items=items.lazy(),
        users=events.lazy().select(pl.col("user_id").unique()).sort(pl.col("user_id").cast(pl.Int64, strict=False)),
        events=events.lazy(),
        notices=notices,
    )


def _events(source: Path, notices: list[str]) -> pl.LazyFrame:
    pairs = find(source, "MicroLens-*_pairs.csv")
    if pairs:
        raw = pl.concat(scan_text(path, ["user", "item", "timestamp"], notices=notices) for path in pairs)
        at = pl.col("timestamp").cast(pl.Int64)
    else:
        raw = scan_text(need(source, "events_subset.csv")[0], ["user", "item", "datetime_utc"], notices=notices)
        notices.append("only a part of the interactions is at hand (events_subset.csv)")
        at = pl.col("datetime_utc").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms").dt.timestamp("ms")
    return raw.with_row_index("row").select(
        event_id=pl.col("row").cast(pl.String), user_id="user", item_id="item", kind=pl.lit("comment"), at=at
    )


def _titles(path: Path) -> pl.DataFrame:
    """item_id, title. The short titles stand without quotes and without a header, so the first comma divides."""
    with_header = pl.read_csv(path, n_rows=1, infer_schema=False).columns == ["item", "title"]
    if with_header:
        return pl.read_csv(path, infer_schema=False).select(item_id="item", title=pl.col("title").str.strip_chars())
    fields = pl.scan_lines(path, name="line").select(parts=pl.col("line").str.splitn(",", 2)).collect()
    parts = fields["parts"].struct
    table = pl.DataFrame({"item_id": parts.field("field_0"), "title": parts.field("field_1").str.strip_chars()})
    wrong = table.filter(~pl.col("item_id").str.contains(r"^\d+$") | pl.col("title").is_null())
    if wrong.height:
        raise DataError(f"{path.name}: found the line {wrong['item_id'][0][:80]!r}, expected an item, a comma, a title")
    return table


def _items(titles: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    longest = titles.filter(pl.col("title") != "").sort(pl.col("title").str.len_chars(), descending=True)
    first = events.group_by("item_id").agg(published_at=pl.col("at").min())
    known = pl.concat([titles.select("item_id"), events.select("item_id")]).unique()
    rows = known.join(longest.unique("item_id", keep="first", maintain_order=True), on="item_id", how="left").join(
        first, on="item_id", how="left"
    )
    return rows.sort(pl.col("item_id").cast(pl.Int64, strict=False), "item_id").select(
        "item_id",
        creator_id="item_id",
        published_at=pl.col("published_at").fill_null(events["at"].min()),
        title=pl.col("title").fill_null(untitled()),
    )
