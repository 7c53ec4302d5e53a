"""The face of Gorse, driven by Gorse's own client: its calls work unchanged, and recommendations count like pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from gorse import Gorse, GorseException

from recsys.clock import DAY, now, to_text
from serving.auth.scopes import scope_of
from serving.run import run_in_thread
from serving.settings import FACES, Settings
from serving.stores.sqlite.users import SqliteUsers
from tests.serving.conftest import PATIENT_MS, Open


@pytest.fixture
def address(artifact: Path, tmp_path: Path) -> Iterator[str]:
    chosen = Settings(
        artifact=artifact, state=tmp_path / "s.db", port=0, clock_confirmed_at=now(), faces=("gorse",),
        deadline_ms=PATIENT_MS,
    )  # fmt: skip
    with run_in_thread(chosen) as url:
        yield url


@pytest.fixture
def gorse(address: str) -> Gorse:
    return Gorse(address, "")


def _deliveries(address: str, user_id: str) -> Any:
    return requests.get(f"{address}/v1/users/{user_id}/exposure", timeout=10).json()["deliveries"]


def test_a_recommendation_is_a_page_that_counts_and_does_not_come_again(gorse: Gorse, address: str) -> None:
    first = gorse.get_recommend("u0", n=5)
    assert len(first) == 5 and all(isinstance(score.score, float) for score in first)
    assert _deliveries(address, "u0") == 5
    second = gorse.get_recommend("u0", n=5)
    assert not {score.id for score in first} & {score.id for score in second}
    plain = requests.get(f"{address}/api/recommend/u1?n=3&write-back-type=read", timeout=10).json()
    assert len(plain) == 3 and all(isinstance(item_id, str) for item_id in plain)


def test_a_category_is_a_topic(gorse: Gorse, address: str) -> None:
    for score in gorse.get_recommend("u0", category="S3", n=3):
        assert "S3" in gorse.get_item(score.id)["Categories"]
    with pytest.raises(GorseException) as refused:
        gorse.get_recommend("u0", category="sports")
    assert refused.value.status_code == 422 and "category" in refused.value.message


def test_feedback_counts_once_and_is_listed(gorse: Gorse) -> None:
    at = to_text(now())
    assert gorse.insert_feedback("like", "g1", "v1", at)["RowAffected"] == 1
    assert gorse.insert_feedback("like", "g1", "v1", at)["RowAffected"] == 0
    old = {"FeedbackType": "star", "UserId": "g1", "ItemId": "v2", "Timestamp": to_text(now() - 30 * DAY)}
    unknown = {"FeedbackType": "like", "UserId": "g1", "ItemId": "nowhere", "Timestamp": at}
    odd = {"FeedbackType": "purchase", "UserId": "g1", "ItemId": "v1", "Timestamp": at}
    answer = gorse.insert_feedbacks([old, unknown, odd])
    assert answer["RowAffected"] == 1
    assert [(bad["Index"], bad["Reason"].partition(":")[0]) for bad in answer["Rejected"]] == [
        (1, "item_id"),
        (2, "kind"),
    ]
    assert [row["ItemId"] for row in gorse.list_feedbacks("like", "g1")] == ["v1"]
    [starred] = gorse.list_feedbacks("star", "g1")
    assert starred["ItemId"] == "v2" and starred["Timestamp"] == old["Timestamp"]


def test_items_come_change_and_go(gorse: Gorse, address: str) -> None:
    item = {"ItemId": "g-1", "IsHidden": False, "Categories": ["S3"], "Timestamp": "2026-11-01T10:00:00Z",
            "Labels": {"creator_id": "c1", "language": "fr"}, "Comment": "a title"}  # fmt: skip
    assert gorse.insert_item(item) == {"RowAffected": 1}
    stored = gorse.get_item("g-1")
    assert {**stored, "Timestamp": stored["Timestamp"][:19] + "Z"} == item
    assert gorse.update_item("g-1", is_hidden=True) == {"RowAffected": 1}
    assert gorse.get_item("g-1")["IsHidden"] is True and gorse.get_item("g-1")["Comment"] == "a title"
    assert gorse.delete_item("g-1") == {"RowAffected": 1} and gorse.delete_item("nowhere") == {"RowAffected": 0}
    items, cursor = gorse.get_items(100)
    more, end = gorse.get_items(100, cursor)
    assert len(items) == 100 and end == "" and "g-1" in {item["ItemId"] for item in more}
    with pytest.raises(GorseException) as refused:
        gorse.insert_item({**item, "Labels": {"creator_id": "c1", "brand": "x"}})
    assert refused.value.status_code == 422 and "brand" in refused.value.message
    with pytest.raises(GorseException) as missing:
        gorse.insert_item({**item, "ItemId": "g-2", "Labels": None})
    assert missing.value.status_code == 422 and "creator_id" in missing.value.message


def test_users_come_and_go(gorse: Gorse, address: str) -> None:
    labels = {"country": "MA", "languages": ["fr"], "age_source": "none"}
    assert gorse.insert_users([{"UserId": "g1", "Labels": labels}, {"UserId": "g2"}]) == {"RowAffected": 2}
    assert gorse.get_user("g1")["Labels"] == labels
    change = requests.patch(f"{address}/api/user/g1", json={"Labels": {"region": "MA-06"}}, timeout=10)
    assert change.json() == {"RowAffected": 1} and gorse.get_user("g1")["Labels"] == {**labels, "region": "MA-06"}
    gorse.get_recommend("g1", n=3)
    assert gorse.delete_user("g1") == {"RowAffected": 1}
    assert gorse.get_user("g1")["Labels"] == {"age_source": "none", "languages": []}


def test_users_are_read_by_the_data_contract_all_or_none(gorse: Gorse, address: str) -> None:
    good = {"UserId": "good", "Labels": {"country": "MA", "consent": "false"}}
    bad = {"UserId": "bad", "Labels": {"country": "nowhere!!", "guardian_id": "\u202e"}}
    with pytest.raises(GorseException) as refused:
        gorse.insert_users([good, bad])
    assert refused.value.status_code == 422
    assert "1.Labels.country: found 'nowhere!!'" in refused.value.message
    assert "1.Labels.guardian_id" in refused.value.message
    assert gorse.get_user("good")["Labels"] == {"age_source": "none", "languages": []}
    assert gorse.insert_users([good]) == {"RowAffected": 1} and gorse.get_user("good")["Labels"]["consent"] is False
    for method, path in (("POST", "user"), ("PATCH", "user/good")):
        body = {"UserId": "good", "Labels": {"region": "?"}}
        one = requests.request(method, f"{address}/api/{path}", json=body, timeout=10)
        assert one.status_code == 422 and one.json()["detail"].startswith("region: found '?'")


def test_a_change_of_a_user_keeps_the_rest(gorse: Gorse, address: str) -> None:
    gorse.insert_user({"UserId": "g3", "Labels": {"country": "MA", "age_band": "13-15"}})
    change = {"Labels": {"country": None, "languages": ["fr"]}}
    assert requests.patch(f"{address}/api/user/g3", json=change, timeout=10).json() == {"RowAffected": 1}
    assert gorse.get_user("g3")["Labels"] == {"age_band": "13-15", "age_source": "none", "languages": ["fr"]}


def test_feedback_can_be_taken_back(gorse: Gorse, address: str) -> None:
    """The export names the event that an undo needs."""
    gorse.insert_feedback("like", "g1", "v1", to_text(now()))
    [liked] = requests.get(f"{address}/v1/users/g1/export", timeout=10).json()["events"]
    undo = {"event_id": "u", "user_id": "g1", "kind": "undo", "value": liked["event_id"]}
    assert requests.post(f"{address}/v1/events", json={"events": [undo]}, timeout=10).json()["accepted"] == 1
    assert gorse.list_feedbacks("like", "g1") == []


@pytest.mark.parametrize("path", ["/api/recommend/u0", "/rank"])
def test_an_empty_page_says_when_to_ask_again(open_service: Open, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(SqliteUsers, "write_if", lambda *_: False)  # others always win
    body = {"session": {"user_id": "u0"}, "items": [{"id": "v1"}]}
    with open_service(faces=FACES) as client:
        answer = client.get(path) if path != "/rank" else client.post(path, json=body)
        assert answer.status_code == 200 and answer.headers["Retry-After"] == "1"


def test_lists_are_scored_best_first(gorse: Gorse, address: str) -> None:
    for path in ("popular", "latest", "non-personalized/popular", "latest/S3", "item/v0/neighbors"):
        found = requests.get(f"{address}/api/{path}?n=5", timeout=10).json()
        scores = [row["Score"] for row in found]
        assert scores == sorted(scores, reverse=True) and all(set(row) == {"Id", "Score"} for row in found), path
        assert found or path.startswith("item"), path
        after = requests.get(f"{address}/api/{path}?n=3&offset=2", timeout=10).json()
        assert after == found[2:5], path
    assert isinstance(gorse.get_neighbors("v0"), list)
    with pytest.raises(GorseException) as unknown:
        gorse.get_neighbors("nowhere")
    assert unknown.value.status_code == 404


def test_another_method_is_refused_with_those_there_are(address: str) -> None:
    refused = requests.delete(f"{address}/api/recommend/u0", timeout=10)
    assert refused.status_code == 405 and refused.headers["Allow"] == "GET"


def test_every_address_of_a_face_needs_a_scope(open_service: Open) -> None:
    with open_service(faces=FACES) as client:
        routes = [route for face in client.app.state.faces for route in face.routes]
    calls = {(method, re.sub(r"{\w+}", "x", route.path)) for route in routes for method in route.methods}
    assert len(calls) > 25
    assert [call for call in sorted(calls) if scope_of(*call) is None] == []
    assert scope_of("GET", "/api/user/x/feedback/like") == "export" and scope_of("DELETE", "/api/user/x") == "admin"


def test_the_face_is_off_unless_a_setting_names_it(open_service: Open) -> None:
    with open_service() as client:
        assert client.get("/api/recommend/u0").status_code == 404
        assert client.post("/rank", json={}).status_code == 404
