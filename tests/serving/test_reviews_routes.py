"""A creator's way back over HTTP: what a label comes from, a review that is asked for, and the answer of a person."""

from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY, HOUR, to_text
from recsys.types import Fields

from .conftest import NOON, Open, StillClock

CALM = {"creator_id": "c4", "published_at": "2026-11-20T10:00:00Z", "risk_tier": "R0"}


def ask_review(client: TestClient, item_id: str = "v9") -> Fields:
    answer = client.post(f"/v1/items/{item_id}/review")
    assert answer.status_code == 200, answer.text
    fields: Fields = answer.json()
    return fields


def queue(client: TestClient) -> Fields:
    answer = client.get("/v1/operator/reviews")
    assert answer.status_code == 200, answer.text
    fields: Fields = answer.json()
    return fields


def labels(client: TestClient, creator_id: str) -> dict[str, Fields]:
    report = client.get(f"/v1/creators/{creator_id}/exposure").json()
    return {label["item_id"]: label for label in report["labels"]}


def tier(client: TestClient, item_id: str) -> str | None:
    page = client.post("/v1/feed", json={"user_id": "u0", "candidate_ids": [item_id], "dry_run": True}).json()["items"]
    return str(page[0]["tier"]) if page else None


def test_a_review_waits_with_its_age_until_a_person_answers(client: TestClient, clock: StillClock) -> None:
    asked = ask_review(client)
    assert (asked["state"], asked["asked_at"], asked["due_at"]) == ("open", to_text(NOON), to_text(NOON + 72 * HOUR))
    clock.at += HOUR
    assert ask_review(client)["asked_at"] == asked["asked_at"]  # one open review of an item
    waiting = queue(client)
    assert (waiting["open"], waiting["overdue"], waiting["answered"]) == (1, 0, 0)
    [row] = waiting["reviews"]
    assert (row["item_id"], row["age_s"], row["tier"], row["source"]) == ("v9", 3_600, "R2", "partner")
    answered = client.post("/v1/operator/reviews/v9", json={"risk_tier": "R0"}).json()
    assert (answered["state"], answered["outcome"]) == ("answered", "changed")
    assert tier(client, "v9") == "R0"  # on the next page
    stored = client.get("/v1/items/v9").json()
    assert (stored["risk_tier"], stored["risk_family"], stored["risk_source"]) == ("R0", None, "human")
    assert labels(client, "c9")["v9"]["review"] == {name: answered[name] for name in answered if name != "request_id"}
    done = queue(client)
    assert (done["open"], done["answered"], done["answered_in_time"], done["reviews"]) == (0, 1, 1, [])


def test_asking_changes_no_label(client: TestClient) -> None:
    before = client.get("/v1/items/v9").json()
    ask_review(client)
    after = client.get("/v1/items/v9").json()
    assert {**after, "request_id": ""} == {**before, "request_id": ""} and tier(client, "v9") == "R2"


def test_an_empty_answer_upholds_the_label_and_holds(client: TestClient, clock: StillClock) -> None:
    ask_review(client)
    assert client.post("/v1/operator/reviews/v9", json={}).json()["outcome"] == "upheld"
    assert tier(client, "v9") == "R2"
    clock.at += 29 * DAY
    assert ask_review(client)["state"] == "answered"  # nobody is asked the same every day
    clock.at += 2 * DAY
    assert ask_review(client)["state"] == "open"


def test_another_tier_since_the_answer_can_be_reviewed_at_once(client: TestClient) -> None:
    ask_review(client)
    client.post("/v1/operator/reviews/v9", json={"risk_tier": "R0"})
    client.patch("/v1/items/v9", json={"risk_tier": "R2", "risk_family": "despair", "risk_source": "platform"})
    assert ask_review(client)["state"] == "open"


def test_a_late_answer_counts_as_late(client: TestClient, clock: StillClock) -> None:
    ask_review(client)
    clock.at += 72 * HOUR + 1
    waiting = queue(client)
    assert waiting["overdue"] == 1 and waiting["reviews"][0]["is_overdue"] is True
    client.post("/v1/operator/reviews/v9", json={})
    assert (queue(client)["answered"], queue(client)["answered_in_time"]) == (1, 0)


