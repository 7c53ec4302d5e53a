"""Bad input is answered with a problem in sentences, and never with the inside of the service."""

import json
import logging
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from recsys.feed.engine import Engine
from recsys.types import Fields
from serving.app import create_app
from serving.problems import MEDIA_TYPE
from serving.request_body import BODY_LIMITS
from serving.settings import Settings
from serving.swap import Models

JSON = {"Content-Type": "application/json"}
MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}


@pytest.fixture(scope="module")
def client(shared_client: TestClient) -> TestClient:
    """What is refused leaves nothing behind, so one service is enough."""
    return shared_client


def assert_problem(answer: Response, status: int) -> Fields:
    """An RFC 9457 answer of this status; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem: Fields = answer.json()
    assert problem.keys() == MEMBERS | ({"errors"} if status == 422 else set())
    assert problem["status"] == status
    assert problem["type"].startswith("urn:sanad:problem:")
    assert len(problem["detail"]) < 1_000
    assert all(error.keys() == {"loc", "msg", "found", "expected"} for error in problem.get("errors", []))
    return problem


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 42}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": "u" * 129}, "user_id"),
        ({"user_id": "u\n1"}, "user_id"),
        ({"user_id": "u\u200f1"}, "user_id"),
        ({"user_id": "u\u202e1"}, "user_id"),
        ({"user_id": "u\u0000"}, "user_id"),
        ({"user_id": "u", "size": 0}, "size"),
        ({"user_id": "u", "size": -1}, "size"),
        ({"user_id": "u", "size": 51}, "size"),
        ({"user_id": "u", "size": 10_000}, "size"),
        ({"user_id": "u", "size": 10**30}, "size"),
        ({"user_id": "u", "size": 7.5}, "size"),
        ({"user_id": "u", "size": "7"}, "size"),
        ({"user_id": "u", "size": True}, "size"),
        ({"user_id": "u", "sizze": 7}, "sizze"),
        ({"user_id": "u", "surface": "everywhere"}, "surface"),
        ({"user_id": "u", "mode": "calm"}, "mode"),
        ({"user_id": "u", "surface": "search", "query": "q" * 201}, "query"),
        ({"user_id": "u", "context": {"country": "Morocco"}}, "country"),
        ({"user_id": "u", "context": {"region": "Fes"}}, "region"),
        ({"user_id": "u", "context": {"languages": ["darija!"]}}, "0"),
        ({"user_id": "u", "context": {"age_band": "17"}}, "age_band"),
        ({"user_id": "u", "context": {"agee_band": "18+"}}, "agee_band"),
        ({"user_id": "u", "exclude_ids": ["v"] * 1_001}, "exclude_ids"),
        ({"user_id": "u", "candidate_ids": "v1"}, "candidate_ids"),
        ({"user_id": "u", "pause_choice": {"pause_id": "p", "choice": "more"}}, "choice"),
        ({"user_id": "u", "explain": "all"}, "explain"),
        ({"user_id": "u", "cursor": "not ours"}, "cursor"),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, body: Fields, where: str) -> None:
    problem = assert_problem(client.post("/v1/feed", json=body), 422)
    assert str(problem["errors"][0]["loc"][-1]) == where
    assert where in problem["detail"]
    assert problem["errors"][0]["expected"]


def test_every_wrong_field_is_told_at_once(client: TestClient) -> None:
    problem = assert_problem(client.post("/v1/feed", json={"user_id": "", "size": 0, "sizze": 1}), 422)
    assert {error["loc"][-1] for error in problem["errors"]} == {"user_id", "size", "sizze"}


@pytest.mark.parametrize(
    "body",
    [
        {"surface": "search"},
        {"surface": "related"},
        {"query": "sleep"},
        {"anchor_item_id": "v1"},
        {"surface": "related", "anchor_item_id": "nowhere"},
    ],
)
def test_what_belongs_to_a_surface_comes_with_it(client: TestClient, body: Fields) -> None:
    assert_problem(client.post("/v1/feed", json={"user_id": "u0", **body}), 422)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"user_id=u1",
        b'{"user_id": "\xff\xfe"}',
        b'{"user_id": "u", "size": NaN}',
        b'{"user_id": "u", "size": Infinity}',
        b'{"user_id": "u", "size": 1e999}',
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "\\ud800 and more"}',
        b'{"user_id": "\\udc00"}',
        '{"user_id": "u"}'.encode("utf-16"),
        b"[" * 200_000,
    ],
)
def test_what_is_not_json_in_utf8_is_refused(client: TestClient, body: bytes) -> None:
    assert_problem(client.post("/v1/feed", content=body, headers=JSON), 400)


def test_a_million_typos_are_one_sentence(client: TestClient) -> None:
    typos = {f"k{n}": n for n in range(300)}
    for body in ({"user_id": "u", **typos}, {"user_id": "u", "context": typos}):
        assert "at most 100" in assert_problem(client.post("/v1/feed", json=body), 422)["detail"]
    batch = {"events": [typos] * 3}
    assert len(assert_problem(client.post("/v1/events", json=batch), 422)["errors"]) == 100


@pytest.mark.parametrize("body", [b"[]", b"null", b'"u1"', b"7", b""])
def test_json_that_is_no_object_is_refused(client: TestClient, body: bytes) -> None:
    assert_problem(client.post("/v1/feed", content=body, headers=JSON), 422)


def test_another_media_type_is_refused_before_it_is_read(client: TestClient) -> None:
    """Which also keeps a page in somebody's browser from posting here without being asked first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/v1/feed", content=b'{"user_id": "u"}', headers={"Content-Type": kind})
        assert_problem(answer, 415)


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/events"])
def test_a_string_above_the_limit_is_too_large_and_a_shorter_one_is_cut_in_the_answer(
    client: TestClient, path: str
) -> None:
    n_bytes = BODY_LIMITS[path].n_bytes
    assert_problem(client.post(path, json={"user_id": "u" * n_bytes}), 413)
    problem = assert_problem(client.post(path, json={"user_id": "u" * (n_bytes - 100)}), 422)
    assert all(len(error["found"]) < 100 for error in problem["errors"])


