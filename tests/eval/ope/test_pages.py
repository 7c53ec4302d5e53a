"""The pages of a service, exported and judged: a policy against its own log, and against another's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from eval.offline.replay import offline_engine
from eval.ope import OpeParams, OpeReport, evaluate_policy
from eval.ope.artifact_policy import Past, explored_places, possible_pages, seeds_drawing
from recsys.clock import DAY, HOUR, MINUTE, from_text
from recsys.data.tables import read_dataset, write_dataset
from recsys.errors import DataError
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest
from recsys.services.dataset import served_tables, write_tables
from recsys.services.events import accept_events


@dataclass(frozen=True)
class Served:
    """A service, the page of each person, and the dataset that it exported."""

    engine: Engine
    pages: dict[str, list[dict[str, str]]]
    data: Path


def serve(engine: Engine, people: Sequence[str], at: int, folder: Path, *, is_liked: bool = True) -> Served:
    pages = {}
    for user_id in people:
        answer = json.loads(feed(engine, FeedRequest(user_id=user_id, request_id=f"r-{user_id}"), at).answer)
        pages[user_id] = answer["items"]
        likes = [
            {"event_id": f"e{n}", "user_id": user_id, "kind": "like", "item_id": item["item_id"], "at": at + MINUTE,
             "tracking_token": item["tracking_token"]}
            for n, item in enumerate(answer["items"]) if is_liked and n % 2 == 0
        ]  # fmt: skip
        assert accept_events(engine, likes, at + HOUR).accepted == len(likes)
    write_tables(folder, served_tables(engine.stores))
    return Served(engine, pages, folder)


@pytest.fixture(scope="module")
def people(small) -> list[str]:
    return small.artifact.users.filter(pl.col("age_band") == "18+")["user_id"].to_list()[:30]


@pytest.fixture(scope="module")
def served(small, people: list[str], tmp_path_factory: pytest.TempPathFactory) -> Served:
    engine = offline_engine(small.artifact, small.market, at(small), [])
    return serve(engine, people, at(small), tmp_path_factory.mktemp("served") / "data")


def at(small) -> int:
    return from_text(small.artifact.manifest.created_at) + HOUR


def judge(served: Served, small, **params: object) -> OpeReport:
    return evaluate_policy(served.data, str(small.folder), small.policy, OpeParams(n_resamples=100, **params))


def test_a_policy_judged_on_its_own_pages_would_have_done_as_it_did(small, served: Served) -> None:
    report = judge(served, small, reward="like")
    d = report.diagnostics
    assert d.n_rounds == d.n_pages == len(served.pages)  # one explored slot a page
    assert d.matched_share == 1 and d.mean_weight == pytest.approx(1, abs=1e-6)
    values = {value.estimator: value.value for value in report.values}
    assert values["ips"] == pytest.approx(report.logged.value, abs=1e-6) == pytest.approx(values["snips"], abs=1e-6)


def test_the_report_says_that_it_is_about_explored_slots(small, served: Served) -> None:
    report = judge(served, small)
    assert "an explored slot" in report.estimand and "nothing about the other places" in report.estimand
    assert not any(value.unit == "page" for value in report.values)


def test_a_reward_is_what_a_tracking_token_joins_to_the_place(small, served: Served) -> None:
    engine_pages = read_dataset(served.data).events.filter(pl.col("kind") == "impression").collect()
    explored = engine_pages.filter(pl.col("propensity") < 1)
    expected = np.mean([(position - 1) % 2 == 0 for position in explored["position"]])
    assert judge(served, small, reward="like").logged.value == pytest.approx(float(expected))
    assert judge(served, small, reward="share").logged.value == 0


def test_an_event_without_a_token_is_no_reward(small, people: list[str], tmp_path: Path) -> None:
    engine = offline_engine(small.artifact, small.market, at(small), [])
    served = serve(engine, people, at(small), tmp_path / "data", is_liked=False)
    likes = [
        {"event_id": f"e{n}", "user_id": user_id, "kind": "like", "item_id": item["item_id"], "at": at(small) + MINUTE}
        for user_id, page in served.pages.items() for n, item in enumerate(page)
    ]  # fmt: skip
    assert accept_events(engine, likes, at(small) + HOUR).accepted == len(likes)
    write_tables(tmp_path / "again", served_tables(engine.stores))
    assert judge(replace(served, data=tmp_path / "again"), small, reward="like").logged.value == 0


def test_a_policy_knows_what_a_person_did_before_a_page_and_nothing_later(small, served: Served) -> None:
    user_id, until = next(iter(served.pages)), at(small)
    events = read_dataset(served.data).events.select("event_id", "user_id", "kind", "at", "item_id").collect()
    engine = offline_engine(small.artifact, small.market, until, [])
    past = Past(engine, events, until)
    row = {"user_id": user_id, "request_id": "r", "size": 20}
    past.request(row | {"at": until}, is_explored_only=True)
    assert engine.stores.events.since(user_id, 0) == ()  # the page itself is not before it
    for later in (until + 1, until + HOUR, until + 2 * HOUR):
        request = past.request(row | {"at": later}, is_explored_only=True)
    told = [entry.event for entry in engine.stores.events.since(user_id, 0)]
    mine = events.filter(pl.col("user_id") == user_id)
    assert sorted(event.event_id for event in told) == sorted(mine["event_id"])  # each once
    assert all(event.is_history for event in told)  # no ledger counts them
    assert {item["item_id"] for item in served.pages[user_id]} <= set(request.exclude_ids)


def test_every_page_that_exploration_allows_is_looked_at_once(small, people: list[str]) -> None:
    engine = offline_engine(small.artifact, small.market, at(small), [])
    plan = engine.plan(FeedRequest(user_id=people[0], request_id="r"), at(small))
    pages, (place,) = possible_pages(plan), explored_places(plan)
    assert len(np.unique(pages[:, place])) == len(pages) == round(1 / plan.selection.propensities[place])
    assert (pages[:, :place] == pages[0, :place]).all()  # nothing before it is random


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_a_seed_draws_each_number_first(n: int) -> None:
    assert [int(np.random.default_rng(seed).integers(n)) for seed in seeds_drawing(n)] == list(range(n))


def test_a_log_of_another_catalogue_is_refused(small, served: Served, tmp_path: Path) -> None:
    data = read_dataset(served.data)
    renamed = {
        name: data.frame(name).with_columns(("x" + pl.col("item_id")).alias("item_id")) for name in ("items", "events")
    }
    write_dataset(tmp_path / "data", creators=data.creators, users=data.users, **renamed)
    with pytest.raises(DataError, match=r"found 0% of the logged choices.*the log of another catalogue"):
        judge(replace(served, data=tmp_path / "data"), small)


@pytest.mark.parametrize(
    ("propensity", "sentence"),
    [
        (pl.lit(None, pl.Float64), "found no impression with a propensity.*sanad export dataset"),
        (pl.lit(0.0), "found only 0, expected a number above 0"),
        (pl.lit(1.0), "found only choices of propensity 1, expected explored slots"),
        (pl.when(pl.col("position") == 3).then(1.5).otherwise("propensity"), "found 1.5 in row 3 and no probability"),
    ],
)
def test_pages_whose_propensities_say_nothing_get_a_sentence(
    small, served: Served, tmp_path: Path, propensity: pl.Expr, sentence: str
) -> None:
    data = read_dataset(served.data)
    events = data.events.with_columns(propensity.alias("propensity"))
    write_dataset(tmp_path / "data", creators=data.creators, items=data.items, users=data.users, events=events)
    with pytest.raises(DataError, match=sentence):
        judge(replace(served, data=tmp_path / "data"), small)


def test_impressions_without_a_propensity_are_left_out_and_counted(small, served: Served, tmp_path: Path) -> None:
    data = read_dataset(served.data)
    gone = pl.when(pl.col("user_id") == next(iter(served.pages))).then(None).otherwise("propensity")
    events = data.events.with_columns(gone.alias("propensity"))
    write_dataset(tmp_path / "data", creators=data.creators, items=data.items, users=data.users, events=events)
    report = judge(replace(served, data=tmp_path / "data"), small)
    assert report.diagnostics.n_pages == len(served.pages) - 1
    assert any("20 impressions without a propensity are left out" in notice for notice in report.notices)


def test_a_page_that_is_seen_little_by_little_is_planned_as_it_was_asked_for(
    small, served: Served, tmp_path: Path
) -> None:
    data = read_dataset(served.data)
    seen = pl.when(pl.col("kind") == "impression").then(pl.col("at") + pl.col("position") * MINUTE).otherwise("at")
    write_dataset(
        tmp_path / "data", creators=data.creators, items=data.items, users=data.users,
        events=data.events.with_columns(seen.alias("at")),
    )  # fmt: skip
    assert judge(replace(served, data=tmp_path / "data"), small).diagnostics.matched_share > 0.9


def test_pages_from_before_the_artifact_learned_are_noted(small, served: Served, tmp_path: Path) -> None:
    assert not any("better than it is" in notice for notice in judge(served, small).notices)
    data = read_dataset(served.data)
    events = data.events.with_columns(pl.col("at") - 6 * DAY)  # five days were held out
    write_dataset(tmp_path / "data", creators=data.creators, items=data.items, users=data.users, events=events)
    notices = judge(replace(served, data=tmp_path / "data"), small).notices
    assert any(notice.startswith("30 of 30 choices") and "better than it is" in notice for notice in notices)


def test_the_explored_slot_of_a_short_page_is_found_wherever_it_stood(small, served: Served, tmp_path: Path) -> None:
    """A second page of three places had its explored one third, where a first page of three has none."""
    data = read_dataset(served.data)
    events = data.events.collect()
    explored = events.filter(pl.col("propensity") < 1).select("user_id", last="position").unique()
    events = events.join(explored, on="user_id", how="left").with_columns(
        position=pl.col("position") - pl.col("last") + 3
    )
    events = events.filter(pl.col("position").is_between(1, 3)).drop("last")
    write_dataset(tmp_path / "data", creators=data.creators, items=data.items, users=data.users, events=events)
    assert judge(replace(served, data=tmp_path / "data"), small).diagnostics.matched_share == 1


def test_where_places_are_drawn_all_of_them_are_judged(small, served: Served, tmp_path: Path) -> None:
    data = read_dataset(served.data)
    events = data.events.with_columns(propensity=pl.when(pl.col("propensity").is_not_null()).then(0.5))
    write_dataset(tmp_path / "data", creators=data.creators, items=data.items, users=data.users, events=events)
    report = judge(replace(served, data=tmp_path / "data"), small)
    assert "a place of a page" in report.estimand
    assert {"independent", "interaction"} <= {value.estimator for value in report.values}
