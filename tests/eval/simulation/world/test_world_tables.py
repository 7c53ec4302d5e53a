"""What the four tables of a world promise, whatever the seed."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from eval.simulation.world.build import generate
from eval.simulation.world.morocco import LANGUAGE_SCRIPTS, REGION_BY_CODE, REGIONS
from eval.simulation.world.params import DEMO_PEOPLE, WorldParams
from eval.simulation.world.truth import World
from recsys.clock import DAY
from recsys.columns import CREATORS, EVENTS, ITEMS, TABLES, USERS, Column, subject_of
from recsys.errors import ConfigError
from recsys.vocabulary import LANGUAGES

TINY = {"n_items": 300, "n_users": 20, "n_events": 1_000, "days": 7}
DTYPES = {
    "str": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
    "bool": pl.Boolean,
    "time": pl.Int64,
    "list": pl.List(pl.String),
}


def tables_of(world: World) -> dict[str, pl.DataFrame]:
    return {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}


def breaks(column: Column, values: pl.Series) -> list[object]:
    """The values that the contract does not allow."""
    if column.required and values.null_count():
        return [None]
    known = values.drop_nulls()
    flat = known.explode().drop_nulls().unique().to_list() if column.dtype == "list" else known.unique().to_list()
    if column.one_of is not None:
        return [v for v in flat if v not in column.one_of]
    if column.pattern is not None:
        return [v for v in flat if not re.match(column.pattern, v)]
    if column.dtype == "str":
        return [v for v in flat if not v or len(v) > column.max_length]
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    return [v for v in flat if not low <= v <= high]


def test_the_tables_have_the_columns_and_dtypes_of_the_contract(small_world: World) -> None:
    for table in TABLES:
        expected = {column.name: DTYPES[column.dtype] for column in table.columns}
        assert dict(tables_of(small_world)[table.name].schema) == expected


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_value_is_in_its_contract_range(table, small_world: World) -> None:
    frame = tables_of(small_world)[table.name]
    assert {c.name: breaks(c, frame[c.name]) for c in table.columns if breaks(c, frame[c.name])} == {}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_keys_are_unique(table, small_world: World) -> None:
    assert tables_of(small_world)[table.name][table.key].is_unique().all()


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = (generate(WorldParams(**TINY, seed=seed)) for seed in (3, 3, 4))
    for name, frame in tables_of(first).items():
        assert_frame_equal(frame, tables_of(again)[name])
        assert not frame.equals(tables_of(other)[name])


def test_local_affinity_changes_the_log_and_nothing_else() -> None:
    without, strong = (generate(WorldParams(**TINY, local_affinity=a)) for a in (0.0, 1.6))
    for name in ("creators", "items", "users"):
        assert_frame_equal(tables_of(without)[name], tables_of(strong)[name])
    assert not without.events.equals(strong.events)


def test_every_reference_points_at_a_row(small_world: World) -> None:
    world = small_world
    creators, items = set(world.creators["creator_id"]), set(world.items["item_id"])
    users = set(world.users["user_id"])
    assert set(world.items["creator_id"]) <= creators
    assert set(world.users["guardian_id"].drop_nulls()) <= users
    assert set(world.events["user_id"]) <= users
    assert set(world.events["item_id"].drop_nulls()) <= items
    assert set(world.events["creator_id"].drop_nulls()) <= creators


def test_an_event_fills_the_one_column_its_kind_asks_for(small_world: World) -> None:
    for (kind,), rows in small_world.events.group_by("kind"):
        for column in ("item_id", "creator_id", "query"):
            expected = 0 if subject_of(str(kind)) == column else rows.height
            assert rows[column].null_count() == expected


def test_nothing_happens_before_its_video_or_its_person_or_after_the_end(small_world: World) -> None:
    world = small_world
    rows = world.events.join(world.items, on="item_id").join(world.users, on="user_id")
    assert (rows["at"] > rows["published_at"]).all()
    assert (rows["at"] > rows["joined_at"]).all()
    at = world.events["at"]
    assert at.min() >= world.params.starts_at
    assert at.max() < world.params.ends_at
    assert at.is_sorted()
    assert world.items["published_at"].max() < world.params.ends_at


def test_a_creator_has_joined_before_publishing(small_world: World) -> None:
    rows = small_world.items.join(small_world.creators, on="creator_id")
    assert (rows["joined_at"] < rows["published_at"]).all()


def test_languages_scripts_and_regions_are_valid_and_agree(demo_world: World) -> None:
    items, users = demo_world.items, demo_world.users
    assert set(items["language"]) == set(LANGUAGES)
    scripts = dict(items.select("language", "script").unique().iter_rows())
    assert scripts == {
        "ar": "Arab", "ary": "Arab", "ary-Latn": "Latn", "zgh": "Tfng", "zgh-Latn": "Latn", "fr": "Latn", "en": "Latn",
    }  # fmt: skip
    at_home = items.filter(pl.col("country") == "MA")
    assert set(at_home["region"]) <= set(REGION_BY_CODE)
    assert set(users.filter(pl.col("country") == "MA")["region"]) == set(REGION_BY_CODE)
    assert set(users["languages"].explode()) == set(LANGUAGES)
    assert (users["languages"].list.len() > 0).all()


def test_a_title_is_written_in_the_letters_of_its_language(demo_world: World) -> None:
    letters = {"Arab": r"[\u0600-\u06FF]", "Tfng": r"[\u2D30-\u2D7F]", "Latn": r"[A-Za-z]"}
    shown = demo_world.items.filter(~pl.col("title").str.contains("content withheld"))
    for script, pattern in letters.items():
        assert shown.filter(pl.col("script") == script)["title"].str.contains(pattern).all()
    assert not demo_world.items["title"].str.contains(r"[{}]").any()


def test_titles_are_all_different_and_nothing_of_tier_r3_or_r4_is_spelled_out(demo_world: World) -> None:
    assert demo_world.items["title"].is_unique().all()
    worst = demo_world.items.filter(pl.col("risk_tier").is_in(["R3", "R4"]))
    assert worst["title"].str.starts_with("[content withheld: tier R").all()
    assert set(worst["text"]) == {"[placeholder]"}


def test_the_shares_are_those_documented(demo_world: World) -> None:
    items, things = demo_world.items, demo_world.truth.items
    assert items["risk_tier"].null_count() == round(0.05 * 3_000)
    assert (things.group != np.arange(3_000)).sum() == round(0.03 * 3_000)
    shares = np.bincount(things.tier, minlength=5) / 3_000
    assert shares == pytest.approx([0.785, 0.085, 0.11, 0.015, 0.005], abs=0.006)
    unsure = items.filter(pl.col("risk_confidence") < 0.8).height / 3_000
    assert 0.05 < unsure < 0.15
    recent = items.filter(pl.col("published_at") > demo_world.params.ends_at - 2 * DAY).height
    assert recent >= 60
    assert abs(demo_world.events.height - 100_000) <= 2_000


def test_labels_come_whole_or_not_at_all(demo_world: World) -> None:
    items, things = demo_world.items, demo_world.truth.items
    is_unlabelled = items["risk_tier"].is_null()
    assert (items["risk_source"].is_null() == is_unlabelled).all()
    assert items.filter(is_unlabelled)["risk_family"].null_count() == is_unlabelled.sum()
    assert things.tier[is_unlabelled.to_numpy()].max() <= 2
    has_family = items["risk_family"].is_not_null()
    assert (has_family == items["risk_tier"].is_in(["R2", "R3", "R4"]).fill_null(False)).all()


def test_near_duplicates_repeat_an_earlier_title_of_another_creator(demo_world: World) -> None:
    items, group = demo_world.items, demo_world.truth.items.group
    for copy in np.flatnonzero(group != np.arange(len(group))):
        original, upload = items.row(int(group[copy]), named=True), items.row(int(copy), named=True)
        assert original["title"] in upload["title"]
        assert original["creator_id"] != upload["creator_id"]
        assert original["published_at"] < upload["published_at"]
        assert original["language"] == upload["language"]


def test_every_language_has_local_supportive_videos_for_the_floors(demo_world: World) -> None:
    supply = demo_world.items.filter(
        pl.col("country") == "MA", pl.col("risk_tier") == "R0", pl.col("topics").list.len() > 0, ~pl.col("is_hidden")
    )
    counts = dict(supply["language"].value_counts().iter_rows())
    assert min(counts[code] for code in LANGUAGES) >= 20
    calm = demo_world.items.filter(pl.col("risk_tier") == "R0")
    assert 0.45 <= (calm["topics"].list.len() > 0).mean() <= 0.65


def test_the_people_of_the_demo_are_there_with_their_attributes(demo_world: World) -> None:
    for person in DEMO_PEOPLE:
        row = demo_world.users.row(by_predicate=pl.col("user_id") == person.user_id, named=True)
        assert (row["country"], row["region"], row["age_band"]) == ("MA", person.region, person.age_band)
        assert tuple(row["languages"]) == person.languages
        assert (row["age_source"], row["guardian_id"], row["consent"]) == ("verified", person.guardian_id, True)
        assert demo_world.events.filter(pl.col("user_id") == person.user_id).height >= 50


def test_adults_are_verified_and_guardians_are_adults(demo_world: World) -> None:
    users = demo_world.users
    assert set(users.filter(pl.col("age_band") == "18+")["age_source"]) == {"verified"}
    pairs = users.filter(pl.col("guardian_id").is_not_null()).join(users, left_on="guardian_id", right_on="user_id")
    assert pairs.height >= 20
    assert set(pairs["age_band_right"]) == {"18+"}
    assert set(pairs["age_band"]) <= {"under_13", "13-15", "16-17"}


def test_foreign_creators_have_more_followers(demo_world: World) -> None:
    median = dict(demo_world.creators.group_by(pl.col("country") == "MA").agg(pl.col("followers").median()).iter_rows())
    assert median[False] > 3 * median[True]


def test_the_regions_are_those_of_iso_and_the_populations_add_up_to_the_census() -> None:
    assert [region.code for region in REGIONS] == [f"MA-{n:02d}" for n in range(1, 13)]
    assert sum(region.population for region in REGIONS) == 36_828_330


def test_every_language_has_a_script() -> None:
    assert set(LANGUAGE_SCRIPTS) == set(LANGUAGES)


def test_wrong_parameters_are_all_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        WorldParams(n_items=5, n_users=0, local_affinity=-1.0, near_duplicate_share=0.9)
    assert len(caught.value.problems) >= 4
    assert "n_items is 5, expected 300 or more" in caught.value.problems
    with pytest.raises(ConfigError, match="ask for more people or fewer events"):
        dataclasses.replace(WorldParams(), n_events=10_000_000)


def test_a_world_without_events_has_an_empty_log() -> None:
    world = generate(WorldParams(n_items=300, n_users=10, n_events=0, days=2))
    assert world.events.height == 0
    assert world.events.columns == [column.name for column in EVENTS.columns]
    assert (CREATORS.key, ITEMS.key, USERS.key) == (
        world.creators.columns[0], world.items.columns[0], world.users.columns[0],
    )  # fmt: skip


@pytest.mark.slow
def test_the_benchmark_world_has_the_size_it_was_asked_for() -> None:
    from eval.simulation.world.params import BENCHMARK_SIZES

    world = generate(WorldParams(**BENCHMARK_SIZES))
    assert (world.items.height, world.users.height) == (20_000, 5_000)
    assert abs(world.events.height - 1_000_000) <= 20_000
    assert world.items["title"].is_unique().all()