def test_a_long_value_of_an_event_is_cut_in_the_answer(client: TestClient) -> None:
    long = {"event_id": "e", "user_id": "u", "kind": "like", "item_id": "v" * (9 * 2**20)}
    told = client.post("/v1/events", json={"events": [long]}).json()
    assert told["accepted"] == 0
    assert len(told["rejected"][0]["reason"]) < 200


def test_a_body_that_grows_without_saying_its_length_is_cut_off(client: TestClient) -> None:
    chunks = (b"x" * 2**20 for _ in range(12))
    assert_problem(client.post("/v1/feed", content=chunks, headers=JSON), 413)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/feed", "POST"),
        ("DELETE", "/v1/feed/u0", "GET"),
        ("PATCH", "/v1/events", "POST"),
        ("POST", "/v1/items/v0", "DELETE, GET, PATCH, PUT"),
        ("POST", "/health/live", "GET"),
        ("POST", "/openapi.json", "GET"),
    ],
)
def test_another_method_is_told_which_ones_there_are(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/v1", "/v1/feeds", "/v1/feed/", "/docs", "/v1/users/a/b", "/v1/items/nowhere"])
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404)


def test_items_nobody_knows_are_not_found(client: TestClient) -> None:
    assert_problem(client.patch("/v1/items/nowhere", json={"is_hidden": True}), 404)
    assert_problem(client.delete("/v1/items/nowhere"), 404)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/feed/u0?size=0", "size"),
        ("/v1/feed/u0?size=51", "size"),
        ("/v1/feed/u0?size=many", "size"),
        ("/v1/feed/u0?sizze=3", "sizze"),
        (f"/v1/feed/{'u' * 129}", "user_id"),
        ("/v1/feed/u%00", "user_id"),
        ("/v1/users/%E2%80%8F", "user_id"),
    ],
)
def test_a_wrong_address_is_named(client: TestClient, path: str, where: str) -> None:
    assert assert_problem(client.get(path), 422)["errors"][0]["loc"][-1] == where


