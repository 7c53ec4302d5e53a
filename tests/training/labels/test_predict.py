"""Laws of predicted labels: what is learned from, what a probability becomes, and how the report counts."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import Millis, from_text
from recsys.data.tables import write_dataset
from recsys.models.artifact import load_artifact
from training.labels.heads import load_heads
from training.labels.intervals import wilson_interval
from training.labels.predict import count_raised, is_human_label, label_answers, label_columns
from training.labels.report import missed_r2, recall_at_precision, reliability_bins
from training.labels.run import LabelRun, run_labels
from training.params import TrainParams
from training.text.encoder import EncoderParams
from training.train import run

NOW: Millis = from_text("2026-11-20T18:00:00Z")


def said(**chances: float) -> pl.DataFrame:
    """The columns of one item that the heads said this about."""
    names = [name.replace("_", ">=").replace("topic>=", "topic:").replace("family>=", "family=") for name in chances]
    return label_columns(names, np.array([list(chances.values())]), np.array([True]), 0.8)


@pytest.mark.parametrize(
    ("chances", "tier", "confidence"),
    [
        ({"tier_R1": 0.9, "tier_R2": 0.85, "tier_R3": 0.3}, "R2", 0.85),
        ({"tier_R1": 0.2, "tier_R2": 0.1}, "R0", 0.8),
        ({"tier_R1": 0.21, "tier_R2": 0.1}, None, None),  # not surely calm, not surely R1
        ({"tier_R1": 0.1, "tier_R2": 0.1, "tier_R3": 0.9}, "R3", 0.9),  # at least R3 is at least R1
        ({"tier_R1": 0.1, "tier_R2": 0.7}, None, None),
        ({"tier_R2": 0.1}, None, None),  # nobody asked whether it is R1
    ],
)
def test_a_tier_is_predicted_when_the_item_surely_reaches_it(chances, tier, confidence) -> None:
    found = said(**chances).row(0, named=True)
    assert (found["predicted_tier"], found["label_confidence"]) == (tier, confidence)


def test_a_family_is_predicted_for_risky_items_alone_and_topics_above_the_threshold() -> None:
    risky = said(tier_R1=0.9, tier_R2=0.9, family_1=0.9, family_2=0.1, topic_S3=0.9, topic_S4=0.79).row(0, named=True)
    assert (risky["predicted_family"], risky["predicted_topics"]) == ("despair", ["S3"])
    calm = said(tier_R1=0.1, tier_R2=0.1, family_1=0.9, family_2=0.1).row(0, named=True)
    assert calm["predicted_family"] is None
    unsure = said(tier_R1=0.9, tier_R2=0.9, family_1=0.5, family_2=0.5).row(0, named=True)
    assert unsure["predicted_family"] is None


def test_nothing_is_predicted_for_texts_that_are_not_understood() -> None:
    found = label_columns(["tier>=R1", "tier>=R2"], np.array([[0.99, 0.99]]), np.array([False]), 0.8).row(0)
    assert found == (None,) * 5


def test_heads_learn_from_people_and_not_from_models_or_assumptions() -> None:
    items = pl.DataFrame(
        {
            "risk_tier": ["R0", "R0", "R0", "R0", "R0", "R0", None],
            "risk_source": ["platform", "partner", "human", "model", "assumed", None, "human"],
        }
    )
    assert is_human_label(items).tolist() == [True, True, True, False, False, True, False]


def test_labels_of_people_become_answers_to_questions() -> None:
    items = pl.DataFrame(
        {
            "risk_tier": ["R0", "R3", "R2"],
            "risk_family": ["body", None, "aggression"],
            "topics": [["S1", "S3"], None, []],
        }
    )
    found = label_answers(items)
    assert found["tier>=R2"].tolist() == [False, True, True]
    assert found["tier>=R3"].tolist() == [False, True, False]
    assert found["family"].tolist() == [0, 0, 3]  # an R0 item has none, whatever its column says
    assert found["topic:S3"].tolist() == [True, False, False]


def test_an_item_is_raised_against_its_label_or_against_r2_without_one() -> None:
    items = pl.DataFrame({"risk_tier": ["R0", "R2", None, None, "R3"]})
    ours = pl.DataFrame({"predicted_tier": ["R1", "R0", "R2", "R3", None]})
    assert count_raised(items, ours) == 2


def test_recall_is_the_best_that_the_precision_allows() -> None:
    told = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    yes = np.array([True, True, False, True, False])
    assert recall_at_precision(told, yes, 0.9) == {"recall": pytest.approx(2 / 3), "precision": 1.0, "cut": 0.8}
    assert recall_at_precision(told, yes, 0.75) == {"recall": 1.0, "precision": 0.75, "cut": 0.6}
    assert recall_at_precision(told, ~np.ones(5, np.bool_), 0.9)["recall"] is None
    tied = recall_at_precision(np.array([0.9, 0.9]), np.array([True, False]), 0.9)
    assert tied["recall"] == 0.0  # equal answers cannot be told apart


def test_reliability_sets_predicted_beside_observed() -> None:
    found = reliability_bins(np.array([0.05, 0.15, 0.11, 1.0]), np.array([False, True, False, True]))
    assert [(part["n"], part["observed"]) for part in found] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert found[1]["predicted"] == pytest.approx(0.13)


def test_among_thresholds_of_equal_recall_the_highest_is_taken() -> None:
    found = recall_at_precision(np.array([0.9, 0.8, *[0.1] * 2]), np.array([True, True, False, False]), 0.5)
    assert found == {"recall": 1.0, "precision": 1.0, "cut": 0.8}


def test_none_of_ten_is_not_zero() -> None:
    """Wilson: 0 of 10 is at most 3.8416 / 13.8416, 5 of 10 lies around a half."""
    low, high = wilson_interval(np.array([0.0, 0.5]), np.array([10, 10]))
    assert (low[0], high[0]) == (0, pytest.approx(0.2775, abs=1e-4))
    assert low[1] + high[1] == pytest.approx(1)


def test_missed_items_are_a_share_of_what_is_served_as_r0() -> None:
    """b = 0.11, m = 0.1: 0.011 of 0.901."""
    assert [row["really_r2"] for row in missed_r2(0.11)] == pytest.approx(
        [0.0055 / 0.8955, 0.011 / 0.901, 0.022 / 0.912]
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world."""
    folder = tmp_path_factory.mktemp("labels")
    made = generate(WorldParams(n_items=600, n_users=40, n_events=3_000, seed=3))
    write_dataset(folder, creators=made.creators, items=made.items, users=made.users, events=made.events)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, encoded once for this module."""
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def labelled(data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelRun, Path]:
    """The demo's labels, and where the report is."""
    where = tmp_path_factory.mktemp("report")
    done = run_labels(data, NOW, encoder="use", explain=True, report_to=where, cache=cache)
    assert done is not None
    return done, where


