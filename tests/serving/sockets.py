"""A real service on a socket, and requests to it byte by byte: for tests that attack it."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from serving.run import run_in_thread
from serving.settings import Settings

KEY = "the key"
Address = tuple[str, int]


@contextmanager
def running(settings: Settings) -> Iterator[Address]:
    with run_in_thread(settings) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


def head(path: str, *lines: str, method: str = "POST", key: str = KEY) -> bytes:
    first = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"X-API-Key: {key}"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


def whole(path: str, body: bytes, **more: str) -> bytes:
    return head(path, f"Content-Length: {len(body)}", "Connection: close", **more) + body


def until_closed(connection: socket.socket) -> bytes:
    """What a connection says before it ends, however it ends."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionError:
        pass
    return received


def ask(address: Address, sent: bytes) -> tuple[int, Any]:
    """Status and body of one answer."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(sent)
        answer_head, _, body = until_closed(connection).partition(b"\r\n\r\n")
    return int(answer_head.split()[1]), json.loads(body)


def is_alive(address: Address) -> bool:
    return ask(address, head("/health/live", "Connection: close", method="GET", key=""))[0] == 200


def sent_until_closed(address: Address, opening: bytes, more: bytes, n_most: int) -> tuple[int, bytes]:
    """How many bytes a server takes of an endless request, and what it says."""
    n_sent = 0
    with socket.create_connection(address, timeout=20) as connection:
        try:
            connection.sendall(opening)
            while n_sent < n_most:
                n_sent += connection.send(more)
        except ConnectionError:
            pass
        return n_sent, until_closed(connection)
