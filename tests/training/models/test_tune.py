"""Tuning continues where it was, chooses no worse than the shipped settings, and its file is what training reads."""

import json
from pathlib import Path

import pytest

import sanad
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.config import loads
from recsys.data.tables import read_dataset, write_dataset
from recsys.errors import ConfigError
from training.models.settings import BlendParams
from training.models.tune import as_yaml, tune

SMALL = BlendParams(models=("graph_filter", "ease"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune") / "data"
    world = generate(WorldParams(n_items=300, n_users=100, n_events=5_000))
    write_dataset(folder, creators=world.creators, items=world.items, users=world.users, events=world.events)
    return folder


def test_a_study_that_was_stopped_continues_and_ends_the_same(data: Path, tmp_path: Path) -> None:
    whole = tune(read_dataset(data), "f", tmp_path / "a", SMALL, None, 0)
    lines = (tmp_path / "a").read_text().splitlines(keepends=True)
    (tmp_path / "b").write_text("".join(lines[:5]) + lines[5][:20])  # killed while it wrote the sixth
    again = tune(read_dataset(data), "f", tmp_path / "b", SMALL, None, 0)
    assert (again.params, again.best) == (whole.params, whole.best)
    assert (whole.n_known, again.n_known) == (0, 5)
    assert all(again.best[name] >= again.default[name] for name in SMALL.models)
    assert tune(read_dataset(data), "f", tmp_path / "b", SMALL, None, 0).n_known == whole.n_measured  # nothing is glued


@pytest.mark.parametrize("content", [b"user,item\n", b"user,item", b"\xff\xfe\n"])
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected (a line|lines) of a study"):
        tune(read_dataset(data), "f", tmp_path / "a", SMALL, None, 0)
    assert (tmp_path / "a").read_bytes() == content


def test_a_path_that_cannot_be_written_is_refused_before_any_work(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "models.yaml", tmp_path):
        assert sanad.run(["tune", str(data), "--out", str(out), "--quiet"]) == 2
    out = ["--out", str(tmp_path / "models.yaml"), "--study", str(tmp_path / "file" / "study"), "--quiet"]
    assert sanad.run(["tune", str(data), *out]) == 2


def test_a_study_of_other_data_is_refused_in_a_sentence(data: Path, tmp_path: Path) -> None:
    line = {"key": "other None 0", "model": "graph_filter", "params": {}, "ndcg": 0.1}
    (tmp_path / "a").write_text(json.dumps(line) + "\n")
    with pytest.raises(ConfigError, match="found a study of other data"):
        tune(read_dataset(data), "f", tmp_path / "a", SMALL, None, 0)


def test_the_file_holds_the_chosen_settings() -> None:
    assert loads(as_yaml(BlendParams()), BlendParams) == BlendParams()


def test_the_command_writes_a_file_that_training_uses(data: Path, tmp_path: Path) -> None:
    (tmp_path / "start.yaml").write_text(as_yaml(SMALL))
    out, said = tmp_path / "models.yaml", ["--quiet", "--at", "2026-11-20T18:30:00Z"]
    assert sanad.run(["tune", str(data), "--out", str(out), "--config", str(tmp_path / "start.yaml"), *said]) == 0
    assert loads(out.read_text(), BlendParams).models == SMALL.models
    model = str(tmp_path / "model")
    assert sanad.run(["train", str(data), "--out", model, "--config", str(out), "--encoder", "none", *said]) == 0
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["config"]["blend"]["models"] == ["graph_filter", "ease"]
    out.write_text("filtre: {}\n")
    assert sanad.run(["train", str(data), "--out", model, "--config", str(out), "--encoder", "none", *said]) == 2
