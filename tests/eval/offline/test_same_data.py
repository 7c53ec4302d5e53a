"""Laws of an evaluation on data: on the folder behind the artifact, on a later state of it, and on any other."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from eval.offline.holdout import cutoff_of
from eval.offline.run import EvalParams, evaluate
from eval.offline.same_data import compare_data
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import DAY
from recsys.data.tables import write_dataset
from recsys.errors import DataError


def changed(small, tmp_path: Path, change) -> Path:
    """A copy of the data with other events."""
    folder = shutil.copytree(small.data, tmp_path / "data")
    events = pl.read_parquet(folder / "events.parquet")
    change(events).write_parquet(folder / "events.parquet")
    return folder


def notes(small, folder: Path) -> list[str]:
    return compare_data(small.artifact, folder, cutoff_of(small.artifact))


def test_nothing_is_said_of_the_folder_behind_the_artifact(small) -> None:
    assert notes(small, small.data) == []


def test_later_events_are_no_change_of_the_past(small, tmp_path: Path) -> None:
    def grow(events: pl.DataFrame) -> pl.DataFrame:
        later = events.tail(5).with_columns(
            pl.concat_str(pl.lit("later-"), "event_id").alias("event_id"), pl.col("at") + pl.duration(days=1)
        )
        return pl.concat([events, later])

    assert notes(small, changed(small, tmp_path, grow)) == []


def test_a_folder_in_another_format_is_the_same_data(small, tmp_path: Path) -> None:
    folder = shutil.copytree(small.data, tmp_path / "data")
    pl.read_parquet(folder / "events.parquet").write_ndjson(folder / "events.jsonl")
    (folder / "events.parquet").unlink()
    assert notes(small, folder) == []


def test_a_changed_past_is_noted_with_its_share(small, tmp_path: Path) -> None:
    erased = pl.read_parquet(small.data / "events.parquet")["user_id"].unique().sort().head(6)

    def erase(events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(~pl.col("user_id").is_in(erased.implode()))

    (note,) = notes(small, changed(small, tmp_path, erase))
    assert note.startswith("The past has changed since the training: ") and "not in this folder" in note


def test_another_world_with_the_same_ids_is_refused(small, tmp_path: Path) -> None:
    world = generate(WorldParams(n_items=300, n_users=60, n_events=6_000, seed=9))
    tables = {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}
    write_dataset(tmp_path / "other", **tables)
    with pytest.raises(DataError, match=r"it learned from other data; name the folder that it was trained from"):
        evaluate(small.folder, tmp_path / "other", small.policy, EvalParams())


def test_held_out_events_about_unknown_videos_are_noted(small, tmp_path: Path) -> None:
    cutoff = pl.from_epoch(pl.lit(cutoff_of(small.artifact)), "ms").dt.replace_time_zone("UTC")

    def add(events: pl.DataFrame) -> pl.DataFrame:
        held_out = events.filter((pl.col("at") >= cutoff) & pl.col("item_id").is_not_null())
        new = held_out.with_columns(
            pl.concat_str(pl.lit("new-"), "event_id").alias("event_id"), item_id=pl.lit("nobody-knows")
        )
        return pl.concat([events, new])

    (note,) = notes(small, changed(small, tmp_path, add))
    assert note.startswith("50% of the ") and "that the artifact does not know" in note


def test_events_that_came_in_late_are_not_held_against_the_folder(small, tmp_path: Path) -> None:
    def late(events: pl.DataFrame) -> pl.DataFrame:
        more = events.head(50).with_columns(
            pl.concat_str(pl.lit("late-"), "event_id").alias("event_id"),
            pl.col("at") + pl.duration(milliseconds=DAY // 9),
        )
        return pl.concat([events, more])

    assert notes(small, changed(small, tmp_path, late)) == []
