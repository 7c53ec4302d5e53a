"""
The pages of our own service as logged choices, and what another artifact would have shown in their place.

A dataset that `sanad export dataset` wrote holds each place of each page with its propensity, and the events that a
tracking token joins to it. Pages are certain but for explored slots, so those slots are what such a log can judge:
each was drawn uniformly from the best reviewed candidates that the caps admitted there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from eval.ope.rounds import Rounds, propensity_problem
from recsys.data.impressions import action_columns, confidence_column
from recsys.data.tables import read_dataset, reading
from recsys.errors import DataError
from recsys.metrics import tells_exposure
from recsys.user import feedback
from recsys.vocabulary import HEADS

REWARDS: Final = ("watch", *HEADS)
_PLACE: Final = ["user_id", "request_id", "position"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedLog:
    """`rounds` and, row by row, `frame` (user_id, request_id, position, item_id, at, surface, size); with notices."""

    rounds: Rounds
    frame: pl.DataFrame
    is_explored_only: bool
    notices: tuple[str, ...]


def read_served(folder: Path, reward: str, max_pages: int, seed: int) -> ServedLog:
    """
    The choices of a dataset: all of its places where most were drawn at random, else the explored ones.

    Raises:  DataError for a dataset without propensities, with wrong ones, and without any explored place.
    """
    frame, notices = _places(folder, reward)
    if problem := propensity_problem(frame["propensity"].cast(pl.Float64).to_numpy()):
        raise DataError(f"{folder}: table events, impressions with a request_id and a position: {problem}")
    is_stochastic = tells_exposure(frame["propensity"].to_numpy())
    if not is_stochastic:
        frame = frame.filter(pl.col("propensity") < 1).unique(
            ["user_id", "request_id"], keep="first", maintain_order=True
        )
    if not len(frame):
        raise DataError(
            f"{folder}: found only choices of propensity 1, expected explored slots: the log says nothing about what "
            "was not shown; set exploration.slots in the market's policy"
        )
    pages = frame.select("user_id", "request_id").unique(maintain_order=True)
    if len(pages) > max_pages:
        drawn = np.sort(np.random.default_rng([seed, 6]).choice(len(pages), max_pages, replace=False))
        frame = frame.join(pages[drawn], on=["user_id", "request_id"], how="semi")
        notices.append(f"{max_pages:,} of {len(pages):,} pages were drawn by the seed; --pages takes more.")
    return ServedLog(rounds=_rounds(frame), frame=frame, is_explored_only=not is_stochastic, notices=tuple(notices))


def _places(folder: Path, reward: str) -> tuple[pl.DataFrame, list[str]]:
    """Every place of every page that was shown, with its reward, in order of page and place."""
    events = read_dataset(folder).events
    undone = events.filter(pl.col("kind") == "undo").select("user_id", event_id="value")
    is_shown = pl.col("kind").is_in(["impression", "view"])
    of_page = pl.all_horizontal(pl.col("request_id", "position", "item_id").is_not_null())
    value = (
        feedback.response_column(pl.col("confidence"))
        if reward == "watch"
        else action_columns()[reward].any().cast(pl.Float64)
    )
    with reading("events"):
        shown = events.filter(is_shown)
        n_unknown = shown.filter(pl.col("propensity").is_null()).select(pl.len()).collect().item()
        frame = (
            events.filter(of_page, pl.col("propensity").is_not_null())
            .join(undone, on=["user_id", "event_id"], how="anti")
            .with_columns(confidence=confidence_column())
            .group_by(*_PLACE)
            .agg(
                pl.col("item_id", "propensity", "surface").first(),
                pl.col("at").min(),
                is_shown.any().alias("is_shown"),
                value.cast(pl.Float64).alias("reward"),
            )
            .filter("is_shown")
            .with_columns(
                pl.col("at").min().over("user_id", "request_id"),  # a platform reports what is seen later as later
                size=pl.col("position").max().over("user_id", "request_id"),
            )
            .collect(engine="streaming")
            .sort("user_id", "request_id", "position")
        )
    n_all = len(frame)
    frame = frame.filter(pl.col("surface").fill_null("for_you") == "for_you")
    notices = [] if len(frame) == n_all else [
        f"{n_all - len(frame):,} choices of other surfaces than for_you are left out: what was asked is not in the log."
    ]  # fmt: skip
    notices += [] if not n_unknown else [
        f"{n_unknown:,} impressions without a propensity are left out: no tracking token joins them to a page."
    ]  # fmt: skip
    if not len(frame):
        raise DataError(
            f"{folder}: found no impression with a propensity, expected pages of a service: write them by "
            "'sanad export dataset', and report events with their tracking_token"
        )
    return frame, notices


def _rounds(frame: pl.DataFrame) -> Rounds:
    items, actions = np.unique(frame["item_id"].to_numpy().astype(object), return_inverse=True)
    logged = frame["propensity"].cast(pl.Float64).to_numpy()
    pages = frame.select(pl.struct("user_id", "request_id").rank("dense")).to_series()
    return Rounds(
        people=frame["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        slates=pages.cast(pl.Int64).to_numpy() - 1,
        positions=frame["position"].cast(pl.Int64).to_numpy(),
        actions=actions.astype(np.int64),
        rewards=frame["reward"].to_numpy(),
        logged=logged,
        placed=logged,
        action_ids=[str(item) for item in items],
    )
