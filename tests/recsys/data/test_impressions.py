"""The log as rows, worked by hand: one row for each person and video, and what never becomes one."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.data.impressions import (
    iterate_slates,
    open_since,
    past_interactions,
    people_places,
    read_impressions,
    read_log,
    rows_met,
)
from recsys.data.tables import read_dataset, write_dataset
from recsys.vocabulary import HEADS

T = 1_790_000_000_000
ITEMS = {"calm": "R0", "heavy": "R1", "risky": "R2", "unlabelled": None}


def event(n: int, kind: str, item: str | None, user: str = "u", at: int = 0, **more: object) -> dict[str, object]:
    return {"event_id": f"e{n}", "user_id": user, "kind": kind, "at": T + at, "item_id": item, **more}


EVENTS = [
    event(0, "impression", "calm", at=10, request_id="r1", position=3, propensity=0.25),
    event(1, "view", "calm", at=20, request_id="r1", position=3, watch_fraction=0.95),
    event(2, "like", "calm", at=15),
    event(3, "impression", "heavy", at=30, request_id="r1", position=4),
    event(4, "share", "heavy", at=35),
    event(5, "undo", None, at=36, value="e4"),
    event(6, "report", "heavy", at=40),
    event(7, "impression", "risky", at=50, request_id="r1"),
    event(8, "like", "risky", at=51),
    event(9, "too_much", "risky", at=52),
    event(10, "impression", "unlabelled", at=60),
    event(11, "helped", "unlabelled", at=61),
    event(12, "impression", "calm", user="refuses", at=70),
    event(13, "impression", "calm", user="stranger", at=80),
    event(14, "like", "heavy", user="stranger", at=90),  # never shown: no row
]


@pytest.fixture
def log(tmp_path):
    return written(tmp_path, EVENTS)


def written(folder, events):
    """The log of a dataset with these events."""
    items = pl.DataFrame(
        {
            "item_id": list(ITEMS),
            "creator_id": ["c"] * 4,
            "published_at": [T] * 4,
            "title": list(ITEMS),
            "risk_tier": list(ITEMS.values()),
        }
    )
    write_dataset(
        folder,
        creators=pl.DataFrame({"creator_id": ["c"], "country": ["MA"]}),
        items=items,
        users=pl.DataFrame({"user_id": ["u", "refuses"], "country": ["MA", None], "consent": [None, False]}),
        events=pl.DataFrame(events, infer_schema_length=None),
    )
    data = read_dataset(folder)
    return read_log(data, data.items.collect())


def test_an_impression_is_a_person_an_item_and_all_they_did_with_it(log):
    rows = read_impressions(log, T, None)
    people = log.people["user_id"].to_list()
    assert people == ["u", "stranger"]  # who refused personalisation is nobody here
    assert [(people[p], list(ITEMS)[r]) for p, r in zip(rows.people, rows.rows, strict=True)] == [
        ("u", "calm"), ("u", "heavy"), ("stranger", "calm")
    ]  # fmt: skip
    assert (rows.at - T).tolist() == [10, 30, 80]
    assert rows.position[:2].tolist() == [3, 4] and rows.propensity[0] == 0.25 and np.isnan(rows.propensity[1])
    assert [[name for name, did in zip(HEADS, row, strict=True) if did] for row in rows.did] == [
        ["complete", "like"], ["not_interested"], []
    ]  # fmt: skip
    assert [(s.start, s.stop) for s in iterate_slates(rows)] == [(0, 2), (2, 3)]


def test_the_languages_of_people_are_those_that_their_tags_stand_for(log):
    """As a request reads them; otherwise nothing learned of `fr-FR` would reach somebody who reads `fr`."""
    tags = [["FR_fr", "fr", "ber"], None]
    tagged = replace(log, people=log.people.with_columns(languages=pl.Series(tags)))
    assert people_places(tagged, "MA").languages == [["fr", "zgh"], None]


def test_an_impression_has_the_propensity_and_position_of_its_first_showing(tmp_path):
    """Whatever else was logged before it or at its instant, and however the file is ordered."""
    events = [
        event(0, "impression", "calm", at=90, request_id="r9", position=9, propensity=0.9),
        event(1, "like", "calm", at=5),
        event(2, "view", "calm", at=10, watch_fraction=0.5),
        event(3, "impression", "calm", at=10, request_id="r1", position=3, propensity=0.25),
    ]
    rows = read_impressions(written(tmp_path, events), T, None)
    assert (rows.at - T).tolist() == [10]
    assert (rows.position.tolist(), rows.propensity.tolist()) == ([3.0], [0.25])


def test_what_somebody_was_shown_could_be_shown_whenever_its_row_was_imported(tmp_path):
    shown = [event(0, "impression", "calm", at=10), event(1, "impression", "calm", at=30, user="b")]
    log = written(tmp_path, shown)
    rows, n_items = read_impressions(log, T, None), len(log.items)
    later, earlier = np.full(n_items, T + 20), np.full(n_items, T - 20)
    calm = int(rows.rows[0])
    assert open_since(later, rows).tolist() == [T + 10 if row == calm else T + 20 for row in range(n_items)]
    assert open_since(earlier, rows).tolist() == earlier.tolist() and (later == T + 20).all()


def test_a_period_knows_nothing_of_what_came_later(log):
    rows = read_impressions(log, T, T + 15)
    assert len(rows) == 1 and not rows.did.any()
    nothing = read_impressions(log, T + 1_000, None)
    assert len(nothing) == 0 and list(iterate_slates(nothing)) == []


def test_the_past_holds_of_risky_items_refusals_only_and_nothing_of_the_present(log):
    everything = past_interactions(log)
    assert everything.before(0, T + 15).items.tolist() == []
    history = everything.before(0, T + 1_000)
    assert [(list(ITEMS)[n], w) for n, w in zip(history.items, history.weights.tolist(), strict=True)] == [
        ("calm", 1.5), ("calm", pytest.approx(0.95)), ("heavy", -2.0), ("risky", -2.0)
    ]  # fmt: skip


def test_who_met_what_before_an_instant_counts_every_event(log):
    rows = rows_met(log, np.array([0, 1], np.int32), T + 85)
    assert sorted(list(ITEMS)[n] for n in rows[0]) == ["calm", "heavy", "risky", "unlabelled"]
    assert [list(ITEMS)[n] for n in rows[1]] == ["calm"]  # the like comes later
    assert {person: rows.tolist() for person, rows in rows_met(log, np.array([1], np.int32), T).items()} == {1: []}
