"""Laws of validation: nothing unusable passes, nothing is dropped unseen."""

import json
import math

import polars as pl
import pytest

from recsys.clock import DAY, MINUTE, from_text
from recsys.errors import DataError
from training import validate as module
from training.validate import clean, validate

AT = from_text("2026-02-01T00:00:00Z")
FORGIVING = 1.0  # small tables: one bad row of two is half of them


def kinds(report):
    return {(c.table, c.column, c.kind): c.n_rows for c in report.counted}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_good_data_has_no_problem_in_any_format(write, form):
    report = validate(write(form), at=AT)
    assert report.ok
    assert report.counted == () and report.problems == ()
    assert {name: (c.n_read, c.n_rejected) for name, c in report.tables.items()} == {
        "creators": (2, 0),
        "items": (3, 0),
        "users": (2, 0),
        "events": (5, 0),
    }


BAD_EVENTS = {
    "nan": ({"watch_s": math.nan}, "watch_s", "not_finite"),
    "infinite": ({"watch_s": math.inf}, "watch_s", "not_finite"),
    "negative watch time": ({"watch_s": -1.0}, "watch_s", "range"),
    "fraction above one": ({"watch_fraction": 1.5}, "watch_fraction", "range"),
    "unknown kind": ({"kind": "stare"}, "kind", "vocabulary"),
    "no kind": ({"kind": None}, "kind", "missing"),
    "empty user": ({"user_id": " "}, "user_id", "missing"),
    "future": ({"at": "2026-02-01T00:05:00.001Z"}, "at", "future"),
    "seconds for milliseconds": ({"at": "1970-01-21T00:00:00Z"}, "at", "too_early"),
    "no instant": ({"at": "yesterday"}, "at", "dtype"),
    "unknown item": ({"item_id": "v99"}, "item_id", "unknown_id"),
    "no subject": ({"item_id": None}, "item_id", "subject"),
    "two subjects": ({"creator_id": "c1"}, "creator_id", "subject"),
    "long id": ({"request_id": "r" * 129}, "request_id", "too_long"),
    "id that turns the reading direction": ({"request_id": "r\u202e1"}, "request_id", "unsafe_id"),
    "id with a control character": ({"request_id": "r\x07"}, "request_id", "unsafe_id"),
}


FORMATS = ("parquet", "csv", "jsonl")
NOT_IN_JSON = ("nan", "infinite")  # JSON has no such numbers


@pytest.mark.parametrize(
    ("name", "form"), [(n, f) for n in BAD_EVENTS for f in FORMATS if f != "jsonl" or n not in NOT_IN_JSON]
)
def test_a_bad_event_is_counted_located_and_set_aside(write, rows, tmp_path, name, form):
    change, column, kind = BAD_EVENTS[name]
    events = rows("events")
    events[1] = {**events[1], **change}
    report = validate(write(form, events=events), at=AT, rejected=tmp_path / "bad", max_bad_share=FORGIVING)
    assert kinds(report)["events", column, kind] == 1
    assert report.tables["events"].n_rejected == 1
    problem = next(p for p in report.problems if (p.column, p.kind) == (column, kind))
    assert (problem.table, problem.row) == ("events", 2)
    aside = pl.read_parquet(tmp_path / "bad" / "events.parquet")
    assert aside["row"].to_list() == [2]
    assert f"{column}: {kind}" in aside["reason"][0]


def test_an_instant_within_the_clocks_skew_is_no_future(write, rows):
    events = rows("events")
    events[0]["at"] = "2026-02-01T00:05:00Z"
    assert validate(write(events=events), at=AT).ok
    assert module.validate(write(events=events), at=AT - MINUTE).tables["events"].n_rejected == 1


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("2036-01-02T03:04:05+01:00", "2036-01-02T02:04:05.000Z"),
        (7_000_000_000_000_000_000, "7000000000000000000"),
    ],
)
def test_an_instant_out_of_bounds_is_shown_as_a_date_as_far_as_calendars_go(write, rows, stated, shown):
    events = rows("events")
    events[0]["at"] = stated
    problems = validate(write("jsonl", events=events), at=AT, max_bad_share=FORGIVING).problems
    assert [problem.value for problem in problems if problem.column == "at"] == [repr(shown)]


