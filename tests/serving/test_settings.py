"""Settings: from arguments, variables and defaults; what is wrong is refused, secrets do not show."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.clock import from_text
from recsys.errors import ConfigError
from recsys.types import Fields
from serving.settings import VARIABLES, Settings, is_loopback, read_settings, signing_key

DIGESTS = tuple(hashlib.sha256(key.encode()).hexdigest() for key in ("an old key", "a new key"))


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
        "SANAD_SHARED_RULES": "1", "SANAD_TABLE": "table",
        "SANAD_STATE": "state", "SANAD_HOST": "localhost", "SANAD_PORT": "9000", "SANAD_API_KEYS": ",".join(DIGESTS),
        "SANAD_SIGNING_KEY": "k" * 32, "SANAD_ALLOW_ASSUMED": "1", "SANAD_MAX_IN_FLIGHT": "2", "SANAD_LEXICON": "terms",
        "SANAD_CLOCK_CONFIRMED_AT": "2026-11-20T18:30:00Z", "SANAD_CLOCK_BEHIND_S": "4",
        "SANAD_MODELS": "models", "SANAD_MAX_CONNECTIONS": "300", "SANAD_DEADLINE_MS": "250",
        "SANAD_KEY_FILE": "keys.json", "SANAD_LOG_LEVEL": "debug", "SANAD_FACES": "gorse, prosocial",
        "SANAD_FOLLOWED_SHARE": "0.5", "SANAD_CORS_ORIGINS": "https://a.example, http://b:1", "SANAD_TRACES": "http://127.0.0.1:4318/v1/traces",
        "SANAD_EVENTS_ONWARD": "kafka://b:9092/events", "SANAD_ONWARD_CONFIG": "kafka.properties",
    }  # fmt: skip
    assert set(environ) == set(VARIABLES)
    assert read_settings(environ) == Settings(
        artifact=tmp_path, policy=Path("policy"), experiments=Path("experiments"), models=Path("models"),
        has_shared_rules=True, table=Path("table"),
        state=Path("state"), host="localhost", port=9_000, keys=DIGESTS, signing_key=b"k" * 32,
        allow_assumed=True, max_in_flight=2, harm_terms=Path("terms"),
        clock_confirmed_at=from_text("2026-11-20T18:30:00Z"), clock_behind_ms=4_000,
        max_connections=300, deadline_ms=250, key_file=Path("keys.json"), log_level="debug",
        faces=("gorse", "prosocial"), followed_share=0.5, cors_origins=("https://a.example", "http://b:1"), traces="http://127.0.0.1:4318/v1/traces",
        events_onward="kafka://b:9092/events", onward_config=Path("kafka.properties"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host": "0.0.0.0"}, "sanad key new"),
        ({"host": "192.168.1.4"}, "--key-file"),
        ({"port": 70_000}, "port"),
        ({"keys": ("a plain key",)}, "SANAD_API_KEYS"),
        ({"signing_key": b"short"}, "SANAD_SIGNING_KEY"),
        ({"host": "0.0.0.0", "keys": DIGESTS, "allow_assumed": True}, "--allow-assumed"),
        ({"keys": (f"two words:{DIGESTS[0]}",)}, "a name, a colon"),
        ({"keys": (f"local:{DIGESTS[0]}",)}, "a name, a colon"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_connections": 0}, "max_connections"),
        ({"deadline_ms": 0}, "SANAD_DEADLINE_MS"),
        ({"deadline_ms": 60_001}, "SANAD_DEADLINE_MS"),
        ({"followed_share": 1.5}, "SANAD_FOLLOWED_SHARE"),
        ({"followed_share": float("nan")}, "SANAD_FOLLOWED_SHARE"),
        ({"cors_origins": ("https://a.example",)}, "no service keys"),
        ({"cors_origins": ("*",), "keys": DIGESTS}, "SANAD_CORS_ORIGINS"),
        ({"traces": "127.0.0.1:4318"}, "SANAD_TRACES"),
        ({"faces": ("gorse", "metarank")}, "SANAD_FACES, expected some of gorse, prosocial"),
        ({"clock_behind_ms": 3_600_001}, "SANAD_CLOCK_BEHIND_S"),
    ],
)
def test_settings_that_are_wrong_are_refused_with_what_to_do(tmp_path: Path, changed: Fields, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Settings(artifact=tmp_path, **changed)
    assert "a plain key" not in str(raised.value)


def test_variables_that_are_wrong_are_told_all_at_once(tmp_path: Path) -> None:
    environ = {
        "SANAD_PROT": "1",
        "SANAD_PORT": "many",
        "SANAD_ALLOW_ASSUMED": "maybe",
        "SANAD_CLOCK_CONFIRMED_AT": "now",
    }
    with pytest.raises(ConfigError) as raised:
        read_settings(environ, artifact=tmp_path)
    assert len(raised.value.problems) == 4


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