def test_every_item_gets_a_row_and_the_phrases_of_the_demo_are_learned(labelled: tuple[LabelRun, Path]) -> None:
    done, _ = labelled
    assert len(done.table) == 600
    sure = done.table.filter(pl.col("predicted_tier").is_not_null() & pl.col("risk_tier").is_not_null())
    risky = pl.col("risk_tier") >= "R2"
    found = sure.filter(risky)["predicted_tier"] >= "R2"
    assert found.mean() > 0.8
    assert done.table.filter(pl.col("predicted_tier").is_not_null())["label_version"].is_not_null().all()


def test_tifinagh_is_not_understood_and_gets_no_label(labelled: tuple[LabelRun, Path], data: Path) -> None:
    done, _ = labelled
    script = pl.read_parquet(data / "items.parquet").select("item_id", "script")
    zgh = done.table.join(script, on="item_id").filter(pl.col("script") == "Tfng")
    assert len(zgh)
    assert zgh["predicted_tier"].is_null().all()


def test_the_explanation_names_ngrams_and_the_most_similar_labelled_items(labelled: tuple[LabelRun, Path]) -> None:
    done, _ = labelled
    row = done.table.filter(pl.col("predicted_tier") == "R2").row(0, named=True)
    assert row["why"]["ngrams"]
    assert len(row["why"]["similar"]) == 3
    assert row["item_id"] not in [near["item_id"] for near in row["why"]["similar"]]


def test_the_report_has_a_line_for_every_language_with_enough_items_and_plots(labelled: tuple[LabelRun, Path]) -> None:
    done, where = labelled
    assert {row["language"] for row in done.report["recall"]} >= {"all", "fr", "en"}
    groups = {(row["by"], row["group"]): row for row in done.report["groups"]}
    assert {by for by, _ in groups} >= {"all", "language", "creator size"}
    assert 0 <= groups["all", "all"]["raised"] < 0.2 and groups["all", "all"]["n_supportive"] > 100
    assert (where / "reliability-R2.svg").read_text("utf-8").startswith("<?xml")
    assert msgspec.json.decode((where / "report.json").read_bytes())["missed_r2"][0]["missed"] == 0.05


def test_an_artifact_carries_the_labels_and_the_heads_that_made_them(data: Path, cache: Path, tmp_path: Path) -> None:
    params = TrainParams(encoder=EncoderParams(model="use"))
    done = run(data, tmp_path / "artifact", params, NOW, cache=cache)
    found = load_artifact(tmp_path / "artifact")
    version = load_heads(tmp_path / "artifact" / "labels.npz").version
    assert set(found.items["label_version"]) == {version}
    assert done.manifest.counts["items_with_predicted_labels"] == found.items["predicted_tier"].is_not_null().sum()


def test_the_flag_leaves_labels_out(data: Path, cache: Path, tmp_path: Path) -> None:
    params = TrainParams(encoder=EncoderParams(model="use"), labels=None)
    run(data, tmp_path / "artifact", params, NOW, cache=cache)
    assert "predicted_tier" not in load_artifact(tmp_path / "artifact").items.columns
