"""
The log as rows for fitting and evaluating a ranker: impressions with their instant, position and actions.

There is one row for each person and item. Left out are items of R2 and above or without a label (risk is not a
learnable interest), people who refused personalisation, and reactions that were undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import HOUR, Millis
from recsys.data.copies import copies_of, tiers_of_copies
from recsys.data.tables import Dataset, reading
from recsys.languages import lookup_all
from recsys.models.features import FeatureInputs, RankerQuery, feature_names, ranker_features
from recsys.types import Floats, History, Ids, Longs, Mask, Responses, Rows
from recsys.user import feedback
from recsys.vocabulary import EVENT_KINDS, HEADS, ITEM_EVENTS, TIERS

COMPLETION_FRACTION: Final = 0.9
"""The fraction watched from which a view counts as watched to the end, as in the policy."""
NEGATIVE_FEEDBACK: Final = ("not_interested", "too_much", "report")
MAX_HISTORY: Final = 200  # latest reactions, as many as an artifact holds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Impressions:
    """
    n rows ordered by slate. `people` and `rows` are numbers of people and items; `is_known` (n,) says whether the
    person is in the users table; `slate` (n,) numbers the requests; `at` is the first instant of the impression;
    `position` and `propensity` are NaN where they were not logged; `did` (n, len(HEADS)) holds the actions.
    """

    people: Ids
    rows: Ids
    is_known: Mask
    slate: Longs
    at: Longs
    position: Floats
    propensity: Floats
    did: Mask
    response: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, selected: Rows | Mask) -> "Impressions":
        """The given rows."""
        return Impressions(**{name: getattr(self, name)[selected] for name in Impressions.__slots__})


def open_since(published_at: Longs, shown: Impressions) -> Longs:
    """
    (n_items,) since when each item could be shown: since it was published, or since somebody was shown it, where that
    was earlier. Some catalogues tell when their rows were last imported.
    """
    since = np.array(published_at, np.int64)
    np.minimum.at(since, shown.rows, shown.at)
    return since


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastInteractions:
    """Every reaction of every person, oldest first: of person p the slice `indptr[p]:indptr[p + 1]`."""

    indptr: Longs
    flat: History

    def before(self, person: int, at: Millis) -> History:
        """A person's history as of an instant."""
        begin, end = self.indptr[person], self.indptr[person + 1]
        until = begin + int(np.searchsorted(self.flat.at[begin:end], at))
        part = slice(max(begin, until - MAX_HISTORY), until)
        return History(self.flat.items[part], self.flat.weights[part], self.flat.at[part])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastResponses:
    """What every person was shown, oldest first: of person p the slice `indptr[p]:indptr[p + 1]`."""

    indptr: Longs
    at: Longs
    flat: Responses

    def of(self, person: int) -> Responses:
        """Everything that a person was shown."""
        mine = slice(self.indptr[person], self.indptr[person + 1])
        return Responses(self.flat.items[mine], self.flat.values[mine])

    def before(self, person: int, at: Millis) -> Responses:
        """What a person had been shown before an instant."""
        begin, end = self.indptr[person], self.indptr[person + 1]
        until = begin + int(np.searchsorted(self.at[begin:end], at))
        return Responses(self.flat.items[begin:until], self.flat.values[begin:until])


