"""
What is judged: the events that an artifact did not learn from, as what each person wanted afterwards.

One instant separates them, the artifact's cutoff; nothing is split at random, so no one is judged by what was
learned from their own later days. A held-out item counts as wanted (relevant) when

- the person's reactions to it from the cutoff on add up to at least `feedback.WANTED`: a watch to the end, a like, a
  save, a share, "this helped", less what they refused; half a watch alone is no proof,
- it is labelled R0 or R1 (what may be learned from may be judged by: risk is not a learnable interest),
- the person had met it in no event before the cutoff, and
- it was published when the person came, and is in the artifact.

A person is asked for at the instant of their first held-out event, so that night rules and freshness are what they
would have been.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.clock import Millis, from_text, to_text
from recsys.data.tables import read_dataset, reading
from recsys.errors import DataError
from recsys.models.artifact import Artifact
from recsys.types import Ids
from recsys.user import feedback
from recsys.vocabulary import EVENT_KINDS, ITEM_EVENTS, TIERS

_COLUMNS: Final = ("event_id", "user_id", "kind", "at", "item_id", "value", "watch_fraction")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """
    One person to judge by. `at` is when they came back; the rest are rows of the artifact's items.

    `wanted` is relevant, `shown` was reacted to or shown in the holdout and is new to them (`wanted` included),
    `known` was met before the cutoff, `liked` is the part of it they reacted well to.
    """

    user_id: str
    at: Millis
    wanted: Ids
    shown: Ids
    known: Ids
    liked: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Whom to ask for, and what was counted on the way: `n_events` held out, by `n_active` people."""

    cutoff: Millis
    until: Millis | None
    people: tuple[Person, ...]
    n_events: int
    n_active: int


def cutoff_of(artifact: Artifact) -> Millis:
    """The instant from which events were held out. Raises DataError when the artifact learned from everything."""
    if artifact.manifest.cutoff is None:
        raise DataError(
            "found an artifact that learned from all events (no cutoff in its manifest), expected one with a holdout; "
            "train with --holdout-days 3 and evaluate that one"
        )
    return from_text(artifact.manifest.cutoff)


def hold_out(artifact: Artifact, data: Path, *, until: Millis | None = None) -> Holdout:
    """
    The people who wanted something after the artifact's cutoff (and before `until`), by user id.

    Raises: DataError when nothing was held out, when tables cannot be read, or when nobody is left to judge by.
    """
    cutoff = cutoff_of(artifact)
    pairs = _pairs(artifact, data, cutoff, until)
    held = pairs.filter("is_held")
    first = held.group_by("user_id").agg(came_at=pl.col("at").min())
    known = pairs.filter(~pl.col("is_held")).select("user_id", "row").unique()
    new = (
        held.group_by("user_id", "row")
        .agg(pl.col("weight").sum(), pl.col("published_at").first(), pl.col("is_learnable").first())
        .join(known, on=("user_id", "row"), how="anti")
        .join(first, on="user_id")
        .filter(pl.col("published_at") <= pl.col("came_at"))
        .with_columns(is_wanted=(pl.col("weight") >= feedback.WANTED) & pl.col("is_learnable"))
    )
    if not new["is_wanted"].any():
        raise DataError(
            f"found no held-out item that anybody wanted from {to_text(cutoff)} on, expected at least one; hold out "
            "more days, or name the folder that the artifact was trained from"
        )
    return Holdout(
        cutoff=cutoff,
        until=until,
        people=tuple(_people(new, first, pairs.filter(~pl.col("is_held")))),
        n_events=held.height,
        n_active=first.height,
    )


def sample(holdout: Holdout, n_people: int | None, rng: np.random.Generator) -> tuple[Person, ...]:
    """At most `n_people` of them (None = all), drawn without repeats, in the order of the holdout."""
    people = holdout.people
    if n_people is None or n_people >= len(people):
        return people
    return tuple(people[i] for i in np.sort(rng.choice(len(people), n_people, replace=False)))


def _pairs(artifact: Artifact, data: Path, cutoff: Millis, until: Millis | None) -> pl.DataFrame:
    """Every event about an item of the artifact that was not taken back: who, which row, when, how much."""
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
        found = (
            events.filter(pl.col("kind").is_in(ITEM_EVENTS))
            .join(undone, on=("user_id", "event_id"), how="anti")
            .join(items.lazy(), on="item_id")
            .select("user_id", "row", "at", "kind", "watch_fraction", "published_at", "is_learnable")
            .collect(engine="streaming")
        )
    kinds = found["kind"].cast(pl.Enum(EVENT_KINDS)).to_physical().to_numpy().astype(np.uint8)
    fractions = found["watch_fraction"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return found.select(
        "user_id", pl.col("row").cast(pl.Int32), "at", "published_at", "is_learnable", is_held=pl.col("at") >= cutoff
    ).with_columns(weight=pl.Series(feedback.confidences(kinds, fractions).astype(np.float64)))


def _people(new: pl.DataFrame, first: pl.DataFrame, before: pl.DataFrame) -> list[Person]:
    came = dict(first.iter_rows())
    wanted, shown = _rows_of(new.filter("is_wanted")), _rows_of(new)
    known = _rows_of(before)
    net = before.group_by("user_id", "row").agg(pl.col("weight").sum())
    liked = _rows_of(net.filter(pl.col("weight") >= feedback.WANTED))
    nothing = np.empty(0, np.int32)
    return [
        Person(
            user_id=user_id,
            at=came[user_id],
            wanted=wanted[user_id],
            shown=shown[user_id],
            known=known.get(user_id, nothing),
            liked=liked.get(user_id, nothing),
        )
        for user_id in sorted(wanted)
    ]


def _rows_of(pairs: pl.DataFrame) -> dict[str, NDArray[np.int32]]:
    """user_id -> item rows, ascending, each once."""
    grouped = pairs.group_by("user_id").agg(pl.col("row").unique().sort())
    return {user_id: np.array(rows, np.int32) for user_id, rows in grouped.iter_rows()}
