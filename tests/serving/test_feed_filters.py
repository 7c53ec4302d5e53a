"""The filters that a request for a feed brings, over HTTP: each narrows the page and loosens nothing."""

from typing import Any

import pytest
from fastapi.testclient import TestClient


def _page(client: TestClient, **fields: Any) -> Any:
    response = client.post("/v1/feed", json={"user_id": "u0", "size": 10, "dry_run": True, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def _ids(page: Any) -> set[str]:
    return {item["item_id"] for item in page["items"]}


def test_topics_narrow_the_page(shared_client: TestClient) -> None:
    page = _page(shared_client, topics=["S3", "S4"])
    assert page["items"] and all({"S3", "S4"} & set(item["topics"]) for item in page["items"])
    none = _page(shared_client, topics=["S9"])
    assert none["items"] == [] and none["shortfall"]["because"]["excluded"] > 0


def test_languages_only_narrows_the_page(shared_client: TestClient) -> None:
    assert all(item["language"] == "fr" for item in _page(shared_client, languages_only=["fr-FR"])["items"])
    none = _page(shared_client, languages_only=["en"])
    assert none["items"] == [] and none["shortfall"]["because"]["excluded"] > 0


def test_excluded_ids_are_left_out_and_candidates_are_all_there_is(shared_client: TestClient) -> None:
    first = _ids(_page(shared_client))
    assert not first & _ids(_page(shared_client, exclude_ids=sorted(first)))
    assert _ids(_page(shared_client, candidate_ids=["v1", "v2", "unknown"])) == {"v1", "v2"}


def test_filters_meet(shared_client: TestClient) -> None:
    page = _page(shared_client, candidate_ids=["v1", "v2", "v3"], topics=["S3"], languages_only=["fr"])
    assert _ids(page) == {"v3"}


def test_without_personalisation_a_page_knows_no_history(shared_client: TestClient) -> None:
    page = _page(shared_client, mode="non_personalised", explain="full")
    assert page["items"] and not any("cf" in item["sources"] for item in page["items"])


@pytest.mark.parametrize("surface", ["for_you", "following", "local", "together"])
def test_every_surface_answers(shared_client: TestClient, surface: str) -> None:
    assert _page(shared_client, surface=surface, topics=["S3"])["degraded"] == []


def test_what_is_included_is_told_of_each_item(shared_client: TestClient) -> None:
    item = _page(shared_client, include=["title", "creator", "caption"])["items"][0]
    assert item["title"].startswith("a video about thing") and item["caption"] is None
    assert item["creator"]["creator_id"] == item["creator_id"]


def test_a_filter_belongs_to_the_request_that_an_id_stands_for(client: TestClient) -> None:
    def ask(**more: Any) -> int:
        return client.post("/v1/feed", json={"user_id": "u0", "request_id": "r", **more}).status_code

    assert [ask(), ask(), ask(topics=["S3"]), ask(languages_only=["fr"])] == [200, 200, 409, 409]


def test_a_page_after_a_page_comes_again_byte_for_byte(client: TestClient) -> None:
    """Two retries: each says that it is one, and nothing else differs."""
    first = client.post("/v1/feed", json={"user_id": "u0", "size": 5}).json()
    bodies = [client.post("/v1/feed", json={"user_id": "u0", "size": 5, "cursor": first["cursor"]}) for _ in range(3)]
    assert not _ids(first) & _ids(bodies[0].json())
    assert bodies[1].content == bodies[2].content
    assert bodies[0].content.replace(b'"replayed":false', b'"replayed":true') == bodies[1].content


@pytest.mark.parametrize(
    ("fields", "place"),
    [({"topics": ["S99"]}, "topics"), ({"topics": "S3"}, "topics"), ({"languages_only": ["?"]}, "languages_only")],
)
def test_a_filter_that_cannot_be_read_is_named(shared_client: TestClient, fields: Any, place: str) -> None:
    refused = shared_client.post("/v1/feed", json={"user_id": "u0", **fields})
    assert refused.status_code == 422 and place in refused.json()["detail"]
