"""
The holdout: events that an artifact did not learn from, as the items that are relevant to each person afterwards.

One instant, the artifact's cutoff, separates learning from evaluation. Nothing is split at random, so that no person is
evaluated on a model that learned from their own later days. A held-out item is relevant when

- the person's reactions to it from the cutoff on add up to at least one watch to the end
  (`feedback.MIN_POSITIVE_CONFIDENCE`). Likes, saves, shares and "this helped" add to the sum, negative feedback
  subtracts from it,
- it is labelled R0 or R1: risk is not a learnable interest, so it is no success to serve it,
- the person met it in no event before the cutoff, and
- it was published when the person came back, and is in the artifact.

A person's page is requested at the instant of their first held-out event. Night rules and freshness are then what they
would have been.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import Millis, from_text, to_text
from recsys.data.tables import read_dataset, reading
from recsys.errors import DataError
from recsys.models.artifact import Artifact
from recsys.types import Floats, Ids
from recsys.user import feedback
from recsys.vocabulary import EVENT_KINDS, ITEM_EVENTS, TIERS

_COLUMNS: Final = ("event_id", "user_id", "kind", "at", "item_id", "value", "watch_fraction", "propensity")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutImpressions:
    """
    What one person was shown after the cutoff for the first time, of R0 and R1: m rows of the artifact's items,
    ascending; how much of each they watched, see `feedback.responses`; and the logged propensity, NaN = none.
    """

    rows: Ids
    response: Floats
    propensity: Floats


NO_IMPRESSIONS: Final = HeldOutImpressions(
    rows=np.empty(0, np.int32), response=np.empty(0, np.float32), propensity=np.empty(0, np.float32)
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutUser:
    """
    One person of the evaluation. `at` is the instant of their first held-out event; the arrays are rows of the
    artifact's items, ascending.

    `relevant`: what they reacted well to after the cutoff. `exposed`: what they were shown or reacted to after the
    cutoff for the first time, `relevant` included. `seen`: what they met before the cutoff. `liked`: the part of
    `seen` that they reacted well to. `impressions`: what they were shown, watched or not.
    """

    user_id: str
    at: Millis
    relevant: Ids
    exposed: Ids
    seen: Ids
    liked: Ids
    impressions: HeldOutImpressions = NO_IMPRESSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """The people with a relevant item, and the size of the holdout: `n_events` events of `n_active` people."""

    cutoff: Millis
    until: Millis | None
    people: tuple[HeldOutUser, ...]
    n_events: int
    n_active: int


def cutoff_of(artifact: Artifact) -> Millis:
    """The instant from which events were held out. Raises DataError when the artifact learned from all events."""
    if artifact.manifest.cutoff is None:
        raise DataError(
            "found an artifact that learned from all events (no cutoff in its manifest), expected one with a holdout; "
            "train with --holdout-days 3 and evaluate that one"
        )
    return from_text(artifact.manifest.cutoff)


def hold_out(artifact: Artifact, data: Path, *, until: Millis | None = None) -> Holdout:
    """
    The people with a relevant item after the artifact's cutoff (and before `until`), by user id.

    Raises: DataError when nothing was held out, when tables cannot be read, or when nobody has a relevant item.
    """
    cutoff = cutoff_of(artifact)
    events = _item_events(artifact, data, cutoff, until)
    held_out, before = events.filter("is_held_out"), events.filter(~pl.col("is_held_out"))
    first = held_out.group_by("user_id").agg(came_at=pl.col("at").min())
    exposed = _exposed(held_out, before, first)
    if not exposed["is_relevant"].any():
        raise DataError(
            f"found no relevant held-out item from {to_text(cutoff)} on, expected at least one; hold out more days, or "
            "name the folder that the artifact was trained from"
        )
    return Holdout(
        cutoff=cutoff,
        until=until,
        people=tuple(_people(exposed, first, before)),
        n_events=held_out.height,
        n_active=first.height,
    )


def sample(holdout: Holdout, n_people: int | None, rng: np.random.Generator) -> tuple[HeldOutUser, ...]:
    """At most `n_people` of them (None = all), drawn without repeats, in the order of the holdout."""
    people = holdout.people
    if n_people is None or n_people >= len(people):
        return people
    return tuple(people[i] for i in np.sort(rng.choice(len(people), n_people, replace=False)))


def _item_events(artifact: Artifact, data: Path, cutoff: Millis, until: Millis | None) -> pl.DataFrame:
    """One row for each event about an item of the artifact that no `undo` took back, with its confidence weight."""
    events = read_dataset(data).events.select(_COLUMNS).filter(pl.col("at") < until if until is not None else True)
    undone = events.filter(pl.col("kind") == "undo").select("user_id", event_id="value")
    items = artifact.items.with_row_index("row").select(
        "row",
        "item_id",
        "published_at",
        is_learnable=pl.col("risk_tier")
        .is_in([tier for tier in TIERS if not feedback.is_r2_plus(tier)])
        .fill_null(False),
    )
    with reading("events"):
        table = (
            events.filter(pl.col("kind").is_in(ITEM_EVENTS))
            .join(undone, on=("user_id", "event_id"), how="anti")
            .join(items.lazy(), on="item_id")
            .select("user_id", "row", "at", "kind", "watch_fraction", "propensity", "published_at", "is_learnable")
            .collect(engine="streaming")
        )
    kinds = table["kind"].cast(pl.Enum(EVENT_KINDS)).to_physical().to_numpy().astype(np.uint8)
    fractions = table["watch_fraction"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return table.select(
        "user_id",
        pl.col("row").cast(pl.Int32),
        "at",
        "published_at",
        "is_learnable",
        "propensity",
        is_impression=pl.col("kind").is_in(["impression", "view"]),
        is_held_out=pl.col("at") >= cutoff,
        weight=pl.Series(feedback.confidences(kinds, fractions).astype(np.float64)),
    )


def _exposed(held_out: pl.DataFrame, before: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """One row for each person and item that was new to them after the cutoff, and whether it is relevant."""
    return (
        held_out.group_by("user_id", "row")
        .agg(
            pl.col("weight").sum(),
            pl.col("published_at").first(),
            pl.col("is_learnable").first(),
            pl.col("is_impression").any(),
            pl.col("propensity").sort_by("at", "propensity").drop_nulls().first(),
            response=feedback.response_column(pl.col("weight")),
        )
        .join(before.select("user_id", "row").unique(), on=("user_id", "row"), how="anti")
        .join(first, on="user_id")
        .filter(pl.col("published_at") <= pl.col("came_at"))
        .with_columns(is_relevant=(pl.col("weight") >= feedback.MIN_POSITIVE_CONFIDENCE) & pl.col("is_learnable"))
    )


def _people(exposed: pl.DataFrame, first: pl.DataFrame, before: pl.DataFrame) -> list[HeldOutUser]:
    came_at = dict(first.iter_rows())
    relevant_rows, exposed_rows, seen_rows = _rows(exposed.filter("is_relevant")), _rows(exposed), _rows(before)
    net = before.group_by("user_id", "row").agg(pl.col("weight").sum())
    liked_rows = _rows(net.filter(pl.col("weight") >= feedback.MIN_POSITIVE_CONFIDENCE))
    nothing, impressions = np.empty(0, np.int32), _impressions(exposed)
    return [
        HeldOutUser(
            user_id=user_id,
            at=came_at[user_id],
            relevant=relevant_rows[user_id],
            exposed=exposed_rows[user_id],
            seen=seen_rows.get(user_id, nothing),
            liked=liked_rows.get(user_id, nothing),
            impressions=impressions.get(user_id, NO_IMPRESSIONS),
        )
        for user_id in sorted(relevant_rows)
    ]


def _impressions(exposed: pl.DataFrame) -> dict[str, HeldOutImpressions]:
    """By user id."""
    shown = exposed.filter("is_impression", "is_learnable").sort("user_id", "row").group_by("user_id")
    table = shown.agg("row", "response", pl.col("propensity").cast(pl.Float32).fill_null(float("nan")))
    return {
        user_id: HeldOutImpressions(
            rows=np.array(rows, np.int32), response=np.array(response, np.float32),
            propensity=np.array(propensity, np.float32),
        )
        for user_id, rows, response, propensity in table.iter_rows()
    }  # fmt: skip


def _rows(pairs: pl.DataFrame) -> dict[str, Ids]:
    """user_id -> item rows, ascending, without repeats."""
    grouped = pairs.group_by("user_id").agg(pl.col("row").unique().sort())
    return {user_id: np.array(rows, np.int32) for user_id, rows in grouped.iter_rows()}
