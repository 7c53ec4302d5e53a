"""Limits against those who hold no key, or who send too much: attacks on a real server, over its socket."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from serving import bodies
from serving.request_body import BODY_LIMITS, MB, has_more_parts, limit_of
from serving.run import connection_limit
from serving.settings import Settings
from tests.serving.sockets import Address, ask, head, is_alive, running, sent_until_closed, until_closed, whole


@pytest.fixture(scope="module")
def address(keyed: Settings) -> Iterator[Address]:
    with running(keyed) as where:
        yield where


@pytest.mark.parametrize(
    ("opening", "more"),
    [
        (b"GET / HTTP/1.1\r\nX-Long: ", b"a" * 65_536),
        (b"GET / HTTP/1.1\r\n", b"X-Many: a\r\n" * 6_000),
        (b"GET /", b"a" * 65_536),
    ],
)
def test_a_head_without_an_end_is_cut_off_without_a_key(address: Address, opening: bytes, more: bytes) -> None:
    n_sent, answer = sent_until_closed(address, opening, more, 200 * 2**20)
    assert n_sent < 20 * 2**20  # what the buffers of two sockets take
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert is_alive(address)


@pytest.mark.parametrize("lines", [["X-Long: " + "a" * 33_000], [f"X-{n}: 1" for n in range(120)]])
def test_a_head_that_is_too_large_is_told_so(address: Address, lines: list[str]) -> None:
    status, problem = ask(address, head("/v1/version", *lines, method="GET", key=""))
    assert (status, problem["type"]) == (431, "urn:sanad:problem:large-head")


def test_a_head_below_the_limits_is_read(address: Address) -> None:
    lines = [*(f"X-{n}: 1" for n in range(90)), "X-Long: " + "a" * 30_000, "Connection: close"]
    assert ask(address, head("/v1/version", *lines, method="GET"))[0] == 200


def test_many_small_requests_in_one_piece_are_no_large_head(address: Address) -> None:
    one = head("/v1/version", method="GET")
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(one * 600 + head("/v1/version", "Connection: close", method="GET"))
        assert until_closed(connection).count(b"HTTP/1.1 200") == 601


@pytest.mark.parametrize("path", ["/v1/feed", "/v1/events", "/v1/users/u"])
def test_a_body_above_the_limit_of_its_address_is_too_large(address: Address, path: str) -> None:
    method = "PUT" if path == "/v1/users/u" else "POST"
    n_bytes = limit_of(path).n_bytes
    for n_more, expected in ((1, 413), (0, 422)):
        body = b'{"nobody": "' + b"a" * (n_bytes + n_more - 14) + b'"}'
        assert ask(address, whole(path, body, method=method))[0] == expected


def test_without_a_key_no_body_is_kept(address: Address) -> None:
    """Ten times 10 MB are offered; each is refused by its head."""
    for _ in range(10):
        _, answer = sent_until_closed(
            address, whole("/v1/events", b"", key="none").replace(b"Length: 0", b"Length: 10000000"), b" " * 65_536, MB
        )
        assert answer == b"" or answer.startswith(b"HTTP/1.1 401")
    assert is_alive(address)


@pytest.mark.parametrize(
    "body",
    [
        b'{"events": [' + b"[]," * 2_500_000 + b"[]]}",
        b'{"events": [' + b"{}," * 2_500_000 + b"{}]}",
        b'{"events": [' + b'"",' * 2_500_000 + b'""]}',
        b'{"events": ' + b"[" * 7_600_000,
        b'{"events": [' + b"1," * 3_800_000 + b"1]}",
        b'"' + b"\\a" * 3_800_000,
        b'"' * 7_600_000,
    ],
)
def test_millions_of_empty_lists_stop_nobody(address: Address, body: bytes) -> None:
    """Health is asked meanwhile. A parsed one took the process for seven seconds."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, address, whole("/v1/events", body))
        longest = 0.0
        while not answer.done():
            began = time.monotonic()
            assert is_alive(address)
            longest = max(longest, time.monotonic() - began)
        assert answer.result()[0] == 400
    assert longest < 2


def test_parts_are_counted_outside_of_texts() -> None:
    assert not has_more_parts(b'{"user_id": "' + b"[,{" * 50 + b'"}', 10)
    assert has_more_parts(b"[" + b"[]," * 9 + b"[]]", 10)
    assert not has_more_parts(b'["a\\",", "b"]' + b" " * 20, 4)


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 2_500_000, b'["' + b"\\\\" * 2_500_000 + b'"', b'"' * 5_000_000])
def test_counting_takes_no_longer_for_odd_quotes(text: bytes) -> None:
    """Of these 5 MB a search that begins anew at each quote would take weeks."""
    began = time.process_time()
    has_more_parts(text, 10_000)
    assert time.process_time() - began < 5
    assert not has_more_parts(b'"' + b'\\"' * 50, 2)  # one text without an end


def test_the_fullest_request_is_below_the_limits() -> None:
    ids = [f"{n:0128d}" for n in range(1_000)]
    feed = {"user_id": ids[0], "candidate_ids": ids, "exclude_ids": ids, "query": ",[" * 100}
    event = {name: ids[0] for name in bodies.EventBody.model_fields} | {"tracking_token": "t" * 2_048}
    features = {f"{n:032d}".replace("0", "o"): -123_456_789.123456 for n in range(16)}
    candidates = [{"item_id": name, "creator_id": name, "features": features} for name in ids]
    rank = {"user_id": ids[0], "candidates": candidates, "exclude_ids": ids, "feature_weights": features}
    for path, body in (("/v1/feed", feed), ("/v1/events", {"events": [event] * 1_000}), ("/v1/rank", rank)):
        sent = json.dumps(body).encode()
        assert len(sent) < BODY_LIMITS[path].n_bytes and not has_more_parts(sent, BODY_LIMITS[path].n_parts)


def test_few_descriptors_leave_few_connections(monkeypatch: pytest.MonkeyPatch, keyed: Settings) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4_096))
    assert connection_limit(keyed) == 192
    assert connection_limit(replace(keyed, max_connections=50)) == 50
