"""
Is this the data that an artifact learned from? Equal bytes are. Otherwise the artifact's own memory decides: the latest
interactions of every person, by person, item and instant, must stand in the folder too.
"""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import Millis, to_text
from recsys.data.fingerprint import fingerprint
from recsys.data.tables import read_dataset, reading
from recsys.errors import DataError
from recsys.models.artifact import Artifact

MIN_PAST_SHARE: Final = 0.5
"""The share of the interactions behind an artifact that its data must still hold. Erasures take some."""

MAX_UNKNOWN_SHARE: Final = 0.01
"""The share of held-out events about unknown items above which a report says so."""


def compare_data(artifact: Artifact, data: Path, cutoff: Millis, until: Millis | None = None) -> list[str]:
    """
    Sentences about how the folder differs from the one behind the artifact; none when it does not.

    Raises:  DataError for a folder that holds less than `MIN_PAST_SHARE` of what the artifact learned from.
    """
    events = read_dataset(data).events.filter(pl.col("item_id").is_not_null())
    notes = _unknown_items(artifact, events, cutoff, until)
    if artifact.manifest.data_fingerprint == fingerprint(data):
        return notes
    past = _remembered(artifact)
    if not past.height:
        return [*notes, f"{data} is not the folder behind the artifact, byte by byte, and nothing tells what differs."]
    before = events.filter(pl.col("at") < cutoff).select("user_id", "item_id", "at").unique()
    with reading("events"):
        n_found = (
            past.lazy().join(before, on=("user_id", "item_id", "at"), how="semi").select(pl.len()).collect().item()
        )
    share = n_found / past.height
    if share < MIN_PAST_SHARE:
        raise DataError(
            f"{data}: found {n_found:,} of the {past.height:,} interactions that the artifact remembers from before "
            f"{to_text(cutoff)} ({share:.1%}), expected nearly all: it learned from other data; name the folder that "
            "it was trained from"
        )
    if share == 1:
        return notes
    return [
        f"The past has changed since the training: {1 - share:.1%} of the interactions that the artifact remembers are "
        "not in this folder.",
        *notes,
    ]


def _remembered(artifact: Artifact) -> pl.DataFrame:
    """user_id, item_id and at of every interaction in the artifact's histories, each once."""
    histories = artifact.histories
    users = np.array(list(histories.rows), dtype=object)
    rows = np.repeat(np.arange(len(users)), np.diff(histories.indptr))
    item_ids = artifact.items["item_id"].to_numpy()
    return pl.DataFrame(
        {"user_id": users[rows], "item_id": item_ids[histories.flat.items], "at": histories.flat.at},
        {"user_id": pl.String, "item_id": pl.String, "at": pl.Int64},
    ).unique()


def _unknown_items(artifact: Artifact, events: pl.LazyFrame, cutoff: Millis, until: Millis | None) -> list[str]:
    held_out = events.filter((pl.col("at") >= cutoff) & (pl.col("at") < until if until is not None else True))
    is_known = pl.col("item_id").is_in(artifact.items["item_id"].implode())
    with reading("events"):
        n_events, n_known = held_out.select(pl.len(), n_known=is_known.sum()).collect(engine="streaming").row(0)
    if n_events == 0 or n_events - n_known <= MAX_UNKNOWN_SHARE * n_events:
        return []
    return [
        f"{1 - n_known / n_events:.0%} of the {n_events:,} held-out events are about videos that the artifact does not "
        "know; they are left out."
    ]
