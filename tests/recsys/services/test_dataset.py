"""What a service knows becomes the events of a dataset: each thing once, under one id, and nobody's who was erased."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from recsys.clock import HOUR, MINUTE
from recsys.columns import EVENTS
from recsys.data.tables import read_dataset
from recsys.services.dataset import (
    dataset_events,
    not_told_again,
    reported_events,
    served_slots,
    served_tables,
    with_base,
    write_tables,
)
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile
from recsys.services.rights import erase, put_controls, reset
from recsys.stores.protocols import Logged
from recsys.types import Event

AT = 1_780_000_000_000


@pytest.fixture
def slots() -> pl.DataFrame:
    """A page of two places for u, and one of one place for w, under the same request id."""
    empty = served_slots([], {})
    rows = [("u", "r", 1, "v1", AT, "for_you", 1.0, None), ("u", "r", 2, "v2", AT, "for_you", 0.1, None),
            ("w", "r", 1, "v1", AT, "search", 1.0, "boost:on")]  # fmt: skip
    return pl.DataFrame(rows, empty.schema, orient="row")


def told(*events: Event) -> pl.DataFrame:
    return reported_events(Logged(n, AT, event) for n, event in enumerate(events, start=1))


def event(event_id: str, user_id: str = "u", kind: str = "like", **fields: object) -> Event:
    subject = {} if kind == "undo" else {"item_id": "v2"}
    return Event(event_id=event_id, user_id=user_id, kind=kind, at=AT + MINUTE, **subject, **fields)


def rows(events: pl.DataFrame, *names: str) -> list[tuple[object, ...]]:
    assert events.columns == [column.name for column in EVENTS.columns]
    return events.select(names).rows()


def test_a_page_is_an_impression_of_each_of_its_items(slots: pl.DataFrame) -> None:
    events = dataset_events(told(), slots).sort("user_id", "position")
    assert rows(events, "user_id", "kind", "item_id", "position", "propensity", "surface", "variant") == [
        ("u", "impression", "v1", 1, 1.0, "for_you", None),
        ("u", "impression", "v2", 2, 0.1, "for_you", None),
        ("w", "impression", "v1", 1, 1.0, "search", "boost:on"),
    ]
    assert events["event_id"].is_unique().all()


def test_where_impressions_are_reported_only_those_count(slots: pl.DataFrame) -> None:
    seen = event("i", kind="impression", request_id="r", position=2, is_attributed=True)
    events = dataset_events(told(seen), slots)
    assert rows(events.filter(pl.col("user_id") == "u"), "kind", "item_id", "propensity") == [("impression", "v2", 0.1)]
    assert len(events.filter(pl.col("user_id") == "w")) == 1


def test_a_place_that_no_token_named_says_nothing_of_propensities(slots: pl.DataFrame) -> None:
    events = dataset_events(told(event("e", request_id="r", position=2)), slots).filter(kind="like")
    assert rows(events, "position", "propensity", "surface") == [(2, None, None)]


def test_ids_of_two_people_and_of_pages_are_three_and_an_undo_follows(slots: pl.DataFrame) -> None:
    """The platform's own ids look like ours, and two people use the same."""
    events = dataset_events(
        told(event("1 r"), event("1 r", "w"), event("r/1"), event("x", kind="undo", value="1 r"), event("page-1")),
        slots,
    )
    assert len(events) == 8
    assert events["event_id"].is_unique().all()
    undo = events.row(by_predicate=pl.col("kind") == "undo", named=True)
    undone = events.row(by_predicate=pl.col("event_id") == undo["value"], named=True)
    assert (undone["user_id"], undone["kind"]) == ("u", "like")


