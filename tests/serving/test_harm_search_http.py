"""Searches for harm and helplines over HTTP: what the service says of itself, and what it never keeps."""

import logging
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from recsys.policy.checks import load_market
from recsys.policy.edit import with_values
from serving.run import run_in_thread
from serving.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
QUERY = "je veux mourir zqxmarker"
NEAR = "je veu mourire zqxmarker"


def search(client: TestClient, query: str, user_id: str = "u0") -> dict:
    answer = client.post("/v1/feed", json={"user_id": user_id, "surface": "search", "query": query})
    assert answer.status_code == 200
    return answer.json()


def cards(page: dict) -> list[str]:
    return [card["card_id"] for card in page["cards"] if card["after_position"] == 0]


def test_a_service_recognises_a_search_for_harm_without_being_told_to(client):
    page = search(client, QUERY)
    assert (cards(page), page["safety"]["loop_level"]) == (["crisis"], 1)
    assert {item["tier"] for item in page["items"]} == {"R0"} and all(item["topics"] for item in page["items"])
    assert cards(search(client, NEAR, "u1")) == ["crisis"]
    assert search(client, "tajine", "u2")["cards"] == []


def test_the_list_can_be_the_platforms_own_or_none_and_ready_says_which(open_service, tmp_path):
    own = tmp_path / "terms.tsv"
    own.write_text("zzforbidden\n", "utf-8")
    with open_service() as client:
        assert "starter list, a draft for clinical review" in client.get("/health/ready").json()["harm_terms"]
    with open_service(harm_terms=own) as client:
        assert client.get("/health/ready").json()["harm_terms"] == "1 terms of the platform's list"
        assert cards(search(client, "zzforbidden")) == ["crisis"]
        assert cards(search(client, "tajine", "u1")) == [] == cards(search(client, QUERY, "u2"))
    with open_service(harm_terms="none") as client:
        assert client.get("/health/ready").json()["harm_terms"].startswith("none")
        assert cards(search(client, QUERY, "u3")) == []


@pytest.mark.parametrize(("value", "chosen"), [("none", "none"), ("starter", "starter"), ("./none", Path("none"))])
def test_the_variable_names_a_file_the_starter_list_or_none(tmp_path, value, chosen):
    assert read_settings({"SANAD_LEXICON": value}, artifact=tmp_path).harm_terms == chosen
    assert read_settings({}, artifact=tmp_path).harm_terms == "starter"
    assert read_settings({"SANAD_LEXICON": ""}, artifact=tmp_path).harm_terms == "starter"


def test_ready_says_how_many_helplines_and_texts_were_verified_lately(open_service, tmp_path):
    text = (ROOT / "policies" / "morocco.yaml").read_text("utf-8")
    verified = {"verified_at": date(2026, 11, 1), "verified_by": "a partner"}
    path = tmp_path / "policy.yaml"
    path.write_text(with_values(with_values(text, ["helplines", 0], verified), ["cards", "crisis"], verified), "utf-8")
    with open_service() as client:
        nobody = "0 of 2 helplines verified (cards show their text alone), 0 of 3 card texts"
        assert client.get("/health/ready").json()["helplines"] == nobody
        assert search(client, QUERY)["cards"][0]["entries"] == []
    with open_service(policy=path) as client:
        assert client.get("/health/ready").json()["helplines"] == "1 of 2 helplines verified, 1 of 3 card texts"
        assert [entry["id"] for entry in search(client, QUERY, "u1")["cards"][0]["entries"]] == ["onde"]
    assert load_market(path).helplines[0].verified_by == "a partner"


def test_a_service_without_terms_or_verified_helplines_says_so_at_its_start(settings: Settings, clock, caplog):
    with (
        caplog.at_level(logging.WARNING, "sanad.serving"),
        run_in_thread(replace(settings, harm_terms="none"), clock=clock),
    ):
        pass
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "no list of harm-seeking terms (SANAD_LEXICON)" in said
    assert "MA: 0 of 2 helplines verified" in said
    caplog.clear()
    with caplog.at_level(logging.WARNING, "sanad.serving"), run_in_thread(settings, clock=clock):
        pass
    assert not any("harm-seeking terms" in record.getMessage() for record in caplog.records)


def test_what_was_searched_is_in_no_file_and_no_line_of_the_log(open_service, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG), open_service() as client:
        for n, query in enumerate((QUERY, NEAR, "tajine zqxmarker")):
            search(client, query)
            event = {"event_id": f"s{n}", "user_id": "u0", "kind": "search", "query": query}
            assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
            long = {
                **event,
                "event_id": f"l{n}",
                "query": f"{query} " * 20,
            }  # refused, and the refusal goes to the caller
            assert client.post("/v1/events", json={"events": [long]}).json()["rejected"]
            refused = client.post("/v1/feed", json={"user_id": "u0", "surface": "search", "query": f"{query} " * 20})
            assert refused.status_code == 422
            client.post("/v1/feed", json={"user_id": "u0", "surface": "for_you", "query": query})
        assert "zqxmarker" not in client.get("/v1/users/u0/export").text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "state.db" for path in files)
    assert [path.name for path in files if b"zqxmarker" in path.read_bytes()] == []
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not any("zqxmarker" in message for message in ours)
