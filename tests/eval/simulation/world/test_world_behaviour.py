"""How people react: each part of the behaviour does what it says and nothing else."""

from dataclasses import replace

import numpy as np
import polars as pl

from eval.simulation.world.behaviour import behave, locality_effect, watch_logit
from eval.simulation.world.engagement_loop import engagement_only_share
from eval.simulation.world.truth import Truth, World
from recsys.vocabulary import LANGUAGES

MANY = 4_000


def with_people(truth: Truth, **changes: np.ndarray) -> Truth:
    return Truth(replace(truth.people, **changes), truth.items)


def with_items(truth: Truth, **changes: np.ndarray) -> Truth:
    return Truth(truth.people, replace(truth.items, **changes))


def pairs(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, world.users.height, MANY), rng.integers(0, world.items.height, MANY)


def test_without_local_affinity_behaviour_does_not_depend_on_where_a_creator_lives(demo_world: World) -> None:
    persons, items = pairs(demo_world, np.random.default_rng(1))
    indifferent = with_people(demo_world.truth, local_affinity=np.zeros(1_000))
    moved = with_items(
        indifferent,
        is_moroccan=~indifferent.items.is_moroccan,
        region=np.roll(indifferent.items.region, 1),
    )
    here = behave(indifferent, persons, items, np.random.default_rng(2))
    there = behave(moved, persons, items, np.random.default_rng(2))
    assert (here.watch_fraction == there.watch_fraction).all()
    assert (here.helped == there.helped).all()


def test_local_affinity_adds_its_weight_times_the_grade_of_locality(demo_world: World) -> None:
    persons, items = pairs(demo_world, np.random.default_rng(1))
    truth = demo_world.truth
    indifferent = with_people(truth, local_affinity=np.zeros(1_000))
    gain = watch_logit(truth, persons, items) - watch_logit(indifferent, persons, items)
    expected = truth.people.local_affinity[persons] * locality_effect(truth, persons, items)
    np.testing.assert_allclose(gain, expected, atol=1e-12)


def test_locality_is_graded_region_country_language_none(demo_world: World) -> None:
    truth = demo_world.truth
    language = {code: index for index, code in enumerate(LANGUAGES)}
    graded = with_items(
        truth,
        is_moroccan=np.array([True, True, False, False]),
        region=np.array([int(truth.people.home_region[0]), 11, -1, -1]),
        language=np.array([language["fr"], language["fr"], language["ary"], language["fr"]]),
    )
    assert truth.people.home_region[0] == 5  # casa-adult lives in MA-06
    assert locality_effect(graded, np.zeros(4, int), np.arange(4)).tolist() == [1.0, 0.6, 0.3, 0.0]


def test_a_language_not_understood_is_watched_less(demo_world: World) -> None:
    persons, items = pairs(demo_world, np.random.default_rng(1))
    truth = demo_world.truth
    deaf = with_people(truth, understands=np.zeros_like(truth.people.understands))
    lost = watch_logit(truth, persons, items) - watch_logit(deaf, persons, items)
    understood = truth.people.understands[persons, truth.items.language[items]]
    assert (lost[understood] >= 2.2 - 1e-9).all()
    assert np.allclose(lost[~understood], 0)


def test_distress_pulls_towards_risk_and_leaves_calm_videos_alone(demo_world: World) -> None:
    persons, items = pairs(demo_world, np.random.default_rng(1))
    truth = demo_world.truth
    calm, distressed = (with_people(truth, distress=np.full(1_000, d)) for d in (0.0, 1.0))
    gain = watch_logit(distressed, persons, items) - watch_logit(calm, persons, items)
    tier = truth.items.tier[items]
    assert np.allclose(gain[tier == 0], 0)
    assert np.allclose(gain[tier == 1], 1.4)
    assert np.allclose(gain[tier >= 2], 4.0)


def test_reactions_hang_together(demo_world: World) -> None:
    persons, items = pairs(demo_world, np.random.default_rng(1))
    done = behave(demo_world.truth, persons, items, np.random.default_rng(2))
    tier = demo_world.truth.items.tier[items]
    assert ((done.watch_fraction >= 0) & (done.watch_fraction <= 1)).all()
    assert (done.completed == (done.watch_fraction == 1)).all()
    assert not (done.rewatched & ~done.completed).any()
    assert not (done.helped & (tier >= 2)).any()
    assert not (done.too_much & (tier == 0)).any()
    assert not (done.not_interested & (done.watch_fraction >= 0.2)).any()
    for name in ("liked", "shared", "saved", "helped", "followed", "not_interested"):
        assert getattr(done, name).any()


def test_one_person_may_be_given_as_a_number(demo_world: World) -> None:
    items = np.arange(50)
    by_number = behave(demo_world.truth, 7, items, np.random.default_rng(3))
    many = behave(demo_world.truth, np.full(50, 7), items, np.random.default_rng(3))
    assert (by_number.watch_fraction == many.watch_fraction).all()


def test_an_engagement_only_ranker_loops_a_distressed_person_and_chance_does_not(demo_world: World) -> None:
    truth = demo_world.truth
    supply = (truth.items.tier[truth.items.tier <= 2] == 2).mean()
    distressed = np.argsort(-truth.people.distress)[:3].tolist()
    for person in distressed:
        assert engagement_only_share(truth, person, np.random.default_rng(4)) > 4 * supply
        random_share = engagement_only_share(truth, person, np.random.default_rng(4), is_greedy=False)
        assert random_share < 2 * supply
    calm = np.argsort(truth.people.distress)[:3].tolist()
    for person in calm:
        assert engagement_only_share(truth, person, np.random.default_rng(4)) < supply


def test_the_log_shows_that_distress_is_watched(demo_world: World) -> None:
    views = demo_world.events.filter(pl.col("kind") == "view").join(
        demo_world.items.select("item_id", "risk_tier"), on="item_id"
    )
    person = dict(zip(demo_world.users["user_id"], demo_world.truth.people.distress.tolist(), strict=True))
    risky = views.filter(pl.col("risk_tier") == "R2").with_columns(
        pl.col("user_id").replace_strict(person, return_dtype=pl.Float64).alias("distress")
    )
    strong = risky.filter(pl.col("distress") > 0.5)["watch_fraction"].mean()
    weak = risky.filter(pl.col("distress") < 0.3)["watch_fraction"].mean()
    assert strong > weak + 0.3
