"""
KuaiRand (Gao et al. 2022, CC BY-SA 4.0), the published CSV layout of Pure, 1K and 27K: `log_standard_*`,
`log_random_*`, `user_features_*`, `video_features_basic_*`.

One log row becomes an `impression`, a `view` when something was played, a `complete` when it was played to the end,
and one event per act: like, comment, share (`is_forward`), follow (of the author), not_interested (`is_hate`).
`events.variant` tells the standard policy from the uniformly random exposures. A video's day of upload counts from
midnight UTC. Countries of creators, titles and propensities are not published (see `common`).
Source: https://kuairand.com.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from training.importers.common import ImportReport, all_needed, find, finish, note_unused_columns
from training.importers.fields import id_of, instant, number
from training.importers.published import ROW, PublishedTable, open_table

_LOG: Final = ("user_id", "video_id", "time_ms", "play_time_ms", "duration_ms")
_ACTS: Final[Mapping[str, str]] = {
    "is_like": "like",
    "is_comment": "comment",
    "is_forward": "share",
    "is_follow": "follow",
    "is_hate": "not_interested",
}


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the published files in `source`, writes the dataset into `folder`.

    Raises:  DataError for missing files or columns.
    """
    standard, people, videos = all_needed(
        source, "log_standard_*.csv", "user_features_*.csv", "video_features_basic_*.csv"
    )
    notices: list[str] = []
    items = pl.concat(_items(path, notices) for path in videos)
    authors = items.select("item_id", "creator_id")
    logs = [(path, "standard") for path in standard] + [(p, "random") for p in find(source, "log_random_*.csv")]
    events = pl.concat(
        part for n, (path, policy) in enumerate(logs) for part in _events(path, n, policy, authors, notices)
    )
    users = pl.concat(_open(path, ["user_id"], notices).read({"user_id": id_of("user_id")}) for path in people)
    return finish(
        folder,
        items=items,
        users=users.select("user_id"),
        events=events,
        notices=notices,
        items_name=videos[0].name,
        users_name=people[0].name,
    )


def _open(path: Path, columns: list[str], notices: list[str]) -> PublishedTable:
    table = open_table(path)
    note_unused_columns(table, columns, notices)
    return table


def _items(path: Path, notices: list[str]) -> pl.LazyFrame:
    columns = ["video_id", "author_id", "upload_dt", "video_duration", "music_id"]
    fields = {
        "item_id": id_of("video_id"),
        "creator_id": id_of("author_id", is_required=False),
        "published_at": instant("upload_dt", is_required=False),
        "duration_s": number("video_duration", is_required=False),
        "sound_id": id_of("music_id", is_required=False),
    }
    rows = _open(path, columns, notices).read(fields).drop(ROW)
    return rows.with_columns(pl.col("duration_s") / 1_000)


def _events(path: Path, file_no: int, policy: str, authors: pl.LazyFrame, notices: list[str]) -> list[pl.LazyFrame]:
    fields = {
        "user_id": id_of("user_id"),
        "video_id": id_of("video_id"),
        "at": instant("time_ms"),
        "play_time_ms": number("play_time_ms"),
        "duration_ms": number("duration_ms"),
    } | {flag: number(flag) for flag in _ACTS}
    raw = _open(path, [*_LOG, *_ACTS], notices).read(fields)
    rows = raw.join(authors, left_on="video_id", right_on="item_id", how="left", maintain_order="left")
    played, length = pl.col("play_time_ms"), pl.col("duration_ms")
    common = {
        "user_id": pl.col("user_id"),
        "at": pl.col("at"),
        "variant": pl.lit(policy),
    }
    nothing = pl.lit(None, dtype=pl.Float64)
    fraction = pl.when(length > 0).then((played / length).clip(0, 1))

    def select_kind(kind: str, happened: pl.Expr, watch: bool = False) -> pl.LazyFrame:
        of_creator = kind == "follow"
        return rows.filter(happened).select(
            event_id=pl.format("{}-{}-" + kind, pl.lit(file_no), ROW),
            **common,
            kind=pl.lit(kind),
            item_id=pl.lit(None, dtype=pl.String) if of_creator else pl.col("video_id"),
            creator_id=pl.col("creator_id") if of_creator else pl.lit(None, dtype=pl.String),
            watch_s=played / 1_000 if watch else nothing,
            watch_fraction=fraction if watch else nothing,
        )

    return [
        select_kind("impression", pl.lit(True)),
        select_kind("view", played > 0, watch=True),
        select_kind("complete", (length > 0) & (played >= length)),
        *(select_kind(kind, pl.col(flag) > 0) for flag, kind in _ACTS.items()),
    ]
