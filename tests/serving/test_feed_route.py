"""`POST /v1/feed` in front of the framework reads what the framework reads, and leaves every refusal to it."""

import json
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.messages import FeedRequest
from recsys.types import Fields
from serving.bodies import FeedBody
from serving.feed_route import read_request

texts = st.sampled_from(
    ["u0", "", " ", "u\n", "MA", "MA\n", "MA-06", "MA-06\n", "ary", "fr-MA\n", "a\u202eb", "a\u0000", "é" * 128,
     "é" * 129, "search", "related", "for_you", "18+", "full", "title", "non_personalised", "q" * 201, "continue"]
)  # fmt: skip
plain = texts | st.none() | st.booleans() | st.integers(-2, 60) | st.sampled_from([7.0, 7.5, 10**30, 1e300])
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4), max_leaves=4)


def objects(names: list[str], inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Fields]:
    return st.dictionaries(st.sampled_from(names), inner, max_size=5)


contexts = objects(["country", "region", "languages", "age_band", "device", "agee_band"], values)
choices = objects(["pause_id", "choice", "more"], values)
bodies = objects(
    [*FeedRequest.__struct_fields__, "sizze"], values | contexts | choices | st.lists(texts, max_size=3)
).map(lambda body: {"user_id": "u0", **body})


def read_by_the_framework(body: bytes) -> FeedRequest | None:
    try:
        return FeedBody.model_validate(msgspec.json.decode(body)).to_request()
    except ValidationError:
        return None


@examples(max_examples=300, deadline=None)
@given(bodies)
def test_a_body_is_read_as_the_framework_reads_it(body: Fields) -> None:
    sent = json.dumps(body).encode()
    assert read_request(sent) == read_by_the_framework(sent)


def test_the_short_form_asks_for_texts_as_the_long_one(client: TestClient) -> None:
    short = client.get("/v1/feed/u0?size=5&include=title,creator").json()["items"]
    body = {"user_id": "u1", "size": 5, "include": ["title", "creator"]}
    long = client.post("/v1/feed", json=body).json()["items"]
    assert short and {frozenset(item) for item in short} == {frozenset(item) for item in long}
    assert all(item["title"] for item in short)
    assert client.get("/v1/feed/u0?include=price").status_code == 422


@examples(deadline=None)
@given(contexts.map(lambda context: {"user_id": "u", "context": context}))
def test_a_context_is_read_as_the_framework_reads_it(body: Fields) -> None:
    sent = json.dumps(body).encode()
    assert read_request(sent) == read_by_the_framework(sent)


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u", "size": 50, "request_id": "r", "surface": "search", "query": "نوم\n", "explain": "full"},
        {"user_id": "u", "surface": "related", "anchor_item_id": "v", "include": ["title", "title"], "dry_run": True},
        {"user_id": "u", "pause_choice": {"pause_id": "p", "choice": "stop"}, "candidate_ids": [], "cursor": "c\u0000"},
        {"user_id": "u", "context": {"country": "MA", "languages": ["ary"], "age_band": "16-17", "device": "\n"}},
        {"user_id": "u", "context": {}, "candidate_ids": None, "exclude_ids": ["a"] * 1_000, "session_id": "s"},
    ],
)
def test_what_fits_the_contract_does_not_reach_the_framework(body: Fields) -> None:
    sent = json.dumps(body).encode()
    assert read_request(sent) == read_by_the_framework(sent) is not None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"[" * 200_000, b'{"user_id": "\xff"}', b'{"user_id": "\\ud800"}',
     b'{"user_id": "u", "size": 1e999}', b'{"user_id": "u", "size": NaN}',
     b'{"user_id": "u", "context": {"x": {"user_id": 1}}}', b'{"user_id": "u", "user_id": 7}'],
)  # fmt: skip
def test_what_is_no_request_is_left_to_the_framework(body: bytes) -> None:
    assert read_request(body) is None


def test_of_a_field_that_comes_twice_the_last_one_counts_in_both() -> None:
    sent = b'{"user_id": "u", "size": 5, "size": 6, "context": {"country": "MA"}, "context": {"device": "tv"}}'
    assert read_request(sent) == read_by_the_framework(sent)


def test_a_page_and_an_error_are_sent_as_the_framework_sends_them(
    shared_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = _headers_and_problems(shared_client)
    monkeypatch.setattr("serving.feed_route.read_request", lambda body: None)
    assert _headers_and_problems(shared_client) == front
    assert [status for status, _, _ in front] == [200, 409, 422, 422]


def _headers_and_problems(client: TestClient) -> list[tuple[int, dict[str, str], Fields]]:
    asked = [
        {"user_id": "u0", "request_id": "first"},
        {"user_id": "u0", "request_id": "first", "size": 3},
        {"user_id": "u0", "cursor": "forged"},
        {"user_id": "u0", "surface": "related", "anchor_item_id": "nowhere"},
    ]
    answers = [client.post("/v1/feed", json=body, headers={"X-Request-ID": "call-1"}) for body in asked]
    for answer in answers:
        answer.headers.pop("content-length")  # of a page it may differ: what was taken, how often it was asked
    return [(a.status_code, dict(a.headers), {} if a.is_success else a.json()) for a in answers]
