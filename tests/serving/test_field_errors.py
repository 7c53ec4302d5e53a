"""The sentence of each wrong field: what is missing, what is not known, which words there are."""

from typing import Any

import pytest
from fastapi.testclient import TestClient


def errors_of(client: TestClient, path: str, body: Any, method: str = "POST") -> dict[str, dict[str, Any]]:
    answer = client.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    return {".".join(map(str, error["loc"])): error for error in answer.json()["errors"]}


def test_a_missing_field_is_missing(shared_client: TestClient) -> None:
    error = errors_of(shared_client, "/v1/feed", {})["body.user_id"]
    assert error["msg"] == "user_id: is missing, expected a value"
    assert (error["found"], error["expected"]) == ("nothing", "a value")


@pytest.mark.parametrize(
    ("path", "body", "where", "meant"),
    [
        ("/v1/feed", {"user_id": "u", "sise": 3}, "body.sise", "one of user_id, size,"),
        ("/v1/feed", {"user_id": "u", "sise": 3}, "body.sise", "did you mean size?"),
        ("/v1/feed", {"user_id": "u", "context": {"contry": "MA"}}, "body.context.contry", "did you mean country?"),
        ("/v1/feed", {"user_id": "u", "context": {"contry": "MA"}}, "body.context.contry", "one of country, region,"),
        ("/v1/events", {"events": [{"kidn": "like"}]}, "body.events.0.kidn", "did you mean kind?"),
        ("/v1/feed", {"user_id": "u", "zzzzz": 3}, "body.zzzzz", "one of user_id, size,"),
    ],
)
def test_an_unknown_field_is_unknown_and_the_known_ones_are_listed(
    shared_client: TestClient, path: str, body: Any, where: str, meant: str
) -> None:
    error = errors_of(shared_client, path, body)[where]
    assert ": unknown field, expected one of " in error["msg"] and meant in error["msg"]


def test_an_unknown_field_of_a_query_is_unknown_too(shared_client: TestClient) -> None:
    error = shared_client.get("/v1/local?kindd=peer").json()["errors"][0]
    assert error["loc"] == ["query", "kindd"] and error["msg"].endswith("did you mean kind?")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("surface", "foryou", "'for_you', 'following', 'related', 'search', 'local' or 'together'"),
        ("size", 0, "size: found 0, expected 1 or more"),
        ("size", 51, "size: found 51, expected 50 or less"),
        ("size", "20", "size: found '20', expected a whole number"),
        ("size", True, "size: found true, expected a whole number"),
        ("size", None, "size: found null, expected a whole number"),
        ("dry_run", "yes", "dry_run: found 'yes', expected true or false"),
        ("candidate_ids", "v1", "candidate_ids: found 'v1', expected a list"),
        ("context", [1, 2], "context: found a list of 2, expected a JSON object"),
        (
            "context",
            {"country": "Maroc"},
            "context.country: found 'Maroc', expected a country of ISO 3166-1, such as MA",
        ),
        ("context", {"region": "Fes"}, "expected a region of ISO 3166-2, such as MA-06"),
        ("context", {"languages": ["!"]}, "expected a language tag (BCP 47), such as ary or fr-MA"),
    ],
)
def test_a_wrong_value_is_answered_in_words(shared_client: TestClient, field: str, value: Any, sentence: str) -> None:
    ((_, error),) = errors_of(shared_client, "/v1/feed", {"user_id": "u", field: value}).items()
    assert sentence in error["msg"]


def test_a_percent_sign_that_is_encoded_names_its_person(shared_client: TestClient) -> None:
    assert shared_client.get("/v1/feed/50%25?size=1").json()["user_id"] == "50%"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"kind": "liked"}, "kind: found 'liked', expected one of impression, view,"),
        ({"kind": "like"}, "item_id: is missing, expected the one that the event of kind like is about"),
        ({"kind": "like", "item_id": "i", "creator_id": "c"}, "creator_id: found in an event of kind like, expected"),
        ({"kind": "undo", "item_id": "i"}, "item_id: found in an event of kind undo, expected none of"),
        ({"kind": "undo"}, "value: is missing, expected the event_id to undo"),
    ],
)
def test_an_event_says_what_its_kind_asks_for(shared_client: TestClient, event: dict[str, str], reason: str) -> None:
    body = {"events": [{"event_id": "e", "user_id": "u", **event}]}
    (rejected,) = shared_client.post("/v1/events", json=body).json()["rejected"]
    assert rejected["reason"].startswith(reason)


def test_a_guardian_reads_which_tiers_and_hours_there_are(shared_client: TestClient) -> None:
    tier = errors_of(shared_client, "/v1/users/u/guardian", {"max_tier": "R9"}, "PUT")["body.max_tier"]
    assert tier["expected"] == "'R0', 'R1', 'R2', 'R3' or 'R4'"
    night = errors_of(shared_client, "/v1/users/u/guardian", {"night": ["21-7"]}, "PUT")["body.night"]
    assert night["msg"] == "night: found '21-7', expected such as 22:00-07:00"
