"""
What a service knows as the four tables of the data contract, so that the next model learns from what was served.

A page counts as an impression of each of its items, with its place and its propensity. Where the platform reports
impressions of a page itself, only those count. Whoever was erased is in no table; what a person did before a reset is
in none either. Read from the stores while the service runs.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import Millis
from recsys.columns import CREATORS, EVENTS, ITEMS, MAX_ID_LENGTH, USERS, Table
from recsys.data.forgotten import training_cutoffs
from recsys.data.tables import Dataset, write_dataset, write_days
from recsys.data.values import DTYPES
from recsys.feed.record import unpack
from recsys.services.events import TABLE_ONLY
from recsys.stores.protocols import Logged, StoredAnswer, Stores
from recsys.types import Fields

_PAGE: Final = ["user_id", "request_id"]
_OF_PAGE: Final = "page-"
"""How the ids of impressions begin that a page is, because nobody reported any."""
_SAID: Final = ["user_id", "kind", "at", "item_id", "creator_id", "query"]
"""By which an event is known under another id."""
_PLACE: Final = ("user_id", "request_id", "position")
_SLOT: Final = {
    "user_id": pl.String, "request_id": pl.String, "position": pl.Int64, "item_id": pl.String, "at": pl.Int64,
    "surface": pl.String, "propensity": pl.Float64, "variant": pl.String,
}  # fmt: skip
_DTYPE_OF_EVENT: Final = {column.name: DTYPES[column.dtype] for column in EVENTS.columns}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedTables:
    """The tables, in the columns of the contract; instants are Int64 milliseconds."""

    creators: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    events: pl.DataFrame


def served_tables(stores: Stores, since: Millis = 0) -> ServedTables:
    """
    The whole catalogue; what was served and reported at `since` or later; and the profiles of those who appear there.
    """
    catalogue = stores.catalogue.since(0)
    item_ids = {row.item_no: str(row.fields["item_id"]) for row in catalogue.rows}
    slots = served_slots(stores.decisions.since(since), item_ids)
    reported = reported_events(stores.events.received_since(since))
    is_listed = pl.col("item_id").is_null() | pl.col("item_id").is_in(list(item_ids.values()))
    events = _without_forgotten(stores, dataset_events(reported.filter(is_listed), slots))
    return ServedTables(
        creators=_frame(CREATORS, (row.fields for row in catalogue.creators)),
        items=_frame(ITEMS, (row.fields for row in catalogue.rows)),
        users=_frame(USERS, (_profile(stores, user_id) for user_id in events["user_id"].unique().sort())),
        events=events,
    )


def with_base(tables: ServedTables, base: Dataset, stores: Stores) -> ServedTables:
    """
    The tables on top of an earlier dataset: a row of a service takes the place of the one with its id, and a profile
    only where the platform sent one to the service. People who were erased since are left out of it, and so is what
    others did before they reset.
    """
    users = base.users.collect()
    asked = {*tables.users[USERS.key], *_cutoffs(stores, users[USERS.key])}
    people = {user_id: stores.users.read(user_id).state for user_id in asked}
    sent = [user_id for user_id, state in people.items() if state.person.is_put]
    erased = [user_id for user_id, state in people.items() if state.safety.is_erased]
    of_base = users.filter(~pl.col(USERS.key).is_in(sent) & ~pl.col(USERS.key).is_in(erased))
    events = pl.concat([not_told_again(base.events.collect(), tables.events), tables.events], how="vertical_relaxed")
    return ServedTables(
        creators=_joined(CREATORS, tables.creators, base.creators),
        items=_joined(ITEMS, tables.items, base.items),
        users=_joined(USERS, of_base, tables.users.lazy()),
        events=_without_forgotten(stores, events).sort("at", "event_id"),
    )


def not_told_again(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """
    Events of a base but those that the new ones tell again, under whichever id, and pages that are reported now. What
    is undone now has the id that the undo names.
    """
    reported = new.filter((pl.col("kind") == "impression") & ~_is_page(pl.col("event_id"))).select(_PAGE).unique()
    pages = old.filter(_is_page(pl.col("event_id"))).join(reported, on=_PAGE, how="anti")
    old = pl.concat([old.filter(~_is_page(pl.col("event_id"))), pages])
    old = old.join(new.select(_SAID).unique(), on=_SAID, how="anti", nulls_equal=True).select(new.columns)
    own = _own_ids(old["user_id"], old["event_id"])
    undone = own.is_in(new.filter(pl.col("kind") == "undo")["value"].to_list())
    return old.with_columns(event_id=pl.when(undone).then(own).otherwise("event_id"))


def _is_page(event_id: pl.Expr) -> pl.Expr:
    return event_id.str.starts_with(_OF_PAGE)


def write_tables(folder: Path, tables: ServedTables) -> None:
    """
    Writes the tables as Parquet, the events a file a day. The folder is written beside its place and then renamed.
    """
    beside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    write_dataset(beside, creators=tables.creators, items=tables.items, users=tables.users)
    if tables.events.is_empty():
        write_dataset(beside, events=tables.events)
    else:
        write_days(beside, tables.events)
    if folder.exists():
        folder.rmdir()  # it is empty: the command has looked
    beside.rename(folder)


def served_slots(records: Iterable[StoredAnswer], item_ids: Mapping[int, str]) -> pl.DataFrame:
    """One row for each place of each page, in the columns `_SLOT`."""
    rows: list[tuple[object, ...]] = []
    for record in records:
        decision = unpack(record.decision)
        item_nos = np.frombuffer(decision.item_nos, "<i4")[decision.chosen].tolist()
        propensities = np.frombuffer(decision.propensities, "<f4").tolist()
        variant = "|".join(f"{key}:{name}" for key, name in sorted(decision.experiments.items()))
        rows += [
            (
                decision.user_id, decision.request_id, place, item_ids.get(item_no), decision.at, decision.surface,
                propensity, variant[:MAX_ID_LENGTH] or None,
            )
            for place, (item_no, propensity) in enumerate(zip(item_nos, propensities, strict=True), start=1)
        ]  # fmt: skip
    return pl.DataFrame(rows, _SLOT, orient="row").filter(pl.col("item_id").is_not_null())


def reported_events(entries: Iterable[Logged]) -> pl.DataFrame:
    """What platforms reported, in the columns of the contract and `is_attributed`: a token of ours named the place."""
    names = [column.name for column in EVENTS.columns if column.name not in TABLE_ONLY]
    schema = pl.Schema({**{name: _DTYPE_OF_EVENT[name] for name in names}, "is_attributed": pl.Boolean()})
    rows = [tuple(getattr(entry.event, name) for name in schema) for entry in entries]
    return pl.DataFrame(rows, schema, orient="row")


def dataset_events(reported: pl.DataFrame, slots: pl.DataFrame) -> pl.DataFrame:
    """
    The events table. A reported event that a token joins to a place gets its surface, propensity and variant. Pages
    without a reported impression are impressions themselves.
    """
    known = slots.select(*_PLACE, *TABLE_ONLY)
    attributed = reported.filter("is_attributed").join(known, on=_PLACE, how="left")
    others = reported.filter(~pl.col("is_attributed"))
    seen = attributed.filter(pl.col("kind") == "impression").select(_PAGE).unique()
    served = slots.join(seen, on=_PAGE, how="anti").with_columns(
        kind=pl.lit("impression"), event_id=pl.format("{} {}", "position", "request_id")
    )
    served = served.with_columns((_OF_PAGE + _own_ids(served["user_id"], served["event_id"])).alias("event_id"))
    told = pl.concat([attributed, others], how="diagonal")
    undone = pl.when(pl.col("kind") == "undo").then(_own_ids(told["user_id"], told["value"])).otherwise("value")
    told = told.with_columns(_own_ids(told["user_id"], told["event_id"]), undone.alias("value"))
    events = pl.concat([told, served], how="diagonal").select(c.name for c in EVENTS.columns)
    return events.sort("at", "event_id")


def _own_ids(user_ids: pl.Series, event_ids: pl.Series) -> pl.Series:
    """Ids are unique for each person in a store, and for all in a table: so a hash of both. Null stays null."""
    own = [
        None if event_id is None
        else hashlib.blake2b(f"{len(user_id)} {user_id} {event_id}".encode(), digest_size=16).hexdigest()
        for user_id, event_id in zip(user_ids, event_ids, strict=True)
    ]  # fmt: skip
    return pl.Series(event_ids.name, own, pl.String)


def _profile(stores: Stores, user_id: str) -> Fields:
    profile = stores.users.read(user_id).state.person.profile
    fields = {name: getattr(profile, name) for name in profile.__struct_fields__ if name != "format"}
    return {"user_id": user_id, **fields}


def _frame(table: Table, rows: Iterable[Fields]) -> pl.DataFrame:
    """Rows in the columns of the contract; a column that no row has is null."""
    schema = {column.name: DTYPES[column.dtype] for column in table.columns}
    values = [tuple(_plain(fields.get(name)) for name in schema) for fields in rows]
    return pl.DataFrame(values, schema, orient="row")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _joined(table: Table, new: pl.DataFrame, old: pl.LazyFrame) -> pl.DataFrame:
    rest = old.collect().join(new.select(table.key), on=table.key, how="anti")
    return pl.concat([rest.select(new.columns).cast(new.schema), new])


def _cutoffs(stores: Stores, people: pl.Series) -> Mapping[str, tuple[Millis, bool]]:
    return training_cutoffs(stores.cutoffs.forgotten(), people.unique())


def _without_forgotten(stores: Stores, events: pl.DataFrame) -> pl.DataFrame:
    """The events but those of people up to the instant at which they were erased or reset."""
    before = {user_id: at for user_id, (at, _) in _cutoffs(stores, events["user_id"]).items()}
    if not before:
        return events
    until = pl.col("user_id").replace_strict(before, default=-1, return_dtype=pl.Int64)
    return events.filter(pl.col("at") > until)
