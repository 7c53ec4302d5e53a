"""Overload: what is begun, what is refused before any work, and what a page leaves out when its time is short."""

import asyncio
import json
import math
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event
from time import perf_counter
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from serving import admission, feed_route, middleware
from serving.admission import MAX_THREADS, Admission, is_page
from serving.deadline import DEADLINE, NO_DEADLINE, Deadline, read_deadline_s, store_wait_s, time_used
from serving.settings import Settings
from tests.serving.sockets import Address, ask, head, is_alive, running, until_closed, whole

BODY = b'{"user_id": "u", "size": 5}'


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of admissions: its last entry is now."""
    now = [0.0]
    monkeypatch.setattr(admission, "perf_counter", lambda: now[-1])
    return now


def admitted(n_pages: int, page_s: float) -> Admission:
    gate = Admission(max_in_flight=64, deadline_s=1.0)
    gate.n_pages, gate.page_s = n_pages, page_s
    return gate


def test_a_page_is_refused_once_half_of_its_time_would_go_by_in_waiting() -> None:
    assert not admitted(10, 0.050).is_late(1.0)
    assert admitted(11, 0.050).is_late(1.0)
    assert not admitted(11, 0.050).is_late(2.0)


@given(st.integers(0, MAX_THREADS - 1), st.floats(0, 100), st.floats(0.001, 60))
def test_what_need_not_wait_is_never_refused_however_long_pages_took(n: int, page_s: float, seconds: float) -> None:
    """Else a stall would shut the door for good: nobody would show that pages are quick again."""
    assert not admitted(n, page_s).is_late(seconds)


def test_four_pages_at_once_that_take_forty_ms_take_ten_each(moments: list[float]) -> None:
    gate = Admission(max_in_flight=64, deadline_s=1.0)
    for n in range(1, 2_001):
        for _ in range(4 - gate.n_pages):
            gate.begin_page()
        moments.append(n * 0.010)
        gate.end_page()
    assert gate.page_s == pytest.approx(0.010)


def test_idle_time_is_no_time_of_a_page(moments: list[float]) -> None:
    gate = Admission(max_in_flight=64, deadline_s=1.0)
    for n in range(1_000):
        moments.append(n * 1.0)
        gate.begin_page()
        moments.append(n * 1.0 + 0.010)
        gate.end_page()
    assert gate.page_s == pytest.approx(0.010)


@pytest.mark.parametrize(
    ("path", "expected"), [("/v1/feed", True), ("/v1/feed/u", True), ("/v1/rank", True), ("/v1/feeds", False)]
)
def test_pages_are_known_by_their_address(path: str, expected: bool) -> None:
    assert is_page(path) is expected


@given(st.integers(1, 60_000))
def test_a_deadline_is_read_as_milliseconds(ms: int) -> None:
    assert read_deadline_s(str(ms).encode()) == ms / 1_000


@pytest.mark.parametrize("value", [b"", b"0", b"60001", b"-5", b"1.5", b"1e3", b"\xb2", b"9" * 400])
def test_what_is_no_deadline_is_none(value: bytes) -> None:
    assert read_deadline_s(value) is None


def test_without_a_deadline_no_time_is_used_and_the_store_may_take_what_it_needs() -> None:
    assert (time_used(), store_wait_s(), NO_DEADLINE.left_s()) == (0.0, None, math.inf)


def test_the_store_is_waited_for_until_there_is_just_time_for_the_safe_feed() -> None:
    token = DEADLINE.set(Deadline(0.0, 1.0))  # long ago
    assert (store_wait_s(), time_used() > 1) == (0.0, True)
    DEADLINE.reset(token)


@pytest.fixture(scope="module")
def keyed_address(keyed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Room for 64, as in a real service."""
    state = tmp_path_factory.mktemp("overload") / "state.db"
    with running(replace(keyed, state=state, max_in_flight=64)) as where:
        yield where


@pytest.mark.parametrize("value", ["soon", "0", "99999"])
def test_a_deadline_that_is_none_is_told_so(keyed_address: Address, value: str) -> None:
    sent = head("/v1/feed", f"Content-Length: {len(BODY)}", "Connection: close", f"X-Sanad-Deadline-Ms: {value}") + BODY
    status, problem = ask(keyed_address, sent)
    assert status == 400
    assert problem["detail"].startswith(f"Found X-Sanad-Deadline-Ms '{value}', expected a whole number of milliseconds")


