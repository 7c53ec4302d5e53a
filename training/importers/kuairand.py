"""
KuaiRand (Gao et al. 2022, CC BY-SA 4.0), the published CSV layout of Pure, 1K and 27K: `log_standard_*`,
`log_random_*`, `user_features_*`, `video_features_basic_*`.

One log row becomes an `impression`, a `view` when something was played, a `complete` when it was played to the end,
and one event per act: like, comment, share (`is_forward`), follow (of the author), not_interested (`is_hate`).
`events.variant` tells the standard policy from the uniformly random exposures. A video's day of upload counts from
midnight UTC. Countries of creators, titles and propensities are not published (see `common`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from training.importers.common import UNKNOWN_COUNTRY, ImportReport, all_needed, find, finish, scan_text, untitled

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
        part for number, (path, policy) in enumerate(logs) for part in _events(path, number, policy, authors, notices)
    )
    users = pl.concat(scan_text(path, ["user_id"], notices=notices) for path in people)
    return finish(
        folder,
        creators=items.select("creator_id").unique().sort("creator_id").with_columns(country=pl.lit(UNKNOWN_COUNTRY)),
        items=items,
        users=users,
        events=events,
        notices=notices,
    )


def _items(path: Path, notices: list[str]) -> pl.LazyFrame:
    columns = ["video_id", "author_id", "upload_dt", "video_duration", "music_id"]
    raw = scan_text(path, columns, notices=notices)
    return raw.select(
        item_id=pl.col("video_id"),
        creator_id=pl.col("author_id"),
        published_at=pl.col("upload_dt").str.to_datetime("%Y-%m-%d", time_unit="ms", time_zone="UTC"),
        title=untitled("video_id"),
        duration_s=pl.col("video_duration").cast(pl.Float64) / 1_000,
        sound_id=pl.col("music_id"),
    )


def _events(path: Path, number: int, policy: str, authors: pl.LazyFrame, notices: list[str]) -> list[pl.LazyFrame]:
    raw = scan_text(path, [*_LOG, *_ACTS], notices=notices).with_row_index("row")
    rows = raw.join(authors, left_on="video_id", right_on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("time_ms", "play_time_ms", "duration_ms").cast(pl.Float64)
    )
    played, length = pl.col("play_time_ms"), pl.col("duration_ms")
    common = {
        "user_id": pl.col("user_id"),
        "at": pl.col("time_ms").cast(pl.Int64),
        "variant": pl.lit(policy),
    }
    nothing = pl.lit(None, dtype=pl.Float64)
    fraction = pl.when(length > 0).then((played / length).clip(0, 1))

    def select_kind(kind: str, happened: pl.Expr, watch: bool = False) -> pl.LazyFrame:
        of_creator = kind == "follow"
        return rows.filter(happened).select(
            event_id=pl.format("{}-{}-" + kind, pl.lit(number), "row"),
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
        *(select_kind(kind, pl.col(flag).cast(pl.Float64) > 0) for flag, kind in _ACTS.items()),
    ]