def test_the_first_of_a_repeated_key_is_kept(write, rows):
    events = [*rows("events"), {**rows("events")[0], "kind": "like"}, {**rows("events")[0], "kind": "save"}]
    folder = write(events=events)
    dataset, report = clean(folder, at=AT, max_bad_share=FORGIVING)
    assert kinds(report) == {("events", "event_id", "duplicate"): 2}
    assert [p.row for p in report.problems] == [6, 7]
    kept = dataset.events.collect()
    assert kept["event_id"].to_list() == ["e1", "e2", "e3", "e4", "e5"]
    assert kept["kind"][0] == "impression"


def test_rows_that_refer_to_a_refused_row_are_refused_too(write, rows):
    creators = rows("creators")
    creators[0]["country"] = "Morocco"
    dataset, report = clean(write(creators=creators), at=AT, max_bad_share=FORGIVING, assume_tier="R0")
    assert kinds(report) == {
        ("creators", "country", "pattern"): 1,
        ("items", "creator_id", "unknown_id"): 2,
        ("events", "item_id", "unknown_id"): 4,
        ("events", "creator_id", "unknown_id"): 1,
    }
    assert dataset.items.collect()["item_id"].to_list() == ["v3"]


def test_an_unknown_person_is_a_notice_and_stays(write, rows):
    report = validate(write(users=rows("users")[:1]), at=AT)
    assert report.ok and report.tables["events"].n_rejected == 0
    assert any(notice.startswith("2 events are of people who are not in the table users") for notice in report.notices)


def test_reading_marks_in_a_title_are_a_notice_and_stay(write, rows):
    items = rows("items")
    items[0]["title"] = "\u200fسند"
    report = validate(write(items=items), at=AT)
    assert report.ok
    assert any("1 titles hold marks that turn the reading direction" in notice for notice in report.notices)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_text_of_ten_megabytes_is_refused_and_shown_short(write, rows, form):
    items = rows("items")
    items[2]["title"] = "x" * 10_000_000
    report = validate(write(form, items=items), at=AT, max_bad_share=FORGIVING)
    assert kinds(report)["items", "title", "too_long"] == 1
    assert all(len(problem.sentence()) < 300 for problem in report.problems)


def test_characters_that_could_trick_a_terminal_are_escaped(write, rows):
    users = [{**rows("users")[0], "region": "MA\x1b[2J\u202e"}]
    report = validate(write(users=users), at=AT, max_bad_share=FORGIVING)
    assert report.problems[0].value == r"'MA\x1b[2J\u202e'"


def test_every_element_of_a_list_is_checked(write, rows):
    items = [
        {**item, "topics": topics} for item, topics in zip(rows("items"), (["S1"], ["S1", "S99"], []), strict=True)
    ]
    report = validate(write("jsonl", items=items), at=AT, max_bad_share=FORGIVING)
    assert kinds(report)["items", "topics", "vocabulary"] == 1
    assert report.tables["items"].n_rejected == 1


def test_a_list_of_numbers_in_json_is_unreadable_and_not_an_empty_list(write, rows):
    items = rows("items")
    items[0]["topics"] = [1, 2]
    folder = write("jsonl", items=items)
    report = validate(folder, at=AT, max_bad_share=FORGIVING)
    assert kinds(report)["items", "topics", "dtype"] == 1


def test_counts_are_exact_and_examples_bounded(write, rows):
    event = rows("events")[1]
    events = [{**event, "event_id": f"e{n}", "watch_s": -1.0} for n in range(100)]
    report = validate(write(events=events), at=AT)
    assert kinds(report) == {("events", "watch_s", "range"): 100}
    assert len(report.problems) == module.EXAMPLES
    assert not report.ok
    assert "table events: 100 of 100 rows are unusable (100.0%), expected at most 1.0%" in report.failures[0]


