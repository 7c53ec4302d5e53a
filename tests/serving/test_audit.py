"""The audit log over HTTP and on the command line: who decided what, when, and nothing about a person."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import sanad
from recsys.clock import DAY, from_text, to_text
from recsys.errors import StoreError
from serving.settings import Settings

from .conftest import Open, StillClock

NOON = from_text("2026-11-20T12:00:00Z")
KEYS = tuple(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("moderation", "support"))


def entries(client: TestClient, key: str = "moderation", **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/audit", params=query, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["entries"]
    return rows


def decisions(client: TestClient, key: str = "moderation") -> list[tuple[str, str]]:
    return [(row["who"], row["what"]["action"]) for row in entries(client, key)]


def test_a_start_notes_which_versions_it_serves(open_service: Open) -> None:
    with open_service() as client:
        [row] = entries(client)
        version = client.get("/v1/version").json()
    assert row["who"] == "local" and row["at"] == to_text(NOON)
    what = row["what"]
    assert (what["action"], what["model"], what["policy"]) == (
        "activation", version["model_version"], version["policy_version"],
    )  # fmt: skip
    assert what["killed"] == []
    with open_service() as client:
        assert decisions(client) == [("local", "activation")] * 2


def test_a_takedown_and_putting_back_name_the_key(open_service: Open) -> None:
    with open_service(keys=KEYS) as client:
        moderation, support = ({"X-API-Key": name} for name in ("moderation", "support"))
        client.delete("/v1/items/v1", headers=moderation)
        client.delete("/v1/items/v1", headers=moderation)  # down already: nothing is decided
        client.patch("/v1/items/v1", json={"title": "other words"}, headers=moderation)
        client.patch("/v1/items/v1", json={"is_hidden": False}, headers=support)
        client.delete("/v1/creators/c1", headers=support)
        client.patch("/v1/creators/c1", json={"is_hidden": False}, headers=moderation)
        rows = [row for row in entries(client) if row["what"]["action"] in ("takedown", "putting_back")]
    assert [(row["who"], row["what"]) for row in rows] == [
        ("moderation", {"action": "takedown", "item_id": "v1"}),
        ("support", {"action": "putting_back", "item_id": "v1"}),
        ("support", {"action": "takedown", "creator_id": "c1"}),
        ("moderation", {"action": "putting_back", "creator_id": "c1"}),
    ]


def test_a_label_is_noted_where_a_person_set_it_or_it_replaces_one(client: TestClient) -> None:
    for fields in (
        {"risk_tier": "R2", "risk_family": "body", "risk_source": "human"},
        {"risk_tier": "R2", "risk_family": "body", "risk_source": "human"},  # the same again
        {"risk_tier": "R0", "risk_family": None, "risk_source": "platform"},
        {"risk_tier": "R1", "risk_source": "platform"},  # no person's word on either side
    ):
        assert client.patch("/v1/items/v1", json=fields).status_code == 200
    whats = [row["what"] for row in entries(client) if row["what"]["action"] == "label"]
    assert whats == [
        {"action": "label", "item_id": "v1", "before": {"tier": "R0", "source": "partner"},
         "after": {"tier": "R2", "family": "body", "source": "human"}},
        {"action": "label", "item_id": "v1", "before": {"tier": "R2", "family": "body", "source": "human"},
         "after": {"tier": "R0", "source": "platform"}},
    ]  # fmt: skip


def test_a_new_item_of_a_partner_is_a_decision_and_one_of_the_platform_is_none(client: TestClient) -> None:
    whole = {"creator_id": "c1", "published_at": to_text(NOON - DAY), "title": "new", "risk_tier": "R0"}
    for item_id, source in (("n1", "partner"), ("n2", "platform")):
        body = {**whole, "risk_source": source}
        assert client.put(f"/v1/items/{item_id}", json=body).status_code == 200
    whats = [row["what"] for row in entries(client) if row["what"]["action"] == "label"]
    assert [(what["item_id"], what["before"]) for what in whats] == [("n1", None)]


def test_an_erasure_leaves_a_hash_and_no_id(open_service: Open, settings: Settings) -> None:
    with open_service() as client:
        client.post("/v1/feed", json={"user_id": "somebody-to-forget"})
        client.delete("/v1/users/somebody-to-forget")
        client.delete("/v1/users/nobody-at-all")  # nobody: nothing is noted
        rows = [row for row in entries(client) if row["what"]["action"] == "erasure"]
    assert len(rows) == 1 and len(rows[0]["what"]["person"]) == 64
    with sqlite3.connect(settings.state_file) as connection:
        text = str(connection.execute("SELECT * FROM audit").fetchall())
    connection.close()
    assert "forget" not in text


def test_a_confirmation_of_the_clock_names_who_and_by_how_much(open_service: Open, clock: StillClock) -> None:
    with open_service() as client:
        client.post("/v1/feed", json={"user_id": "u0"})
    clock.at += 3 * DAY
    with open_service(clock_confirmed_at=None, keys=KEYS) as client:
        client.post("/v1/operator/confirm-clock", headers={"X-API-Key": "support"})
        row = entries(client)[-1]
    assert row["who"] == "support" and row["at"] == to_text(clock.at)
    assert row["what"] == {"action": "clock_confirmed", "was_ahead_s": 3 * 86_400.0}
    clock.at += 3 * DAY
    with open_service() as client:
        assert ("local", "clock_confirmed") in decisions(client)


def test_the_log_is_read_in_pages(client: TestClient) -> None:
    for n in range(7):
        client.delete(f"/v1/items/v{n}")
    read: list[int] = []
    after: int | None = 0
    while after is not None:
        page = client.get("/v1/audit", params={"after": after, "size": 3}).json()
        assert len(page["entries"]) <= 3
        read += [row["seq"] for row in page["entries"]]
        after = page["next"]
    assert len(read) == 8 == len(set(read)) and read == sorted(read)
    assert entries(client, since="2026-11-20T12:00:00.001Z") == []
    for wrong in ({"size": 0}, {"size": 1_001}, {"after": -1}, {"since": "today"}, {"until": "now"}):
        assert client.get("/v1/audit", params=wrong).status_code == 422


def test_only_an_operator_reads_it(open_service: Open) -> None:
    with open_service(keys=KEYS) as client:
        assert client.get("/v1/audit").status_code == 401
        assert client.get("/v1/audit", headers={"X-API-Key": "other"}).status_code == 401


def test_what_was_not_written_is_not_noted(client: TestClient) -> None:
    assert client.patch("/v1/items/v1", json={"risk_tier": "R9", "risk_source": "human"}).status_code == 422
    assert client.delete("/v1/items/nowhere").status_code == 404
    assert decisions(client) == [("local", "activation")]


@pytest.fixture
def logged(open_service: Open, settings: Settings) -> Settings:
    with open_service(keys=KEYS) as client:
        client.delete("/v1/items/v1", headers={"X-API-Key": "moderation"})
    return settings


def test_the_command_prints_a_line_an_entry(logged: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert sanad.run(["audit", str(logged.state_file)]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert "activation" in first
    assert second.startswith("2026-11-20T12:00:00.000Z  moderation  takedown item_id=v1")
    assert sanad.run(["audit", str(logged.state_file), "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows[1]["what"] == {"action": "takedown", "item_id": "v1"} and rows[1]["who"] == "moderation"
    assert sanad.run(["audit", str(logged.state_file), "--since", "2026-11-21T00:00:00Z"]) == 0
    assert capfd.readouterr().out == ""


def test_commands_take_the_state_from_the_variable_where_nobody_else_reads_a_password(
    logged: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANAD_STATE", str(logged.state_file))
    for command in (["audit"], ["creators", "audit"], ["export", "dataset", "--out", str(tmp_path / "out")]):
        assert sanad.run(command) == 0, capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere.db"], ["{state}", "--since", "yesterday"]])
def test_the_command_refuses_what_it_cannot_read(
    logged: Settings, arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert sanad.run(["audit", *(a.format(state=logged.state_file) for a in arguments)]) == 2
    assert "expected" in capfd.readouterr().err


def test_a_state_file_that_cannot_be_written_is_no_reason_not_to_start(
    open_service: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("serving.stores.sqlite.audit.SqliteAudit.append", refuse)
    with open_service() as client:
        assert client.get("/health/ready").json()["status"] == "ready"
    assert "the activation was not noted: the disk is full" in caplog.text
