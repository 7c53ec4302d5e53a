"""Who may call the service, and how much of it at once."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.app import create_app
from serving.run import open_engine
from serving.settings import Settings
from serving.swap import Models

OLD, NEW = "an old key", "a new key"
DIGESTS = tuple(hashlib.sha256(key.encode()).hexdigest() for key in (OLD, NEW))


@pytest.fixture(scope="module")
def client(shared_client: TestClient) -> TestClient:
    """A service without keys."""
    return shared_client


def test_with_keys_only_their_holders_may_call(
    settings: Settings, clock: Any, local: Callable[..., TestClient]
) -> None:
    keyed = replace(settings, keys=DIGESTS)
    with open_engine(keyed, clock=clock) as engine:
        app = create_app(engine, settings=keyed, clock=clock)
        with local(app, "203.0.113.9") as client:
            for key in (OLD, NEW):
                assert client.get("/v1/version", headers={"X-API-Key": key}).status_code == 200
            for headers in ({}, {"X-API-Key": "another"}, {"X-API-Key": DIGESTS[0]}, {"X-API-Key": ""}):
                answer = client.get("/v1/version", headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"]
                assert answer.headers["content-type"] == "application/problem+json"
            assert client.get("/openapi.json").status_code == 401
            assert client.get("/health/live").status_code == 200
            assert client.get("/health/ready").status_code == 200


def test_without_keys_only_this_machine_may_call(client: TestClient, local: Callable[..., TestClient]) -> None:
    for address, status in (("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("::ffff:127.0.0.1", 200),
                            ("10.0.0.7", 403), ("::ffff:10.0.0.7", 403), ("testclient", 403)):  # fmt: skip
        assert local(client.app, address).get("/v1/version").status_code == status, address


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "feeds.example.org"}, 403),
        ({"Host": "127.0.0.1.example.org"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
        ({"Forwarded": "for=203.0.113.9"}, 403),
    ],
)
def test_without_keys_strangers_names_and_proxies_are_not_local(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.get("/v1/version", headers=headers).status_code == status


def test_a_service_without_keys_says_so(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    create_app(Models(None, None, None, None), settings=settings)
    assert "no service keys" in caplog.text


def test_more_requests_than_allowed_are_told_to_come_back(settings: Settings, clock: Any) -> None:
    """One request is held inside the service; it has the only place."""
    is_held, may_go_on = Event(), Event()

    def held_timer() -> float:
        is_held.set()
        assert may_go_on.wait(10)
        return 0.0

    one = replace(settings, max_in_flight=1)
    with open_engine(one, clock=clock) as engine, ThreadPoolExecutor(1) as pool:
        app = create_app(replace(engine, timer=held_timer), settings=one, clock=clock)
        client = TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 1))
        held = pool.submit(client.post, "/v1/feed", json={"user_id": "u0", "size": 3})
        assert is_held.wait(10)
        refused = client.get("/openapi.json")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/health/live").status_code == 200
        may_go_on.set()
        assert held.result().status_code == 200
        assert client.get("/openapi.json").status_code == 200


def test_a_private_character_in_an_address_is_no_slash(client: TestClient) -> None:
    answer = client.get("/v1/users/u%EE%80%80export")
    assert answer.status_code == 404 and "U+E000" in answer.json()["detail"]
    assert client.get("/v1/items/a%EE%80%80b").status_code == 404