def test_a_run_fails_above_the_stated_share_and_not_at_it(write, rows):
    event = rows("events")[1]
    events = [{**event, "event_id": f"e{n}", "watch_s": -1.0 if n == 0 else 1.0} for n in range(100)]
    folder = write(events=events)
    assert validate(folder, at=AT, max_bad_share=0.01).ok
    assert not validate(folder, at=AT, max_bad_share=0.0099).ok
    with pytest.raises(DataError, match=r"found '-1\.0', expected at least 0"):
        clean(folder, at=AT, max_bad_share=0.001)


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("table", ["creators", "items"])
def test_without_creators_or_items_there_is_nothing_to_rank(write, table, form):
    folder = write(form)
    path = folder / f"{table}.{form}"
    frame = pl.read_parquet(path) if form == "parquet" else pl.read_csv(path)
    getattr(frame.clear(), f"write_{form}")(path)
    report = validate(folder, at=AT, max_bad_share=FORGIVING)
    assert (
        f"table {table} has no usable row, expected at least one: without it there is nothing to rank"
        in report.failures
    )


@pytest.mark.parametrize("table", ["users", "events"])
def test_without_people_or_events_there_is_a_notice(write, table):
    folder = write("jsonl")
    (folder / f"{table}.jsonl").write_text("")
    report = validate(folder, at=AT)
    assert report.ok
    assert f"table {table} has no rows" in report.notices


def test_unlabelled_items_are_said_and_stay_unlabelled(write):
    dataset, report = clean(write(), at=AT)
    assert report.n_unlabelled == 1
    assert any(notice.startswith("1 of 3 items have no risk_tier") for notice in report.notices)
    assert dataset.items.collect()["risk_tier"].to_list() == ["R0", "R2", None]


def test_without_any_label_training_is_refused_unless_a_tier_is_assumed(write, rows):
    folder = write(items=[{**item, "risk_tier": None} for item in rows("items")])
    assert validate(folder, at=AT).ok
    with pytest.raises(DataError, match="found no risk_tier on any of the 3 items"):
        clean(folder, at=AT)
    items = clean(folder, at=AT, assume_tier="R0")[0].items.collect()
    assert items["risk_tier"].to_list() == ["R0"] * 3
    assert items["risk_source"].to_list() == ["assumed"] * 3


@pytest.mark.parametrize("tier", ["R0", "R9"])
def test_a_tier_is_never_assumed_beside_labels_nor_outside_the_vocabulary(write, tier):
    with pytest.raises(DataError, match="--assume-tier"):
        clean(write(), at=AT, assume_tier=tier)


def test_progress_ends_at_its_total(write):
    seen = []
    validate(write(), at=AT, on_progress=lambda *step: seen.append(step))
    assert seen[-1] == ("validate", 4, 4)


def test_a_row_with_too_many_fields_is_a_sentence(write):
    folder = write("csv")
    path = folder / "users.csv"
    path.write_text(path.read_text() + "u3,MA,surplus\n")
    with pytest.raises(DataError, match=r"table users: line 4 of users\.csv: found 3 fields, expected 2"):
        validate(folder, at=AT)


def test_refused_rows_hold_the_values_as_they_stood(write, rows, tmp_path):
    users = [{"user_id": "u1", "joined_at": "2025-01-01T00:00:00Z"}, {"user_id": "u2", "joined_at": "last year"}]
    validate(write("csv", users=users), at=AT + DAY, rejected=tmp_path / "bad", max_bad_share=FORGIVING)
    aside = pl.read_parquet(tmp_path / "bad" / "users.parquet").row(0, named=True)
    assert (aside["row"], aside["user_id"], aside["joined_at"]) == (2, "u2", "last year")
    assert json.dumps(aside)  # plain values that any tool reads
