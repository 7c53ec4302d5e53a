"""What never reaches a route is answered as a problem too, over the real socket."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving.run import run_in_thread
from serving.settings import Settings


@pytest.fixture(scope="module")
def address(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    state = tmp_path_factory.mktemp("protocol") / "state.db"
    with run_in_thread(Settings(artifact=tiny_folder, state=state, port=0)) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


def answer_to(address: tuple[str, int], sent: bytes) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """Status line, headers and body of what a service answers before it closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65_536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return status.encode(), headers, json.loads(body)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/feed HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",  # a client that speaks TLS
    ],
)
def test_what_is_no_http_is_a_problem(address: tuple[str, int], sent: bytes) -> None:
    status, headers, problem = answer_to(address, sent)
    assert status == b"HTTP/1.1 400 Bad Request" and headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close" and headers["x-request-id"] == problem["request_id"]
    assert problem["type"] == "urn:sanad:problem:unreadable" and "no HTTP request" in problem["detail"]


@pytest.mark.parametrize("path", ["/v1/feed/50%", "/v1/feed/50%2", "/v1/feed/%zz", "/v1/feed/u?size=%"])
def test_a_lone_percent_sign_is_refused(address: tuple[str, int], path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    status, _, problem = answer_to(address, sent)
    assert status.startswith(b"HTTP/1.1 400") and "write a percent sign as %25" in problem["detail"]