def past_responses(shown: Impressions, n_people: int) -> PastResponses:
    """The impressions by person."""
    order = np.lexsort((shown.rows, shown.at, shown.people))
    counts = np.bincount(shown.people, minlength=n_people)
    return PastResponses(
        indptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        at=shown.at[order],
        flat=Responses(shown.rows[order], shown.response[order]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """The tables of a dataset with numbered people and items."""

    people: pl.DataFrame  # person, user_id, country, region, languages, is_known; those who consent
    items: pl.DataFrame  # row, item_id, is_learnable
    events: pl.LazyFrame  # about items, without undone ones, with person and row


def is_risky(items: pl.DataFrame) -> Mask:
    """
    (n,) items without a label, or of R2 or above by any tier that an artifact has: the given tier, the predicted one
    (`predicted_tier`, may be missing), or that of a copy. Copies are known in a table `with_wordings`.
    """
    predicted_column = "predicted_tier" if "predicted_tier" in items.columns else pl.lit(None, pl.String)
    tiers = items.select("risk_tier", predicted=predicted_column).rows()
    is_r2_plus = np.array(
        [feedback.is_r2_plus(given) or feedback.is_r2_plus(predicted or "R0") for given, predicted in tiers], np.bool_
    )
    if "text_id" not in items.columns:
        return is_r2_plus
    risky_tier = TIERS.index("R2")
    return is_r2_plus | (tiers_of_copies(items, copies_of(items), np.where(is_r2_plus, risky_tier, 0)) >= risky_tier)


def read_log(data: Dataset, items: pl.DataFrame) -> Log:
    """The log of a validated dataset, for the items of an artifact in their order."""
    with reading("users"):
        profiles = data.users.select("user_id", "country", "region", "languages", "consent", is_known=True)
        others = data.events.select("user_id").unique().join(profiles, on="user_id", how="anti").sort("user_id")
        people = pl.concat([profiles.collect(engine="streaming"), others.collect(engine="streaming")], how="diagonal")
    people = people.filter(pl.col("consent").fill_null(True)).drop("consent").with_row_index("person")
    people = people.with_columns(pl.col("is_known").fill_null(False))
    rows = items.select("item_id").with_columns(is_learnable=~pl.Series(is_risky(items))).with_row_index("row")
    undone = data.events.filter(pl.col("kind") == "undo").select("user_id", event_id="value")
    events = (
        data.events.filter(pl.col("kind").is_in(ITEM_EVENTS))
        .join(undone, on=["user_id", "event_id"], how="anti")
        .join(people.lazy().select("person", "user_id"), on="user_id")
        .join(rows.lazy(), on="item_id")
    )
    return Log(people=people, items=rows, events=events)


def read_impressions(log: Log, since: Millis, until: Millis | None) -> Impressions:
    """The impressions from `since` on and before `until` (None = the end), with the actions by then."""
    is_shown, did = pl.col("kind").is_in(["impression", "view"]), action_columns()
    period = log.events.filter("is_learnable", pl.col("at") >= since, True if until is None else pl.col("at") < until)
    slate = pl.coalesce("request_id", pl.concat_str(pl.col("at") // HOUR, "user_id"))
    untold = 2 * pl.col("propensity").is_null().cast(pl.Int64) + pl.col("position").is_null()
    order = pl.when(is_shown).then(4 * pl.col("at") + untold)  # of events of one instant, what says most comes first
    first = pl.col("at", "position", "propensity", "slate").sort_by("order", nulls_last=True).first()
    with reading("events"):
        table = (
            period.with_columns(slate=slate, order=order, confidence=confidence_column())
            .group_by("person", "row")
            .agg(
                first,
                is_shown.any().alias("is_shown"),
                *(test.any().alias(name) for name, test in did.items()),
                response=feedback.response_column(pl.col("confidence")),
            )
            .filter("is_shown")
            .with_columns(slate=pl.struct("person", "slate").rank("dense").cast(pl.Int64))
            .sort("at", "person", "row")
            .collect(engine="streaming")
            .sort(pl.col("at").min().over("slate"), "slate", "at", "row")
        )
    people = table["person"].cast(pl.Int32).to_numpy()
    return Impressions(
        people=people,
        is_known=log.people["is_known"].to_numpy()[people],
        rows=table["row"].cast(pl.Int32).to_numpy(),
        slate=table["slate"].to_numpy(),
        at=table["at"].to_numpy(),
        position=_floats(table["position"]),
        propensity=_floats(table["propensity"]),
        did=table.select(HEADS).to_numpy().astype(np.bool_).reshape(-1, len(HEADS)),
        response=_floats(table["response"]),
    )


def action_columns() -> dict[str, pl.Expr]:
    """Whether an event is an action, by the name of the action in `HEADS`."""
    kind = pl.col("kind")
    watched = (pl.col("watch_fraction") >= COMPLETION_FRACTION).fill_null(False)
    return {
        "complete": kind.is_in(["complete", "rewatch"]) | watched,
        "like": kind == "like",
        "helped": kind == "helped",
        "share": kind == "share",
        "not_interested": kind.is_in(NEGATIVE_FEEDBACK),
    }


def confidence_column() -> pl.Expr:
    """The confidence of each event, as `feedback.confidence`."""
    fraction, kind = pl.col("watch_fraction"), pl.col("kind")
    watched = pl.when(fraction >= feedback.SHORT_WATCH).then(fraction).otherwise(0.0)
    of_view = pl.when(fraction.is_null()).then(feedback.UNKNOWN_WATCH).otherwise(watched)
    of_kind = kind.cast(pl.String).replace_strict(feedback.FIXED, default=0.0, return_dtype=pl.Float64)
    return pl.when(kind == "view").then(of_view).otherwise(of_kind)


def rows_met(log: Log, people: Ids, before: Millis) -> dict[int, Ids]:
    """The rows of the items that each of these people met before an instant, in any event."""
    pairs = log.events.filter(pl.col("person").is_in(people.tolist()), pl.col("at") < before).select("person", "row")
    with reading("events"):
        table = pairs.unique().group_by("person").agg("row").collect(engine="streaming")
    rows_of = {person: np.array(rows, np.int32) for person, rows in table.iter_rows()}
    return {person: rows_of.get(person, np.empty(0, np.int32)) for person in people.tolist()}


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def past_interactions(log: Log, until: Millis | None = None) -> PastInteractions:
    """Everybody's reactions before `until`, as the spaces fold them in."""
    events = log.events if until is None else log.events.filter(pl.col("at") < until)
    codes = pl.col("kind").cast(pl.Enum(EVENT_KINDS)).to_physical().cast(pl.UInt8)
    with reading("events"):
        table = events.select("person", "row", "at", "is_learnable", "watch_fraction", kind=codes).collect(
            engine="streaming"
        )
    weights = feedback.confidences(table["kind"].to_numpy(), _floats(table["watch_fraction"]))
    weights = feedback.learnables(weights, ~table["is_learnable"].to_numpy())
    table = table.with_columns(weight=weights).filter(pl.col("weight") != 0).sort("person", "at", "row", "kind")
    counts = np.bincount(table["person"].to_numpy(), minlength=len(log.people))
    flat = History(
        table["row"].cast(pl.Int32).to_numpy(), table["weight"].to_numpy(), table["at"].cast(pl.Int64).to_numpy()
    )
    return PastInteractions(indptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64), flat=flat)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeoplePlaces:
    """
    Country, region and languages of people, by number; the market's country where it is unknown. Languages are those
    of a request, see `recsys.languages`, but for what a market says of the tags of its country.
    """

    country: list[str]
    region: list[str | None]
    languages: list[list[str] | None]


def people_places(log: Log, market: str) -> PeoplePlaces:
    """The places of the log's people."""
    return PeoplePlaces(
        country=log.people["country"].fill_null(market).to_list(),
        region=log.people["region"].to_list(),
        languages=[tags and list(lookup_all(tags)) for tags in log.people["languages"].to_list()],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a log knows of people: their reactions, what they were shown, and where they are."""

    interactions: PastInteractions
    responses: PastResponses
    places: PeoplePlaces


def ranker_query(person: int, at: Millis, past: Past, inputs: FeatureInputs) -> RankerQuery:
    """The features of a person who makes a request at an instant."""
    history, places = past.interactions.before(person, at), past.places
    spaces = inputs.spaces if len(history) else {}
    vectors = {name: ranked.space.fold_in(history) for name, ranked in spaces.items()}
    return RankerQuery(
        country=places.country[person],
        region=places.region[person],
        languages=tuple(places.languages[person] or ()),
        at=at,
        history=history,
        responses=past.responses.before(person, at),
        vectors=vectors,
    )


def iterate_slates(shown: Impressions) -> Iterator[slice]:
    """The rows of each slate, in order."""
    ends = np.flatnonzero(np.diff(shown.slate, append=-1)) + 1
    begins = np.concatenate(([0], ends))[:-1]
    yield from (slice(int(begin), int(end)) for begin, end in zip(begins, ends, strict=True) if end > begin)


def feature_matrix(shown: Impressions, past: Past, inputs: FeatureInputs) -> Floats:
    """(n, f) features of the impressions, each as of the beginning of its slate and at its position."""
    table = np.empty((len(shown), len(feature_names(inputs.spaces))), np.float32)
    for slate in iterate_slates(shown):
        person, at = int(shown.people[slate.start]), int(shown.at[slate].min())
        query = ranker_query(person, at, past, inputs)
        table[slate] = ranker_features(query, inputs, shown.rows[slate], shown.position[slate])
    return table