def test_of_nights_one_after_the_other_nothing_counts_twice(slots: pl.DataFrame, tmp_path: Path) -> None:
    """The first night knows a page and a like; the second the same like, and what the app reports of the page late."""
    first = dataset_events(told(event("e")), slots)
    seen = event("i", kind="impression", request_id="r", position=2, is_attributed=True)
    second = dataset_events(told(event("e"), event("e", "w"), seen), slots)
    by_platform = first.filter(kind="like").with_columns(event_id=pl.lit("e"), request_id=pl.lit(None, pl.String))
    for base in (first, pl.concat([first.filter(kind="impression"), by_platform])):
        events = pl.concat([not_told_again(base, second), second])
        assert sorted(rows(events, "user_id", "kind", "item_id")) == [
            ("u", "impression", "v2"), ("u", "like", "v2"), ("w", "impression", "v1"), ("w", "like", "v2"),
        ]  # fmt: skip


def test_an_undo_names_what_only_the_base_holds_and_other_values_stay_as_they_are(slots: pl.DataFrame) -> None:
    by_platform = dataset_events(told(event("e"), event("other")), slots).filter(kind="like")
    by_platform = by_platform.with_columns(event_id=pl.Series(["e", "other"]), request_id=pl.lit(None, pl.String))
    second = dataset_events(told(event("u1", kind="undo", value="e"), event("r", kind="save", value="4")), slots)
    events = pl.concat([not_told_again(by_platform, second), second])
    undone = events.filter(kind="undo")["value"].item()
    assert (events["event_id"] == undone).sum() == 1 and "e" not in events["event_id"]
    assert events.filter(kind="save")["value"].item() == "4"


def test_who_was_erased_is_in_no_table_and_a_reset_leaves_what_came_later(service, evening, tmp_path) -> None:
    item_id = service.ask("amina", at=evening).items[0].item_id

    def like(user_id: str, event_id: str, at: int) -> None:
        fields = {"event_id": event_id, "user_id": user_id, "kind": "like", "item_id": item_id, "at": at}
        assert accept_events(service.engine, [fields], at).accepted == 1

    for user_id in ("amina", "karim", "zineb"):
        like(user_id, "before", evening)
    stores = service.engine.stores
    write_tables(tmp_path / "base", served_tables(stores))
    base = read_dataset(tmp_path / "base")
    assert set(base.users.collect()["user_id"]) == {"amina", "karim", "zineb"}
    erase(service.engine, "amina", evening + HOUR)
    put_controls(service.engine, "amina", {}, evening + HOUR)  # she is back, and her profile is not
    reset(service.engine, "karim", evening + HOUR)
    like("karim", "after", evening + 2 * HOUR)
    for tables in (
        served_tables(service.engine.stores),
        with_base(served_tables(service.engine.stores), base, service.engine.stores),
    ):
        assert set(tables.users["user_id"]) == {"karim", "zineb"}
        told_by = {(row["user_id"], row["at"]) for row in tables.events.iter_rows(named=True)}
        assert told_by == {("karim", evening + 2 * HOUR), ("zineb", evening)}


def test_a_profile_of_the_base_stays_until_the_platform_sends_another(service, evening, tmp_path) -> None:
    """Both are known to the base alone and are served; only one of them gets a new profile."""
    stores = service.engine.stores
    users = pl.DataFrame({"user_id": ["amina", "karim"], "country": ["MA", "MA"], "age_band": ["18+", "18+"]})
    write_tables(tmp_path / "base", replace(served_tables(stores), users=users))
    for user_id in ("amina", "karim"):
        service.ask(user_id, at=evening)
    put_profile(service.engine, "karim", {"country": "FR"}, evening)
    joined = with_base(served_tables(stores), read_dataset(tmp_path / "base"), stores).users.sort("user_id")
    assert joined.select("user_id", "country", "age_band").rows() == [("amina", "MA", "18+"), ("karim", "FR", None)]


def test_what_is_said_of_an_item_outside_the_catalogue_is_in_no_table(service, evening) -> None:
    """Such as "too much" about a candidate of the caller: it counts for the person, and a table would be refused."""
    known = service.engine.resources.catalogue_cache.items.item_ids[1]
    said = [Event(event_id=name, user_id="u", kind="too_much", at=evening, item_id=name) for name in ("x1", known)]
    service.engine.stores.events.append(said, evening)
    assert served_tables(service.engine.stores).events["item_id"].to_list() == [known]
