"""`sanad export forgotten`: from the running service's state to a list that training reads."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import sanad
from recsys.clock import from_text, to_text
from recsys.data.forgotten import read_forgotten, training_cutoffs
from recsys.models.artifact import load_artifact
from serving.settings import Settings

Open = Callable[..., AbstractContextManager[TestClient]]
NOON = from_text("2026-11-20T12:00:00Z")


def test_whoever_reset_or_erased_is_on_the_list_while_the_service_runs(
    open_service: Open, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "forgotten.json"
    with open_service() as client:
        client.post("/v1/users/u0/reset")
        client.delete("/v1/users/u1")
        arguments = ["export", "forgotten", "--state", str(settings.state_file), "--out", str(out)]
        assert sanad.run(arguments) == 0
        assert "2 users to leave out, 1 of them erased" in capsys.readouterr().out
        assert sanad.run([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"out": str(out), "people": 2, "erased": 1}
    found = training_cutoffs(read_forgotten(out), ["u0", "u1", "u2"])
    assert found == {"u0": (NOON, False), "u1": (NOON, True)}


def test_the_next_model_is_trained_without_them(
    open_service: Open, settings: Settings, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_service() as client:
        client.delete("/v1/users/u1")
    out, after = tmp_path / "forgotten.json", tmp_path / "artifact"
    assert sanad.run(["export", "forgotten", "--state", str(settings.state_file), "--out", str(out)]) == 0
    data = artifact.parent / "data"
    arguments = ["train", str(data), "--out", str(after), "--encoder", "none", "--holdout-days", "0"]
    assert sanad.run([*arguments, "--at", to_text(NOON), "--forget", str(out), "--quiet"]) == 0
    assert "left out: 10 events of 1 people" in capsys.readouterr().out
    assert "u1" in load_artifact(artifact).users["user_id"].to_list()
    assert "u1" not in load_artifact(after).users["user_id"].to_list()
    assert "u1" not in load_artifact(after).histories
    assert len(load_artifact(after).histories["u2"]) == len(load_artifact(artifact).histories["u2"])


def test_a_state_file_that_is_not_there_is_an_error_and_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "state.db"
    assert sanad.run(["export", "forgotten", "--state", str(missing), "--out", str(tmp_path / "list")]) == 2
    assert "found no file" in capsys.readouterr().err
    assert not missing.exists() and not (tmp_path / "list").exists()


def test_a_list_that_cannot_be_read_stops_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list").write_text("{}")
    arguments = ["train", str(tmp_path), "--out", str(tmp_path / "artifact"), "--forget", str(tmp_path / "list")]
    assert sanad.run(arguments) == 2
    assert "sanad export forgotten" in capsys.readouterr().err
