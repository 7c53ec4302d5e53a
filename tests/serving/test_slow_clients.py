"""Limits against those who send slowly, or nothing at all: attacks on a real server, over its socket."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from serving import http_protocol, request_body
from serving.request_body import MB
from serving.settings import Settings
from tests.serving.sockets import Address, ask, head, is_alive, running, until_closed, whole


@pytest.fixture(scope="module")
def hasty(keyed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A service with little patience: half a second for a head, one for a body, 20 connections."""
    state = tmp_path_factory.mktemp("hasty") / "state.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.5)
        patch.setattr(http_protocol, "KEEP_ALIVE_S", 2.0)
        patch.setattr(request_body, "BODY_TIMEOUT_S", 1.0)
        patch.setattr(request_body, "MAX_HELD_BYTES", 2 * MB)
        with running(replace(keyed, state=state, max_connections=20)) as where:
            yield where


@pytest.mark.parametrize(
    ("opening", "drop"),
    [
        (b"", b""),  # says nothing
        (b"GET / HTTP/1.1\r\nX: ", b"a"),  # a byte at a time
        (b"", b"\r\n"),  # blank lines, which may stand before a request
        (head("/health/live", method="GET", key=""), b""),  # quiet after an answer
        (head("/health/live", method="GET", key=""), b"G"),  # slow after an answer
        (head("/v1/feed", "Content-Length: 1000", key="none"), b" "),  # goes on after a refusal
    ],
)
def test_who_does_not_come_to_the_end_of_a_head_is_closed(hasty: Address, opening: bytes, drop: bytes) -> None:
    with socket.create_connection(hasty, timeout=0.1) as connection:
        connection.sendall(opening)
        began, said = time.monotonic(), b""
        while time.monotonic() - began < 8:
            try:
                connection.send(drop)
                part = connection.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if not part:
                break
            said += part
        assert time.monotonic() - began < 5
    assert b" 408 " in said or drop != b"a"
    assert is_alive(hasty)


def test_idle_connections_lock_nobody_out(hasty: Address) -> None:
    """More than there is room for, again and again, each with a half head; whoever asks is answered."""
    with ExitStack() as stack:
        for n in range(100):
            idle = stack.enter_context(socket.create_connection(hasty, timeout=10))
            idle.sendall(b"GET / HTTP/1.1\r\n")
            if n % 10 == 0:
                assert ask(hasty, whole("/v1/feed", b'{"user_id": "u"}'))[0] == 200


def test_who_asked_just_now_is_not_closed_for_a_newcomer(hasty: Address) -> None:
    """Five clients keep their connections and ask now and then, while strangers come and go in their hundreds."""
    asked = head("/v1/version", method="GET")
    with ExitStack() as stack:
        kept = [stack.enter_context(socket.create_connection(hasty, timeout=10)) for _ in range(5)]
        for n in range(200):
            idle = stack.enter_context(socket.create_connection(hasty, timeout=10))
            with suppress(OSError):
                idle.sendall(b"GET / HTTP/1.1\r\n")
            if n % 20 == 0:
                for connection in kept:
                    connection.sendall(asked)
                    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_where_all_have_asked_just_now_a_newcomer_is_told_to_come_again(hasty: Address) -> None:
    asked = head("/v1/version", method="GET")
    with ExitStack() as stack:
        for _ in range(20):
            kept = stack.enter_context(socket.create_connection(hasty, timeout=10))
            kept.sendall(asked)
            assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        with socket.create_connection(hasty, timeout=10) as newcomer:
            assert until_closed(newcomer).startswith(b"HTTP/1.1 503")


def test_a_head_after_a_pause_has_its_own_time(hasty: Address) -> None:
    """Longer than a head may take, a client says nothing; then it asks, and is answered."""
    asked = head("/v1/version", method="GET")
    with socket.create_connection(hasty, timeout=10) as connection:
        for _ in range(2):
            connection.sendall(asked[:20])
            time.sleep(0.1)
            connection.sendall(asked[20:])
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(1.2)


def test_a_slow_body_is_cut_off(hasty: Address) -> None:
    with socket.create_connection(hasty, timeout=10) as connection:
        connection.sendall(head("/v1/feed", "Content-Length: 1000") + b"{")
        assert until_closed(connection).startswith(b"HTTP/1.1 408")


def test_slow_bodies_take_no_place_of_a_request(hasty: Address) -> None:
    """Four requests may be in flight; ten bodies are on their way."""
    with ExitStack() as stack:
        for _ in range(10):
            slow = stack.enter_context(socket.create_connection(hasty, timeout=10))
            slow.sendall(head("/v1/feed", "Content-Length: 1000") + b"{")
        time.sleep(0.2)
        assert ask(hasty, whole("/v1/feed", b'{"user_id": "u"}'))[0] == 200


def test_large_bodies_on_their_way_are_bounded_together(hasty: Address) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(hasty, timeout=10)) for _ in range(6)]
        for connection in slow:
            connection.sendall(head("/v1/events", "Content-Length: 900000") + b" " * 600_000)
        answers = [until_closed(connection).split()[1] for connection in slow]
    assert b"503" in answers and set(answers) == {b"503", b"408"}
    assert ask(hasty, whole("/v1/feed", b'{"user_id": "u"}'))[0] == 200


def test_who_pipelines_without_end_and_reads_nothing_is_closed_and_locks_nobody_out(hasty: Address) -> None:
    """Twice as many strangers as there are connections, each with ten thousand requests in one go."""
    many = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    with ExitStack() as open_ones:
        strangers = []
        for _ in range(40):
            stranger = open_ones.enter_context(socket.create_connection(hasty, timeout=5))
            strangers.append(stranger)
            with suppress(OSError):
                stranger.sendall(many)
        began = time.monotonic()
        assert is_alive(hasty)
        assert time.monotonic() - began < 8  # on a busy machine; a tenth of a second on an idle one
        for stranger in strangers:
            with suppress(OSError):
                assert len(until_closed(stranger)) < len(many)


def test_who_does_not_read_answers_is_closed(hasty: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_TIMEOUT_S", 0.5)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(5)
        connection.connect(hasty)
        asked = head("/openapi.json", method="GET")
        began = time.monotonic()
        with suppress(ConnectionError, TimeoutError):
            while time.monotonic() - began < 20:
                connection.sendall(asked * 8)
                time.sleep(0.2)
        assert time.monotonic() - began < 15
        received = until_closed(connection)
    assert is_alive(hasty)
    assert not received.endswith(b"}")
