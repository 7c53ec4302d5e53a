"""`sanad creators report`: from the running service's counts to what a team reads."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import sanad
from serving.settings import Settings

Open = Callable[..., AbstractContextManager[TestClient]]


def test_the_report_counts_what_the_service_delivered_while_it_runs(
    open_service: Open, settings: Settings, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["creators", "report", str(artifact), "--state", str(settings.state_file), "-q"]
    now = ["--at", "2026-11-20T12:00:00Z"]
    with open_service() as client:
        page = client.post("/v1/feed", json={"user_id": "u0", "size": 20}).json()["items"]
        assert sanad.run([*arguments, *now, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["impressions"] == len(page) == 20
        assert sum(part["impressions"] for part in report["by_size"]) == 20
        assert sum(sum(part["slots"].values()) for part in report["by_kind"]) == 20
        assert report["new_creators"]["n_new"] == report["local"]["n_creators"] == 8  # every other creator is from here
        assert sanad.run([*arguments, *now]) == 0
        assert "20 impressions" in capsys.readouterr().out
        creator_id = page[0]["creator_id"]
        assert sanad.run([*arguments, *now, "--creator", creator_id]) == 0
        own = json.loads(capsys.readouterr().out)
        assert own["impressions"]["all"] == sum(item["creator_id"] == creator_id for item in page)


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--creator", "nobody"], "found no creator"), (["--state", "/nowhere/state.db"], "found no file")],
)
def test_what_is_not_there_is_said_in_a_sentence(
    open_service: Open,
    settings: Settings,
    artifact: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    with open_service():
        arguments = ["creators", "report", str(artifact), "--state", str(settings.state_file), "-q", *more]
        assert sanad.run(arguments) == 2
    assert said in capsys.readouterr().err


def test_the_audit_counts_the_floor_again_over_the_records(
    open_service: Open, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_service() as client:
        for user_id, size in (("u0", 20), ("u0", 5), ("u1", 7)):
            client.post("/v1/feed", json={"user_id": user_id, "size": size})
        assert sanad.run(["creators", "audit", "--state", str(settings.state_file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["below_supply"], found["pages"]) == (6, 0, 1)
