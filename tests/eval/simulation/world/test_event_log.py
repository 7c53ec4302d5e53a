"""The log: propensities are exact, pages are whole, and the earlier feed knew no caps."""

import numpy as np
import polars as pl
import pytest

from eval.simulation.world.truth import World
from recsys.clock import DAY


def may_see(item: dict, person: dict, midnight: int) -> bool:
    """The documented rule of who may be shown what, read from the tables alone."""
    return (
        item["published_at"] < midnight
        and not item["is_hidden"]
        and item["risk_tier"] not in ("R3", "R4")
        and item["language"] in person["languages"]
        and (item["min_age"] is None or person["age_band"] == "18+")
    )


def recomputed(world: World) -> dict[str, float]:
    """Event id of every impression -> its propensity, by the documented formula, one impression after the other."""
    items = world.items.join(world.creators, on="creator_id", how="left", maintain_order="left").to_dicts()
    people = {row["user_id"]: row for row in world.users.to_dicts()}
    events = world.events.with_columns((pl.col("at") // DAY).alias("day"))
    counts = {item["item_id"]: 0 for item in items}
    seen: dict[str, set[str]] = {user: set() for user in people}
    answers = {}
    for _, day in events.group_by("day", maintain_order=True):
        midnight = day["day"][0] * DAY
        weight = {i["item_id"]: 1 + i["followers"] ** 0.5 / 10 + counts[i["item_id"]] for i in items}
        shown = day.filter(pl.col("kind") == "impression").sort("user_id", "request_id", "position")
        for (user,), rows in shown.group_by("user_id", maintain_order=True):
            allowed = {i["item_id"] for i in items if may_see(i, people[user], midnight)}
            for event_id, item_id in rows.select("event_id", "item_id").iter_rows():
                left = allowed - seen[user]
                share = weight[item_id] / sum(weight[i] for i in left)
                answers[event_id] = 0.8 * share + 0.2 / len(left)
                seen[user].add(item_id)
        for item_id in day.filter(pl.col("kind").is_in(["complete", "like"]))["item_id"]:
            counts[item_id] += 1
    return answers


def test_the_logged_propensity_is_the_chance_of_that_video_at_that_position(small_world: World) -> None:
    shown = small_world.events.filter(pl.col("kind") == "impression")
    expected = recomputed(small_world)
    assert shown["propensity"].to_list() == pytest.approx([expected[e] for e in shown["event_id"]], rel=1e-9)


def test_videos_turn_up_as_often_as_their_propensities_say(demo_world: World) -> None:
    # A draw with propensity p has 1 / p equal, on average, to the number of videos it could have drawn.
    people, items, truth = demo_world.users, demo_world.items, demo_world.truth
    shown = demo_world.events.filter(pl.col("kind") == "impression").sort("user_id", "request_id", "position")
    row = dict(zip(people["user_id"], range(people.height), strict=True))
    is_served = ~items["is_hidden"].to_numpy() & (truth.items.tier <= 2)
    is_for_all = items["min_age"].is_null().to_numpy()
    allowed = is_served & truth.people.understands[:, truth.items.language]
    allowed &= is_for_all | truth.people.is_adult[:, None]
    published = items["published_at"].to_numpy()
    seen = np.zeros(people.height, int)
    choices = []
    for user, at in shown.select("user_id", "at").iter_rows():
        choices.append(np.count_nonzero(allowed[row[user]] & (published < at // DAY * DAY)) - seen[row[user]])
        seen[row[user]] += 1
    assert (1 / shown["propensity"]).mean() == pytest.approx(np.mean(choices), rel=0.01)


def test_a_page_has_the_positions_one_to_ten_and_no_video_twice(small_world: World) -> None:
    shown = small_world.events.filter(pl.col("kind") == "impression")
    for _, page in shown.group_by("request_id"):
        assert sorted(page["position"]) == list(range(1, 11))
        assert page["user_id"].n_unique() == 1
        assert page["at"].sort().to_list() == page.sort("position")["at"].to_list()
    assert not shown.select("user_id", "item_id").is_duplicated().any()


def test_whatever_follows_an_impression_carries_its_request_and_position(small_world: World) -> None:
    rows = small_world.events.filter(pl.col("item_id").is_not_null())
    shown = rows.filter(pl.col("kind") == "impression").select("request_id", "position", "item_id", "at")
    rest = rows.filter(pl.col("kind") != "impression")
    pairs = rest.join(shown, on=["request_id", "position", "item_id"])
    assert pairs.height == rest.height
    assert (pairs["at"] >= pairs["at_right"]).all()


def test_watch_times_are_whole_and_within_the_video(small_world: World) -> None:
    views = small_world.events.filter(pl.col("kind") == "view").join(small_world.items, on="item_id")
    assert views["watch_s"].null_count() == 0
    expected = (views["watch_fraction"] * views["duration_s"]).to_numpy()
    assert views["watch_s"].to_numpy() == pytest.approx(expected, abs=0.001)
    ends = small_world.events.filter(pl.col("kind") == "complete")
    assert (ends["watch_fraction"] == 1.0).all()


def test_the_earlier_feed_shows_fewer_local_videos_than_it_could(demo_world: World) -> None:
    shown = demo_world.events.filter(pl.col("kind") == "impression").join(demo_world.items, on="item_id")
    people, things = demo_world.truth.people, demo_world.truth.items
    could = people.understands[:, things.language] & (things.tier <= 2)
    supply = (could & things.is_moroccan).sum() / could.sum()
    assert (shown["country"] == "MA").mean() < supply - 0.05


def test_some_people_come_at_night(demo_world: World) -> None:
    hour = (demo_world.events["at"] // 3_600_000 + 1) % 24  # Morocco keeps UTC+1
    assert 0.03 < (hour < 6).mean() < 0.4