def test_a_page_whose_time_is_nearly_gone_is_a_simpler_one_or_none(keyed_address: Address) -> None:
    """A millisecond is over before the ranking. What a hurried page keeps: tests/recsys/feed/test_plan.py."""
    sent = head("/v1/feed", f"Content-Length: {len(BODY)}", "Connection: close", "X-Sanad-Deadline-Ms: 1") + BODY
    for status, answer in (ask(keyed_address, sent) for _ in range(8)):
        assert status == 503 or answer["degraded"] in (["ranking"], ["ledger"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/feed", {"user_id": "u0"}),
        ("GET", "/v1/feed/u0", None),
        ("POST", "/v1/rank", {"user_id": "u0", "candidates": [{"item_id": "v1"}]}),
    ],
)
def test_no_page_is_begun_after_its_time_whatever_asks_for_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    monkeypatch.setattr(middleware, "Deadline", lambda began, seconds: Deadline(began - 2 * seconds, seconds))
    answer = client.request(method, path, json=body)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1")
    assert answer.json()["detail"] == "The page could not be begun in time; ask again in 1 s."
    monkeypatch.undo()
    assert client.request(method, path, json=body).status_code == 200


def test_a_request_has_no_deadline_of_the_page_that_it_was_pipelined_behind(client: TestClient) -> None:
    """The server begins it in the context of that page, whose time is over."""

    async def report() -> int:
        DEADLINE.set(Deadline(perf_counter() - 10, 1.0))
        transport = httpx.ASGITransport(app=client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as caller:
            events = [{"event_id": "e1", "user_id": "u0", "kind": "like", "item_id": "v1"}]
            return (await caller.post("/v1/events", json={"events": events})).status_code

    assert asyncio.run(report()) == 200


@pytest.mark.parametrize("lines", [[], ["Connection: close"]])
def test_a_flood_is_refused_by_its_heads_and_those_that_were_begun_are_answered(
    keyed_address: Address, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """Four pages are held up and 60 wait: what comes then is refused unread, also without a key."""
    began, go_on = Barrier(MAX_THREADS + 1), Event()

    def slow(deps: Any, request: Any) -> Any:
        if not go_on.is_set():
            began.wait(20)
            go_on.wait(20)
        return make_page(deps, request)

    make_page = feed_route.make_page
    monkeypatch.setattr(feed_route, "make_page", slow)
    waiting = whole("/v1/feed", BODY).replace(b"X-API-Key", b"X-Sanad-Deadline-Ms: 60000\r\nX-API-Key")
    with ThreadPoolExecutor(64) as pool:
        begun = [pool.submit(ask, keyed_address, waiting) for _ in range(64)]
        began.wait(20)
        for _ in range(200):
            if refusal(keyed_address, lines)[0].startswith(b"HTTP/1.1 503"):
                break
        answers = refusal(keyed_address, lines)
        without_body = refusal(keyed_address, ["Connection: close"], "HEAD")[0]
        assert without_body.endswith(b"\r\n\r\n") and without_body.count(b"HTTP/1.1 ") == 1
        assert is_alive(keyed_address)
        go_on.set()
        assert [future.result()[0] for future in begun] == [200] * 64
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in answer.lower()
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert body["type"] == "urn:sanad:problem:unavailable" and body["detail"].endswith("ask again in 1 s.")
    assert ask(keyed_address, whole("/v1/feed", BODY))[0] == 200


def refusal(address: Address, lines: list[str], method: str = "POST") -> list[bytes]:
    """What three requests on one connection are told; of those that end a connection, one."""
    sent = head("/v1/feed", f"Content-Length: {len(BODY)}", *lines, key="none").replace(b"POST", method.encode()) + BODY
    with socket.create_connection(address, timeout=20) as connection:
        if lines:
            connection.sendall(sent)
            return [until_closed(connection)]
        answers = []
        for _ in range(3):
            connection.sendall(sent)
            answers.append(connection.recv(65_536))
        return answers
