"""Why a page is as it is, over HTTP: records, why and why not, replay, the policy in force."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.clock import HOUR, MINUTE
from recsys.types import Fields

R2 = [f"v{n}" for n in range(120) if n % 10 == 9]


def ids(page: Fields) -> list[str]:
    return [item["item_id"] for item in page["items"]]


def ask(client: TestClient, user_id: str = "u0", **body: object) -> Fields:
    answer = client.post("/v1/feed", json={"user_id": user_id, **body})
    assert answer.status_code == 200, answer.text
    page: Fields = answer.json()
    return page


def read(client: TestClient, path: str) -> Fields:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: Fields = answer.json()
    return found


def why(client: TestClient, request_id: str, item_id: str) -> Fields:
    return read(client, f"/v1/why?request_id={request_id}&item_id={item_id}")


def test_a_record_says_what_a_page_was_chosen_from_and_under_which_rules(client: TestClient) -> None:
    page = ask(client, request_id="r", size=8)
    record = read(client, "/v1/requests/r")
    assert record["request_id"] == "r" and record["user_id"] == "u0"
    assert [c["item_id"] for c in sorted(record["candidates"], key=lambda c: c["position"] or 99) if c["shown"]] == ids(
        page
    )
    assert record["limits"]["windows.R2.rolling_24h"] == 6 and record["age_band"] == "18+"
    assert record["answer"]["items"] == page["items"]
    assert record["policy_version"] == page["policy_version"] and record["model_version"] == page["model_version"]


def test_every_shown_item_says_why(client: TestClient) -> None:
    page = ask(client, request_id="r", size=12)
    for item in page["items"]:
        found = why(client, "r", item["item_id"])
        assert found["shown"] and found["position"] == item["position"] and found["removed_by"] is None
        assert {rule["rule"] for rule in found["rules"]} >= {f"source:{name}" for name in item["sources"]}
        assert found["score_parts"]


def test_every_absent_item_says_why_not(client: TestClient) -> None:
    client.patch("/v1/items/v3", json={"is_hidden": True})
    client.put("/v1/users/u0/controls", json={"muted_creators": ["c4"]})
    shown = ids(ask(client, request_id="before", size=5))
    ask(client, request_id="r", size=20, exclude_ids=["v6"])
    assert why(client, "r", "v3")["removed_by"] == "hidden"
    assert why(client, "r", shown[0])["removed_by"] == "seen"
    assert why(client, "r", "v4")["removed_by"] == "muted"
    page = ids(read(client, "/v1/requests/r")["answer"])
    for number in range(120):
        if f"v{number}" not in page:
            found = why(client, "r", f"v{number}")
            assert not found["shown"] and found["removed_by"], number


def test_a_cap_that_kept_an_item_out_is_named_with_what_would_have_been(client: TestClient) -> None:
    page = ask(client, request_id="r", size=20, candidate_ids=R2)
    assert len(page["items"]) == 1
    absent = next(item_id for item_id in R2 if item_id not in ids(page))
    found = why(client, "r", absent)
    assert {rule["rule"] for rule in found["rules"]} >= {"gap:R2", "cap:R2:despair"}
    assert found["removed_by"] in ("gap:R2", "cap:R2:despair") and found["removed_by"] in found["counterfactual"]
    assert found["score_parts"] == [{"name": "constant", "value": pytest.approx(0, abs=10), "weight": 1.0}]


def test_a_replay_is_identical_and_says_what_asking_again_would_change(client: TestClient, clock: Any) -> None:
    first = ask(client, request_id="r", size=10)
    answer = client.post("/v1/requests/r/replay").json()
    assert answer["identical"] is True and answer["differences"] == []
    assert set(answer["retrieval"]["gone"]) == set(ids(first))  # they were seen by now
    before = read(client, "/v1/users/u0/exposure")
    clock.at += HOUR
    assert client.post("/v1/requests/r/replay").json()["identical"] is True
    after = read(client, "/v1/users/u0/exposure")
    assert after["deliveries"] == before["deliveries"]  # nothing was reserved


@pytest.mark.parametrize("body", [{"explain": "none"}, {"size": 50}, {"candidate_ids": R2}, {"surface": "local"},
                                  {"surface": "search", "query": "thing"}, {"mode": "non_personalised"}])  # fmt: skip
def test_every_kind_of_page_replays_byte_for_byte(client: TestClient, body: Fields) -> None:
    ask(client, request_id="r", **body)
    assert client.post("/v1/requests/r/replay").json()["identical"] is True


def test_what_was_searched_is_in_no_record_and_no_export(client: TestClient) -> None:
    ask(client, request_id="r", surface="search", query="a private matter")
    for path in ("/v1/requests/r", "/v1/users/u0/export"):
        assert "private matter" not in client.get(path).text
    assert client.post("/v1/requests/r/replay").json()["retrieval"] is None


def test_what_is_unknown_is_404_or_422_and_says_what_was_expected(client: TestClient) -> None:
    for method, path in (
        ("GET", "/v1/requests/nothing"), ("POST", "/v1/requests/nothing/replay"),
        ("GET", "/v1/why?request_id=nothing&item_id=v1"),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert answer.status_code == 404 and "nothing" in answer.json()["detail"]
    ask(client, request_id="r")
    assert client.get("/v1/why?request_id=r&item_id=nowhere").status_code == 422
    assert client.get("/v1/why?request_id=r").status_code == 422


def test_the_policy_in_force_is_there_for_every_band_level_and_night(client: TestClient) -> None:
    found = read(client, "/v1/policies")
    assert found["market"] == "MA" and found["signed_off"] is None
    keys = {(row["age_band"], row["loop_level"], row["is_night"]) for row in found["limits"]}
    assert len(keys) == len(found["limits"]) == 4 * 3 * 2
    by_key = {(row["age_band"], row["loop_level"], row["is_night"]): row["limits"] for row in found["limits"]}
    assert by_key["18+", 0, False]["windows.R2.rolling_24h"] == 6
    assert by_key["18+", 0, True]["windows.R2.rolling_24h"] == 3
    assert by_key["13-15", 0, True]["windows.R1.rolling_24h"] == 0
    assert by_key["18+", 2, False]["windows.R2.last_20"] == 0


def test_the_same_words_explain_a_page_in_the_readers_language(client: TestClient, clock: Any) -> None:
    texts = {}
    for language in ("en", "fr", "ar", "ary"):
        clock.at += MINUTE
        page = ask(client, "u1", size=1, context={"languages": [language, "fr"]}, dry_run=True)
        texts[language] = page["items"][0]["reasons"][0]["text"]
    assert len(set(texts.values())) >= 3


def test_a_policy_is_tried_on_logged_requests_and_a_broken_one_is_a_sentence(client):
    client.post("/v1/feed", json={"user_id": "u0", "size": 5, "request_id": "tried"})
    strict = (Path(__file__).parents[2] / "policies" / "strict.yaml").read_text("utf-8")
    found = client.post("/v1/policies/preview", json={"policy": strict}).json()
    assert found["n_requests"] >= 1 and found["tiers_after"]["R2"] <= found["tiers_before"]["R2"]
    broken = client.post("/v1/policies/preview", json={"policy": "kind: Nothing"})
    assert broken.status_code == 422 and "expected" in broken.json()["detail"]
    for no_policy in ("[" * 40_000, "a: 2026-99-99", "a: " + "9" * 5_000, "x" * 50_001):
        assert client.post("/v1/policies/preview", json={"policy": no_policy}).status_code == 422


def test_two_people_with_one_request_id_have_each_their_record(client):
    for user_id in ("u0", "u1"):
        ask(client, user_id, size=2, request_id="twice")
    for user_id in ("u0", "u1"):
        assert read(client, f"/v1/requests/twice?user_id={user_id}")["answer"]["user_id"] == user_id
        assert client.post(f"/v1/requests/twice/replay?user_id={user_id}").json()["identical"]
    assert client.get("/v1/requests/twice?user_id=u2").status_code == 404
