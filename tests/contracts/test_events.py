"""
One contract of an event, three readers: the description of the interface, the engine, and the tables of training.

What one of them refuses, all refuse, by the name of the same field; what one accepts, all accept. The readers differ in
two things by design: over HTTP an event may be 7 days old, and `at` may be left out.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recsys.clock import Millis, to_text
from recsys.columns import EVENTS, MAX_POSITION, MAX_WATCH_S
from recsys.errors import DataError
from recsys.services.events import TABLE_ONLY, accept_events
from recsys.types import Fields
from serving.bodies import EventBody
from training.validate import validate

CREATOR = {"creator_id": "c1", "country": "MA"}
BAD: list[tuple[str, Any]] = [
    ("event_id", ""),
    ("event_id", " "),
    ("event_id", "x" * 129),
    ("event_id", "a\u202eb"),
    ("event_id", "a\x07b"),
    ("event_id", "a\u00a0b"),
    ("event_id", "a\ue000b"),
    ("user_id", None),
    ("user_id", "u\u2028"),
    ("kind", "dance"),
    ("kind", None),
    ("kind", "LIKE"),
    ("item_id", "i\u200f"),
    ("value", "v" * 129),
    ("value", "v\n"),
    ("watch_s", -1),
    ("watch_s", -0.001),
    ("watch_s", MAX_WATCH_S + 1),
    ("watch_s", True),
    ("watch_fraction", 1.01),
    ("watch_fraction", -0.5),
    ("watch_fraction", "all"),
    ("request_id", "r" * 129),
    ("request_id", "r\u0000"),
    ("position", 3.7),
    ("position", 0),
    ("position", -1),
    ("position", MAX_POSITION + 1),
    ("position", "first"),
    ("position", True),
    ("at", "yesterday"),
    ("at", "2026-11-20T10:00:00+25:00"),
    ("at", "2026-W47-5"),
    ("at", "1e12"),
    ("position", "3.7"),
    ("position", "1_0"),
    ("position", " 3"),
    ("position", "true"),
    ("watch_s", "nan"),
    ("watch_s", "1e999"),
    ("watch_s", "-1"),
    ("watch_s", "1,5"),
    ("watch_s", "0x10"),
    ("watch_fraction", "inf"),
    ("watch_fraction", "٠"),
    ("at", "2026-13-40T10:00:00Z"),
    ("at", True),
]
GOOD: list[tuple[str, Any]] = [
    ("event_id", "é ـ ⴰ 1"),
    ("event_id", "x" * 128),
    ("value", "5"),
    ("value", ""),
    ("creator_id", ""),
    ("watch_s", ""),
    ("position", ""),
    ("position", 3.0),
    ("position", "3"),
    ("position", "3.0"),
    ("position", "+3"),
    ("watch_s", "31.5"),
    ("watch_s", "3e1"),
    ("watch_s", ".5"),
    ("watch_fraction", "1"),
    ("at", "2026-11-20 10:00:00"),
    ("at", "2026-11-20T10:00Z"),
    ("at", "2026-11-20 10:00:00+00"),
    ("at", "2026-11-20 11:00:00.5+0100"),
    ("at", "2026-11-20 10:00:00 UTC"),
    ("at", "2026-11-20"),
    ("at", 1_795_168_800),
    ("at", 1_795_168_800_000),
    ("at", "1795168800.5"),
    ("value", None),
    ("watch_s", 0),
    ("watch_s", 31.5),
    ("watch_s", MAX_WATCH_S),
    ("watch_fraction", 1),
    ("watch_fraction", None),
    ("position", 1),
    ("position", MAX_POSITION),
    ("position", None),
    ("request_id", "feed of u/1"),
]


def event(evening: Millis, item_id: str, name: str, value: object) -> Fields:
    fields = {"event_id": "e1", "user_id": "u1", "item_id": item_id, "kind": "like", "at": to_text(evening - 1)}
    return {**fields, name: value}


def described(fields: Fields) -> set[str]:
    """The fields that the description of the interface refuses."""
    try:
        EventBody.model_validate(fields)
    except ValidationError as error:
        return {str(problem["loc"][0]) for problem in error.errors()}
    return set()


def accepted(engine: Any, fields: Fields, at: Millis) -> set[str]:
    """The fields that the engine refuses."""
    return {rejected.reason.partition(":")[0] for rejected in accept_events(engine, [fields], at).rejected}


def tabled(folder: Path, fields: Fields, at: Millis) -> set[str]:
    """The columns that validation refuses in a table of this event."""
    item = {"item_id": fields["item_id"], "creator_id": "c1", "published_at": to_text(at - 1), "title": "t"}
    rows = {"creators": CREATOR, "items": item, "users": {"user_id": "u1"}, "events": fields}
    for name, row in rows.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    try:
        report = validate(folder, at=at, max_bad_share=1.0)
    except DataError as error:  # a whole column that has another type is refused as a table
        return {name for name in fields if f"column {name!r}" in str(error)}
    return {problem.column for problem in report.problems if problem.table == "events"}


@pytest.mark.parametrize(("name", "value"), BAD, ids=repr)
def test_what_one_reader_of_events_refuses_all_refuse(
    name: str, value: object, service: Any, tmp_path: Path, evening: Millis
) -> None:
    item_id = service.engine.resources.catalogue_cache.items.item_ids[1]
    fields = event(evening, item_id, name, value)
    refused = {
        "description": described(fields),
        "engine": accepted(service.engine, fields, evening),
        "table": tabled(tmp_path, fields, evening),
    }
    assert {reader: name in names for reader, names in refused.items()} == dict.fromkeys(refused, True)


@pytest.mark.parametrize(("name", "value"), GOOD, ids=repr)
def test_what_one_reader_of_events_accepts_all_accept(
    name: str, value: object, service: Any, tmp_path: Path, evening: Millis
) -> None:
    item_id = service.engine.resources.catalogue_cache.items.item_ids[1]
    fields = event(evening, item_id, name, value)
    assert described(fields) == accepted(service.engine, fields, evening) == tabled(tmp_path, fields, evening) == set()


def test_a_reported_event_has_the_columns_of_a_logged_one_and_a_token() -> None:
    columns = {column.name for column in EVENTS.columns}
    assert set(EventBody.model_fields) == columns - set(TABLE_ONLY) | {"tracking_token"}
