"""Who may call the service, and how much of it at once."""

import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from recsys.errors import ConfigError
from serving.app import create_app
from serving.run import open_engine, run_in_thread
from serving.settings import VARIABLES, Settings, is_loopback, read_settings, signing_key

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


def test_a_service_without_keys_says_so(
    settings: Settings, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    create_app(lambda: None, settings=settings)  # type: ignore[arg-type, return-value]  # nobody asks it
    assert "no service keys" in caplog.text


def test_more_requests_than_allowed_are_told_to_come_back(settings: Settings, clock: Any) -> None:
    """One request is kept waiting for the rest of its body; it holds the only place."""
    with run_in_thread(replace(settings, max_in_flight=1), clock=clock) as url, httpx.Client(base_url=url) as client:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as slow:
            body = b'{"user_id": "u0", "size": 3}'
            slow.sendall(
                b"POST /v1/feed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10]
            )
            for _ in range(100):  # until the service has seen the first half
                refused = client.get("/v1/version")
                if refused.status_code == 503:
                    break
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert client.get("/health/live").status_code == 200
            slow.sendall(body[10:])
            with slow.makefile("rb") as answer:
                assert b"200 OK" in answer.readline()
                answer.read()
        assert client.get("/v1/version").status_code == 200


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = Settings(artifact=tmp_path, keys=DIGESTS, signing_key=b"s" * 40)
    assert DIGESTS[0] not in repr(settings)
    assert "ssss" not in repr(settings)


def test_settings_come_from_arguments_then_variables_then_defaults(tmp_path: Path) -> None:
    environ = {"SANAD_PORT": "9000", "SANAD_HOST": "localhost", "SANAD_API_KEYS": ", ".join(DIGESTS), "HOME": "/root"}
    settings = read_settings(environ, artifact=tmp_path, port=9001, host=None)
    assert (settings.port, settings.host, settings.keys) == (9001, "localhost", DIGESTS)
    assert settings.max_in_flight == 64
    assert settings.state_file == tmp_path.parent / f"{tmp_path.name}.state.db"


def test_every_variable_sets_a_setting(tmp_path: Path) -> None:
    environ = {
        "SANAD_ARTIFACT": str(tmp_path), "SANAD_POLICY": "policy", "SANAD_EXPERIMENTS": "experiments",
        "SANAD_STATE": "state", "SANAD_HOST": "localhost", "SANAD_PORT": "9000", "SANAD_API_KEYS": ",".join(DIGESTS),
        "SANAD_SIGNING_KEY": "k" * 32, "SANAD_ALLOW_ASSUMED": "1", "SANAD_MAX_IN_FLIGHT": "2", "SANAD_LEXICON": "terms",
    }  # fmt: skip
    assert set(environ) == set(VARIABLES)
    assert read_settings(environ) == Settings(
        artifact=tmp_path, policy=Path("policy"), experiments=Path("experiments"), state=Path("state"),
        host="localhost", port=9_000, keys=DIGESTS, signing_key=b"k" * 32, allow_assumed=True, max_in_flight=2,
        harm_terms=Path("terms"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host": "0.0.0.0"}, "SANAD_API_KEYS"),
        ({"host": "192.168.1.4"}, "SANAD_API_KEYS"),
        ({"port": 70_000}, "port"),
        ({"keys": ("a plain key",)}, "sha256sum"),
        ({"signing_key": b"short"}, "SANAD_SIGNING_KEY"),
        ({"host": "0.0.0.0", "keys": DIGESTS, "allow_assumed": True}, "--allow-assumed"),
        ({"max_in_flight": 0}, "max_in_flight"),
    ],
)
def test_settings_that_are_wrong_are_refused_with_what_to_do(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Settings(artifact=tmp_path, **changed)
    assert "a plain key" not in str(raised.value)


def test_variables_that_are_wrong_are_told_all_at_once(tmp_path: Path) -> None:
    environ = {"SANAD_PROT": "1", "SANAD_PORT": "many", "SANAD_ALLOW_ASSUMED": "maybe"}
    with pytest.raises(ConfigError) as raised:
        read_settings(environ, artifact=tmp_path)
    assert len(raised.value.problems) == 3


def test_the_signing_key_is_made_once_and_kept(settings: Settings, tmp_path: Path) -> None:
    first = signing_key(settings)
    assert len(first) >= 32
    assert signing_key(settings) == first
    assert signing_key(replace(settings, state=tmp_path / "other.db")) != first
    assert signing_key(replace(settings, signing_key=b"k" * 32)) == b"k" * 32
    assert not list(tmp_path.glob("*.key.*"))


def test_a_signing_key_that_others_can_read_is_refused(settings: Settings) -> None:
    signing_key(settings)
    path = settings.state_file.with_name("state.db.key")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        signing_key(settings)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("", False),
     ("example.org", False), ("127.0.0.1.example.org", False)],
)  # fmt: skip
def test_a_loopback_address_is_one_of_this_machine_only(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_private_character_in_an_address_is_no_slash(client: TestClient) -> None:
    answer = client.get("/v1/users/u%EE%80%80export")
    assert answer.status_code == 404 and "U+E000" in answer.json()["detail"]
    assert client.get("/v1/items/a%EE%80%80b").status_code == 404
