"""The face of the Prosocial Ranking Challenge, by the shapes that its documentation publishes."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import Open

ITEM = {
    "text": "a post", "author_name_hash": "a1", "type": "post", "embedded_urls": [],
    "created_at": "2023-12-06 17:02:11", "engagements": {"upvote": 34, "downvote": 27, "comment": 1, "award": 0},
}  # fmt: skip
SESSION = {
    "session_id": "s1", "user_id": "u0", "user_name_hash": "6511", "cohort": "c", "platform": "reddit",
    "url": "https://reddit.example/r/x", "current_time": "2024-01-20 18:41:20",
}  # fmt: skip


@pytest.fixture
def prosocial(open_service: Open) -> Iterator[TestClient]:
    with open_service(faces=("prosocial",)) as client:
        yield client


def _rank(client: TestClient, ids: list[str], **session: Any) -> Any:
    items = [{**ITEM, "id": item_id, "author_name_hash": f"author of {item_id}"} for item_id in ids]
    return client.post("/rank", json={"session": {**SESSION, **session}, "survey": None, "items": items})


def test_an_answer_has_the_published_shape(prosocial: TestClient) -> None:
    answer = _rank(prosocial, ["v1", "v2", "post-1"]).json()
    assert set(answer) == {"ranked_ids", "new_items"} and answer["new_items"] == []
    assert sorted(answer["ranked_ids"][:2]) == ["v1", "v2"] and answer["ranked_ids"][2:] == ["post-1"]


def test_what_is_shown_counts_and_the_caps_hold(prosocial: TestClient) -> None:
    posts = [f"post-{n}" for n in range(10)]
    assert _rank(prosocial, posts).json()["ranked_ids"] == ["post-0"]  # unlabelled: one of any 20
    assert _rank(prosocial, posts, session_id="s2").json()["ranked_ids"] == []
    assert prosocial.get("/v1/users/u0/exposure").json()["deliveries"] == 1


def test_the_same_page_of_a_session_is_the_same_request(prosocial: TestClient) -> None:
    first = _rank(prosocial, ["v1", "v2"]).json()
    assert _rank(prosocial, ["v1", "v2"]).json() == first
    assert prosocial.get("/v1/users/u0/exposure").json()["deliveries"] == 2
    others = [{**ITEM, "id": item_id, "author_name_hash": "another"} for item_id in ("v1", "v2")]
    assert prosocial.post("/rank", json={"session": SESSION, "items": others}).status_code == 200


def test_nothing_to_rank_gives_nothing(prosocial: TestClient) -> None:
    assert _rank(prosocial, []).json() == {"ranked_ids": [], "new_items": []}


@pytest.mark.parametrize(
    "body", [{}, {"session": SESSION}, {"session": {}, "items": []}, {"session": SESSION, "items": [{}]}]
)
def test_what_is_missing_is_named(prosocial: TestClient, body: Any) -> None:
    refused = prosocial.post("/rank", json=body)
    assert refused.status_code == 422 and "missing" in refused.json()["detail"]