def test_the_label_of_a_person_answers_the_review_and_no_other_does(client: TestClient) -> None:
    ask_review(client)
    client.patch("/v1/items/v9", json={"risk_tier": "R1", "risk_family": None, "risk_source": "platform"})
    client.patch("/v1/items/v9", json={"title": "other words", "risk_tier": "R1"})
    assert queue(client)["open"] == 1
    client.patch("/v1/items/v9", json={"risk_tier": "R0", "risk_source": "human"})
    assert queue(client)["open"] == 0
    actions = [row["what"] for row in client.get("/v1/audit").json()["entries"] if row["what"]["action"] == "review"]
    assert actions == [{"action": "review", "item_id": "v9", "outcome": "changed", "tier": "R0"}]


def test_a_takedown_can_be_reviewed_and_ended(client: TestClient) -> None:
    client.delete("/v1/items/v4")
    ask_review(client, "v4")
    assert queue(client)["reviews"][0]["is_hidden"] is True
    assert client.post("/v1/operator/reviews/v4", json={"is_hidden": False}).json()["outcome"] == "changed"
    assert tier(client, "v4") == "R0"


def test_reviews_stay_after_a_restart(open_service: Open) -> None:
    with open_service() as client:
        asked = ask_review(client)
    with open_service() as client:
        assert ask_review(client)["asked_at"] == asked["asked_at"] and queue(client)["open"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/v1/items/nothing/review", None, 404),
        ("post", "/v1/operator/reviews/v4", {}, 404),
        ("post", "/v1/operator/reviews/v4", {"risk_tier": "R9"}, 422),
        ("post", "/v1/operator/reviews/v4", {"note": "free words"}, 422),
        ("get", "/v1/operator/reviews?size=0", None, 422),
    ],
)
def test_what_cannot_be_reviewed_is_refused_with_a_sentence(
    shared_client: TestClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = shared_client.request(method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status and answer.json()["detail"]


def test_a_report_names_the_source_and_the_kind_of_evidence_and_never_a_word(client: TestClient) -> None:
    file = {"perceptual_hash": "0123456789abcdef", "duration_s": 31.0}
    uploads: dict[str, Fields] = {
        "human": {"risk_source": "human"},
        "platform": {"risk_source": "platform"},
        "raw": {"risk_tier": None},
        "copy": {**file, "risk_source": "platform"},
        "original": {
            **file, "creator_id": "c5", "risk_tier": "R2", "risk_family": "despair", "risk_source": "partner",
        },
    }  # fmt: skip
    for item_id, more in uploads.items():
        put = client.put(f"/v1/items/{item_id}", json={**CALM, "title": f"zanzibar {item_id}", **more})
        assert put.status_code == 200, put.text
    report = client.get("/v1/creators/c4/exposure")
    found = {name: (label["source"], label["evidence"]) for name, label in labels(client, "c4").items()}
    assert found["human"] == ("human", "review")
    assert found["platform"] == ("platform", "label")
    assert found["raw"] == ("nobody", "none")
    assert found["copy"] == ("copy", "hash")
    assert "zanzibar" not in report.text and "original" not in report.text


@pytest.mark.parametrize(
    "fields", [{"risk_tier": "R2"}, {"risk_tier": "R3", "risk_family": "body"}, {"risk_tier": None}]
)
def test_an_answer_may_be_stricter_and_never_takes_a_label_away(client: TestClient, fields: Fields) -> None:
    ask_review(client, "v4")
    answer = client.post("/v1/operator/reviews/v4", json=fields)
    assert answer.status_code in (200, 422), answer.text
    item = client.get("/v1/items/v4").json()
    assert item["risk_tier"] is not None
    assert (queue(client)["open"] == 0) == (answer.status_code == 200)


def test_ids_with_slashes_and_letters_of_any_script_are_reviewed(client: TestClient) -> None:
    for item_id in ("a/b", "فيديو 🙂"):
        path = quote(item_id, safe="")
        assert client.put(f"/v1/items/{path}", json={**CALM, "title": "a title"}).status_code == 200
        assert client.post(f"/v1/items/{path}/review").json()["item_id"] == item_id
        assert client.post(f"/v1/operator/reviews/{path}", json={}).json()["state"] == "answered"
