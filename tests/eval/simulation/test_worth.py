"""What a page is worth by the truth of the world, with values worked by hand."""

import ast
from math import exp
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from eval.offline.intervals import resample
from eval.simulation.world.behaviour import watch_logit
from eval.simulation.world.morocco import REGIONS
from eval.simulation.world.truth import TRUE_TOPICS, ItemTruth, PeopleTruth, Truth
from eval.simulation.worth import (
    Offer,
    best_page,
    distressed_watch,
    gain,
    gain_estimate,
    is_counted,
    offer_to,
    overlap,
    overlap_across,
    padded,
    page_worth,
    strangers,
    strangers_worth,
)
from recsys.columns import TABLES
from recsys.metrics import EMPTY
from recsys.vocabulary import LANGUAGES

ROOT = Path(__file__).parents[3]
NOTHING_IS_NEAR = np.zeros(5, np.bool_)


def tiny_truth(distress: float = 1.0) -> Truth:
    """One person who understands French alone and likes the first topic; five French videos of quality 1 to 5."""
    people = PeopleTruth(
        topic_taste=np.eye(1, len(TRUE_TOPICS)),
        style=np.zeros((1, 6)),
        understands=np.array([[code == "fr" for code in LANGUAGES]]),
        first_language=np.array([LANGUAGES.index("fr")]),
        local_affinity=np.zeros(1),
        distress=np.array([distress]),
        home_region=np.zeros(1, np.int64),
        is_adult=np.ones(1, np.bool_),
        activity=np.ones(1),
        night=np.zeros(1),
    )
    items = ItemTruth(
        topic=np.array([0, 1, 1, 1, 1]),
        second_topic=np.full(5, -1),
        tier=np.array([0, 0, 1, 2, 0]),
        family=np.full(5, -1),
        quality=np.array([-2.0, -1.0, 0.0, 0.0, 0.0]),
        style=np.zeros((5, 6)),
        language=np.full(5, LANGUAGES.index("fr")),
        is_moroccan=NOTHING_IS_NEAR,
        region=np.full(5, len(REGIONS) - 1),
        duration_s=np.full(5, 30.0),
        group=np.arange(5),
    )
    return Truth(people=people, items=items)


def watched(logit: float) -> float:
    """The rule of docs/world.md: a logistic curve of steepness 1.6, and a raw fraction of 0.8 is the whole video."""
    return min(1 / (1 + exp(-1.6 * logit)) / 0.8, 1.0)


COUNTED = np.array([True, True, True, False, True])
EVERYTHING = np.ones(5, np.bool_)
WATCHED = [
    watched(-0.35 + 0.35 - 1.0 + 0.55),  # base, first language, half of quality -2, the liked topic
    watched(-0.35 + 0.35 - 0.5),
    watched(0.0),  # R1: distress would add 1.0, and counts for nothing
    watched(0.0),
]


def test_a_video_is_worth_what_is_watched_without_noise_and_without_distress() -> None:
    offer = offer_to(tiny_truth(), 0, COUNTED, EVERYTHING)
    np.testing.assert_allclose(offer.worth[[0, 1, 2, 4]], WATCHED)
    calm = offer_to(tiny_truth(distress=0.0), 0, COUNTED, EVERYTHING)
    np.testing.assert_array_equal(offer.worth, calm.worth)


def test_r2_and_unlabelled_videos_and_empty_places_count_as_the_random_mean() -> None:
    offer = offer_to(tiny_truth(), 0, COUNTED, EVERYTHING)
    mean = sum(WATCHED) / 4
    assert offer.worth[3] == pytest.approx(mean)
    assert page_worth(offer, np.array([3]), size=1) == pytest.approx(mean)
    assert page_worth(offer, np.array([0, 3]), size=4) == pytest.approx((WATCHED[0] + 3 * mean) / 4)
    assert page_worth(offer, np.array([0, EMPTY, EMPTY]), size=3) == pytest.approx((WATCHED[0] + 2 * mean) / 3)


def test_the_random_mean_and_the_best_page_are_of_what_could_be_shown() -> None:
    offer = offer_to(tiny_truth(), 0, COUNTED, np.array([True, True, False, True, True]))
    assert offer.random_mean == pytest.approx((WATCHED[0] + WATCHED[1] + WATCHED[3]) / 3)
    assert best_page(offer, offer.logit, size=2).tolist() == [4, 0]
    assert best_page(offer, offer.logit, size=9).tolist() == [4, 0, 1]


