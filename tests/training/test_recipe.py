"""A training run within a budget: the manifest tells what was tried, and the artifact holds what was chosen."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

import sanad
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import from_text
from recsys.data.tables import read_dataset, write_dataset
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from recsys.models.interactions import interactions_from_history
from recsys.models.loaded import build_models
from recsys.models.manifest import Manifest, Recipe
from recsys.models.popularity import PopularityParams
from training.interactions import build_interactions
from training.models import shown
from training.models.blend import dataset_folds
from training.models.budget import BUDGETS, Budget
from training.models.registry import ModelSpec
from training.models.settings import BlendParams
from training.models.yardstick import NDCG, WATCH, ShownItems
from training.params import TrainParams
from training.train import run

AT = from_text("2026-11-20T18:30:00Z")
MODELS = ("graph_filter", "ials", "bm25", "bpr")
TIGHT = Budget(name="tight", models=MODELS, max_factors=32, work=3.0)
PARAMS = TrainParams(encoder=None, ranker=None, blend=BlendParams(models=MODELS, ials=IALSParams(embedding_size=16)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe") / "data"
    world = generate(WorldParams(n_items=300, n_users=120, n_events=6_000))
    write_dataset(folder, creators=world.creators, items=world.items, users=world.users, events=world.events)
    return folder


@pytest.fixture(scope="module")
def artifact(data: Path) -> Path:
    with threadpool_limits(2):
        run(data, data.parent / "tight", PARAMS, AT, budget=TIGHT)
    return data.parent / "tight"


def recipe_of(artifact: Path) -> Recipe:
    recipe = load_artifact(artifact).manifest.recipe
    assert isinstance(recipe, Recipe)
    return recipe


def test_the_manifest_tells_what_was_tried_what_it_cost_and_what_was_chosen(artifact: Path) -> None:
    recipe = recipe_of(artifact)
    assert recipe.budget == "tight" and recipe.n_users > 0 and recipe.previous is None
    assert recipe.max_work is not None and 0 < recipe.work <= recipe.max_work
    chosen = {it.model: it for it in recipe.tried if it.outcome == "chosen"}
    assert set(chosen) == {*MODELS, "popularity"}
    for it in recipe.tried:
        assert it.work > 0 and it.settings.get("embedding_size", 0) <= (
            64 if it.model == "bpr" else 32
        )  # BPR has one size
        assert (it.value is None) == (it.error is None) == (it.outcome.startswith("too much"))
    assert recipe.blend is not None and recipe.error is not None and 0 < recipe.error < recipe.blend
    by_model = load_artifact(artifact).manifest.metrics
    watched = [by_model[f"validation_watch.{name}"] for name in (*chosen, "blend_cross_validated")]
    assert max(watched) == watched[-1] and {f"validation_ndcg.{name}" for name in chosen} <= set(by_model)


def test_a_log_with_propensities_chooses_by_what_people_would_watch(artifact: Path) -> None:
    assert recipe_of(artifact).yardstick == WATCH
    by = load_artifact(artifact).manifest.chosen_by
    assert {by[name] for name in ("settings", "weights")} == {WATCH}
    assert "reranker" not in by  # of so few people none was tried


def test_a_log_without_propensities_chooses_as_exposed_and_says_so(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    for file in (tmp_path / "data").glob("events*"):
        pl.read_parquet(file).with_columns(propensity=pl.lit(None, pl.Float64)).write_parquet(file)
    params = TrainParams(encoder=None, ranker=None, blend=BlendParams(models=("graph_filter", "ease")))
    run(tmp_path / "data", tmp_path / "artifact", params, AT, budget=BUDGETS["small"])
    manifest = load_artifact(tmp_path / "artifact").manifest
    assert recipe_of(tmp_path / "artifact").yardstick == NDCG and manifest.chosen_by["weights"] == NDCG
    assert "settings" not in manifest.chosen_by and not any("watch" in name for name in manifest.metrics)


def test_who_stands_in_two_folds_counts_once_among_the_people_that_an_estimate_needs(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(data)
    interactions = build_interactions(dataset)

    def shown_with_at_least(n_people: int) -> list[ShownItems]:
        monkeypatch.setattr(shown, "MIN_USERS", n_people)
        folds = dataset_folds(dataset, interactions, PopularityParams(), BlendParams(), None, 0)
        return [fold.shown for fold in folds if fold.shown]

    found = shown_with_at_least(1)
    people = [set(part.numbers[part.rows].tolist()) for part in found]
    once = len(set.union(*people))
    assert sum(map(len, people)) > once
    assert shown_with_at_least(once) and not shown_with_at_least(once + 1)


def test_what_was_chosen_is_what_is_saved(artifact: Path) -> None:
    loaded, recipe = load_artifact(artifact), recipe_of(artifact)
    (factors,) = (it for it in recipe.tried if (it.model, it.outcome) == ("ials", "chosen"))
    assert loaded.spaces["cf"].item_vectors.shape[1] == min(factors.settings["embedding_size"], len(loaded.users))
    models, history = build_models(loaded), next(iter(loaded.histories.values()))
    scores = models.blend_scores(history, "MA")
    assert np.isfinite(scores).any() and scores.shape == (len(loaded.items),)
    assert loaded.blend.scores(interactions_from_history(history, len(loaded.items))).shape[1] == len(loaded.items)


def test_the_same_seed_gives_the_same_artifact_however_many_threads_there_are(
    data: Path, artifact: Path, tmp_path: Path
) -> None:
    with threadpool_limits(1):
        run(data, tmp_path / "again", PARAMS, AT, budget=TIGHT)
    assert load_artifact(tmp_path / "again").version == load_artifact(artifact).version


def test_the_small_budget_only_adds_its_account_to_the_manifest_and_one_without_is_read(
    data: Path, tmp_path: Path
) -> None:
    params = TrainParams(encoder=None, ranker=None, blend=BlendParams(models=("graph_filter", "ease")))
    run(data, tmp_path / "plain", params, AT)
    run(data, tmp_path / "small", params, AT, budget=BUDGETS["small"])
    plain, small = (load_artifact(tmp_path / name).manifest for name in ("plain", "small"))
    assert b'"recipe"' not in (tmp_path / "plain" / "manifest.json").read_bytes()
    assert plain == msgspec.structs.replace(small, recipe=msgspec.UNSET, sha256=plain.sha256)
    recipe = recipe_of(tmp_path / "small")
    assert {it.outcome for it in recipe.tried} == {"chosen"} and recipe.yardstick == WATCH
    assert all(it.value == small.metrics[f"validation_watch.{it.model}"] for it in recipe.tried)


def test_a_model_that_fits_the_folds_but_not_the_whole_is_not_chosen(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_interactions(read_dataset(data)).signed().nnz
    monkeypatch.setattr(ModelSpec, "can_fit", lambda spec, train: spec.name != "bpr" or train.signed.nnz < whole)
    params = replace(PARAMS, holdout_days=0, blend=replace(PARAMS.blend, models=("bpr",)))
    run(data, tmp_path / "a", params, AT, budget=BUDGETS["small"])
    assert [it.model for it in recipe_of(tmp_path / "a").tried] == ["popularity"]


def test_one_person_gives_a_blend_without_a_standard_error_and_a_sentence_that_says_so(
    data: Path, tmp_path: Path
) -> None:
    tables = read_dataset(data)
    events = tables.events.collect()
    busiest = events["user_id"].value_counts(sort=True)["user_id"][0]
    write_dataset(
        tmp_path / "one", creators=tables.creators.collect(), items=tables.items.collect(),
        users=tables.users.collect().filter(pl.col("user_id") == busiest),
        events=events.filter(pl.col("user_id") == busiest),
    )  # fmt: skip
    params = replace(PARAMS, blend=BlendParams(models=("graph_filter",)))
    told = run(tmp_path / "one", tmp_path / "a", params, AT, budget=BUDGETS["small"]).recipe
    recipe = recipe_of(tmp_path / "a")
    assert recipe.n_users == 1 and recipe.blend is not None and recipe.error is None
    assert all(it.error is None and it.value is not None for it in recipe.tried)
    assert "±" not in told and "which may be chance: only one person validates" in told


def test_the_command_names_the_budget_and_the_previous_artifact(data: Path, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: [graph_filter]\n")
    told = ["train", str(data), "--config", str(tmp_path / "models.yaml"), "--encoder", "none", "--no-ranker"]
    told += ["--out", str(tmp_path / "a"), "--at", "2026-11-20T18:30:00Z", "--quiet"]
    assert sanad.run([*told, "--budget", "large"]) == 2 and sanad.run([*told, "--previous", str(data)]) == 2
    assert not (tmp_path / "a").exists()
    assert sanad.run([*told, "--previous", str(artifact)]) == 0
    manifest = msgspec.json.decode((tmp_path / "a" / "manifest.json").read_bytes(), type=Manifest)
    assert isinstance(manifest.recipe, Recipe)
    assert (manifest.recipe.budget, manifest.recipe.previous) == ("small", load_artifact(artifact).version)


def test_a_model_of_an_unknown_name_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models.yaml").write_text(json.dumps({"models": ["ials", "svd"]}))
    told = ["train", str(data), "--out", str(tmp_path / "a"), "--config", str(tmp_path / "models.yaml"), "--quiet"]
    assert sanad.run([*told, "--encoder", "none"]) == 2
    assert "found models svd, expected some of graph_filter, spectral, ials" in " ".join(
        capsys.readouterr().err.split()
    )