def test_an_address_that_is_not_utf8_is_refused(client: TestClient) -> None:
    assert_problem(client.get("/v1/feed/%ff%fe"), 400)
    assert_problem(client.get("/v1/feed/u0?size=%ff"), 400)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"country": "maroc"}, "country"),
        ({"age_band": "adult"}, "age_band"),
        ({"consent": "yes"}, "consent"),
        ({"languages": "ary"}, "languages"),
        ({"agee_band": "18+"}, "agee_band"),
        ({"guardian_id": "g\u202e"}, "guardian_id"),
    ],
)
def test_a_wrong_profile_is_named_and_not_kept(client: TestClient, body: Fields, where: str) -> None:
    before = client.get("/v1/users/u0").json()
    problem = assert_problem(client.put("/v1/users/u0", json=body), 422)
    assert problem["errors"][0]["loc"][-1] == where
    assert client.get("/v1/users/u0").json()["country"] == before["country"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"title": None}, "title"),
        ({"published_at": "yesterday"}, "published_at"),
        ({"published_at": "0001-01-01T00:00:00+23:59"}, "published_at"),
        ({"published_at": True}, "published_at"),
        ({"risk_tier": "R5"}, "risk_tier"),
        ({"risk_tier": "r2"}, "risk_tier"),
        ({"risk_confidence": 1.5}, "risk_confidence"),
        ({"topics": ["S99"]}, "0"),
        ({"duration_s": -1}, "duration_s"),
        ({"min_age": 18.5}, "min_age"),
        ({"item_id": "another"}, "item_id"),
        ({"is_hiden": True}, "is_hiden"),
    ],
)
def test_a_wrong_item_is_named_and_not_kept(client: TestClient, change: Fields, where: str) -> None:
    item = {"creator_id": "c0", "published_at": "2026-11-20T18:00:00Z", "title": "one", **change}
    problem = assert_problem(client.put("/v1/items/new", json=item), 422)
    assert str(problem["errors"][0]["loc"][-1]) == where
    assert_problem(client.get("/v1/items/new"), 404)


def test_a_title_may_turn_the_reading_direction_and_a_query_too(client: TestClient) -> None:
    item = {"creator_id": "c0", "published_at": "2026-11-20T18:00:00Z", "title": "\u200fنوم\u200e, part 2"}
    assert client.put("/v1/items/turning", json=item).json()["title"] == item["title"]
    search = {"user_id": "u0", "surface": "search", "query": "\u200fنوم"}
    assert client.post("/v1/feed", json=search).status_code == 200


def test_a_patch_cannot_empty_what_an_item_must_have(client: TestClient) -> None:
    assert_problem(client.patch("/v1/items/v1", json={"title": None}), 422)
    assert client.get("/v1/items/v1").json()["title"] == "a video about thing 1"


def test_a_typo_in_one_event_refuses_the_batch(client: TestClient) -> None:
    event = {"event_id": "e1", "user_id": "u0", "kind": "like", "item_id": "v1", "watch": 3}
    problem = assert_problem(client.post("/v1/events", json={"events": [event]}), 422)
    assert problem["errors"][0]["loc"] == ["body", "events", 0, "watch"]


@pytest.mark.parametrize("body", [{}, {"events": {}}, {"events": [7]}, {"events": [{}] * 1_001}, {"event": []}])
def test_a_batch_that_is_none_is_refused(client: TestClient, body: Fields) -> None:
    assert_problem(client.post("/v1/events", json=body), 422)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["event_id", "user_id", "kind", "at", "item_id", "creator_id", "query", "value", "watch_s",
                         "watch_fraction", "request_id", "position", "tracking_token"])  # fmt: skip


@examples(max_examples=150, deadline=None)
@given(st.dictionaries(names, anything | st.sampled_from(["like", "undo", "search", "u0", "v1"]), max_size=6))
def test_no_event_whatever_it_holds_breaks_the_service(client: TestClient, event: Fields) -> None:
    try:
        body = json.dumps({"events": [event]}).encode()
    except UnicodeEncodeError:
        return
    answer = client.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        told = answer.json()
        assert told["accepted"] + told["duplicates"] + len(told["rejected"]) == 1


def test_what_nobody_expected_is_logged_and_not_told(
    settings: Settings, local: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Models):
        def engine(self) -> Engine:
            raise RuntimeError("a secret of the inside")

    with (
        local(create_app(Broken(None, None, None, None), settings=settings), raise_server_exceptions=False) as client,
        caplog.at_level(logging.ERROR),
    ):
        answer = client.post("/v1/feed", json={"user_id": "u0"}, headers={"X-Request-ID": "call-9"})
    problem = assert_problem(answer, 500)
    assert "secret" not in answer.text
    assert problem["request_id"] == "call-9"
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["call failed"]
    assert caplog.records[-1].exc_info is not None
