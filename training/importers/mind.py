"""
MIND, the news of Microsoft News (Wu et al. 2020; research use, not redistributed here): `behaviors.tsv` and `news.tsv`
of one part, without headers.
Source: https://github.com/msnews/msnews.github.io/blob/master/assets/doc/introduction.md.

Each item of a slate becomes an `impression`, and a clicked one a `complete` beside it, both with the slate as their
`request_id`; the order within a slate is not published, so neither is a position. Earlier clicks of the history have no
times: each becomes a `complete`, in the published order, in the seconds before the person's first slate. Category and
abstract are the text.
"""

from pathlib import Path

import polars as pl

from training.importers.common import ImportReport, all_needed, finish, note_unused_files
from training.importers.fields import id_of, instant, text
from training.importers.published import ROW, open_table

_BEHAVIOURS = ("impression_id", "user_id", "time", "history", "impressions")
_NEWS = ("news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities")
_SECOND = 1_000  # milliseconds


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads both files, plain or packed.

    Raises:  DataError for missing files, lines with another number of fields, and values that cannot be read.
    """
    behaviours, news = (paths[0] for paths in all_needed(source, "behaviors.tsv", "news.tsv"))
    notices = [f"{news.name}: addresses and entities were left out"]
    note_unused_files(source, [behaviours, news], notices)
    slates = open_table(behaviours, separator="\t", quote=None, names=_BEHAVIOURS).read(
        {
            "request_id": id_of("impression_id"),
            "user_id": id_of("user_id"),
            "at": instant("time"),
            "history": text("history"),
            "impressions": text("impressions"),
        }
    )
    shown = _shown(slates)
    clicked = shown.filter("is_clicked")
    events = pl.concat(
        [
            _events(shown.with_columns(kind=pl.lit("impression")), "shown"),
            _events(clicked.with_columns(kind=pl.lit("complete")), "clicked"),
            _events(_history(slates).with_columns(kind=pl.lit("complete")), "history"),
        ],
        how="diagonal",
    )
    return finish(folder, events=events, items=_news(news), notices=notices, items_name=news.name)


def _shown(slates: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each item of each slate, `N1-0` or `N1-1`."""
    items = slates.with_columns(pl.col("impressions").str.split(" ")).explode("impressions")
    parts = pl.col("impressions").str.extract_groups(r"^(.+)-([01])$").struct
    return items.select(
        ROW, "user_id", "at", "request_id", item_id=parts.field("1"), is_clicked=parts.field("2") == "1"
    ).filter(pl.col("item_id").is_not_null())


def _history(slates: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each earlier click of a person, from their first slate."""
    first = slates.sort("at").group_by("user_id", maintain_order=True).first().filter(pl.col("history").is_not_null())
    clicks = first.with_columns(item_id=pl.col("history").str.split(" "), n=pl.col("history").str.count_matches(" "))
    rows = clicks.with_columns(back=pl.int_ranges(pl.col("n") + 1, 0, -1)).explode("item_id", "back")
    return rows.select(ROW, "user_id", "item_id", at=pl.col("at") - pl.col("back") * _SECOND)


def _events(rows: pl.LazyFrame, what: str) -> pl.LazyFrame:
    numbered = rows.with_row_index("n").with_columns(event_id=pl.format(what + "-{}", "n"))
    return numbered.drop("n", ROW, "is_clicked", strict=False)


def _news(path: Path) -> pl.LazyFrame:
    table = open_table(path, separator="\t", quote=None, names=_NEWS)
    named = ("category", "subcategory", "abstract")
    rows = table.read({"item_id": id_of("news_id"), "title": text("title")} | {name: text(name) for name in named})
    words = pl.concat_str(named, separator=" ", ignore_nulls=True)
    return rows.select("item_id", "title", text=words, language=pl.lit("en"))