def test_who_can_be_shown_nothing_has_no_worth() -> None:
    offer = offer_to(tiny_truth(), 0, COUNTED, ~EVERYTHING)
    assert np.isnan(page_worth(offer, np.empty(0, np.int32)))
    assert np.isnan(gain(np.array([np.nan]), np.array([np.nan]), np.array([np.nan])))


def test_watch_time_with_the_pulls_on_counts_r2() -> None:
    truth = tiny_truth()
    assert watch_logit(truth, np.zeros(1, np.int64), np.array([3]))[0] == pytest.approx(2.6)
    page = padded(np.array([2, 3]), size=4)
    assert distressed_watch(truth, 0, page) == pytest.approx(watched(1.0) + watched(2.6))


def test_only_labelled_r0_and_r1_count() -> None:
    items = pl.DataFrame({"risk_tier": ["R0", "R1", "R2", None, "R4"]})
    assert is_counted(items).tolist() == [True, True, False, False, False]


def test_gain_is_the_share_of_what_is_attainable() -> None:
    worth, random, best = np.array([0.7, 0.9, np.nan]), np.array([0.5, 0.6, 0.1]), np.array([1.0, 1.0, 1.0])
    assert gain(worth, random, best) == pytest.approx((0.8 - 0.55) / (1.0 - 0.55))
    found = gain_estimate(worth, random, best, resample(3, np.random.default_rng(0)))
    assert found.n == 2
    assert found.low is not None and found.high is not None
    assert found.low == pytest.approx(0.2 / 0.5) and found.high == pytest.approx(0.3 / 0.4)


def test_strangers_are_others_of_the_same_kind_and_the_draw_is_fixed() -> None:
    kinds = ["fr", "ary", "fr", "fr", "zgh"]
    drawn = strangers(kinds, np.random.default_rng(3), n=2)
    assert [len(others) for others in drawn] == [2, 0, 2, 2, 0]
    assert all(kinds[other] == kinds[n] and other != n for n, others in enumerate(drawn) for other in others)
    again = strangers(kinds, np.random.default_rng(3), n=2)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


def test_a_strangers_page_is_worth_what_is_open_to_this_person_on_it() -> None:
    is_open = np.array([True, True, False])
    offer = Offer(worth=np.array([1.0, 0.2, 0.4]), logit=np.zeros(3), is_open=is_open, random_mean=0.5)
    pages = np.array([[0, 0], [2, EMPTY], [1, 2], [0, 1]], np.int32)
    assert strangers_worth(offer, pages, np.array([2, 3])) == pytest.approx((0.2 + 0.6) / 2)
    assert strangers_worth(offer, pages, np.array([1, 3])) == pytest.approx(0.6)
    assert np.isnan(strangers_worth(offer, pages, np.array([1])))
    assert np.isnan(strangers_worth(offer, pages, np.empty(0, np.int64)))


def test_overlap_is_the_mean_over_all_pairs() -> None:
    pages = np.array([[0, 1], [0, 2], [1, 0]], np.int32)  # in common: 1, 2 and 1
    assert overlap(pages, 3) == pytest.approx(4 / 3)
    assert np.isnan(overlap(pages[:1], 3))


def test_overlap_across_places_looks_at_people_of_one_kind_in_different_places() -> None:
    pages = np.array([[0, 1], [0, 2], [1, 0], [0, 1]], np.int32)
    kinds, places = ["fr", "fr", "fr", "ary"], ["MA-01", "MA-02", "MA-02", "MA-01"]
    assert overlap_across(pages, kinds, places) == pytest.approx((1 + 2) / 2)
    assert np.isnan(overlap_across(pages, kinds, ["MA-01"] * 4))


def test_nothing_that_learns_or_serves_reads_the_truth() -> None:
    """Neither by an import, nor by a name in a text from which a module could be loaded, nor from a table."""
    hidden = ("eval", "simulation", "PeopleTruth", "ItemTruth")
    for package in ("recsys", "training", "serving"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or "", *(alias.name for alias in node.names)]
                elif isinstance(node, ast.Name):
                    names = [node.id] if node.id in ("PeopleTruth", "ItemTruth") else []
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names = [node.value] if node.value.startswith("eval.") else []
                read = [name for name in names if name.split(".")[0] in hidden or "simulation" in name.split(".")]
                assert read == [], f"{path}:{getattr(node, 'lineno', 0)} reads {read}"


def test_no_table_has_a_column_for_the_truth() -> None:
    columns = {column.name for table in TABLES for column in table.columns}
    secrets = {
        "distress",
        "local_affinity",
        "topic_taste",
        "quality",
        "style",
        "activity",
        "home_region",
        "second_topic",
    }
    assert columns.isdisjoint(secrets)
