"""
Settings of the service. Arguments of `sanad serve` come first, then `SANAD_...` variables, then defaults.

Secrets come from the environment only. They are never printed. Only the key file beside the state stores one.
"""

import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from recsys.clock import HOUR, SECOND, Millis, from_text
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_POLICY, policy_file
from serving.clock_guard import MAX_BEHIND_MS
from serving.deadline import MAX_DEADLINE_MS
from serving.stores.open import State, state_of

MIN_KEY_LENGTH: Final = 32  # characters of a signing key
HarmTermsChoice = Path | Literal["starter", "none"]
Face = Literal["gorse", "prosocial"]
FACES: Final[tuple[Face, ...]] = get_args(Face)
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_KEY: Final = re.compile(r"(?:(?!local:)(?P<name>[A-Za-z0-9_.-]{1,40}):)?(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What `serve` needs. `key_file` holds the service keys; `keys` are digests (SHA-256, hex) of further ones that may do
    everything, each after a name and a colon where it has one. Without both, only local calls pass.

    `models` is a folder of artifacts, any of which an operator may activate without a restart; None = only `artifact`
    is served. `state` is a file or a server; None = `ARTIFACT.state.db`; `experiments` None = no experiments. With
    `has_shared_rules` both are those that were published to the stores, see `serving.shared`. `table` is where the
    table of a catalogue on a server is kept between starts; None = `ARTIFACT.catalogue`. `signing_key` None = the
    key that is kept with the state, made at the first start. `harm_terms` is the file of the platform's list of terms
    by which a search for harm is recognised, `starter` for the shipped list, or `none`. `max_in_flight` requests are
    worked on or waiting at once; more are answered 503. A page may take `deadline_ms` where its caller names no other
    deadline. Of more than `max_connections` the one that waits longest without a request is closed. Port 0 = any free
    port.

    `clock_confirmed_at` confirms a clock that is within an hour of it; a clock may be `clock_behind_ms` behind the
    last committed time. `cors_origins` are sites whose scripts may call. `log_level` is a level, or a file that
    holds one. `faces` are interfaces of other projects that answer too. Of all calls, `followed_share` (0 to 1) is
    followed in the log, and traced to the OTLP endpoint `traces` (an http or https address; None = nowhere). Accepted
    events are sent to `events_onward` too, see `serving.onward.sinks`; `onward_config` is its client's file.
    """

    artifact: Path
    policy: Path = DEFAULT_POLICY
    experiments: Path | None = None
    has_shared_rules: bool = False
    table: Path | None = None
    models: Path | None = None
    state: State | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    key_file: Path | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    signing_key: bytes | None = field(default=None, repr=False)
    allow_assumed: bool = False
    max_in_flight: int = 64
    deadline_ms: Millis = 1_000
    max_connections: int = 1_000
    harm_terms: HarmTermsChoice = field(default="starter", repr=False)
    clock_confirmed_at: Millis | None = None
    clock_behind_ms: Millis = MAX_BEHIND_MS
    log_level: str = "info"
    cors_origins: tuple[str, ...] = ()
    faces: tuple[Face, ...] = ()
    followed_share: float = 0.01
    traces: str | None = None
    events_onward: str | None = field(default=None, repr=False)
    onward_config: Path | None = None

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise ConfigError(*problems)

    @property
    def where(self) -> State:
        """Where state, events and the live catalogue are."""
        return self.state or self.artifact.parent / f"{self.artifact.name}.state.db"

    @property
    def state_file(self) -> Path:
        """The file that the state is in. Raises ConfigError where a server has it."""
        if isinstance(self.where, Path):
            return self.where
        raise ConfigError(f"found the state at {self.where}, expected a file")

    @property
    def table_file(self) -> Path:
        """Where this machine keeps the table of a catalogue whose store is on a server."""
        return self.table or self.artifact.parent / f"{self.artifact.name}.catalogue"

    @property
    def has_keys(self) -> bool:
        """Whether callers need a service key."""
        return bool(self.keys) or self.key_file is not None


def read_settings(environ: Mapping[str, str], **arguments: object) -> Settings:
    """
    The settings from arguments (None = not given) and the environment.

    Raises ConfigError with every problem, also for a SANAD_ variable that is not known.
    """
    problems = [
        f"found variable {name}, expected one of {', '.join(sorted(VARIABLES))}; correct or unset it"
        for name in sorted(environ)
        if name.startswith("SANAD_") and name not in VARIABLES and name not in OTHER_VARIABLES
    ]
    values: dict[str, Any] = {}
    for name, (key, convert) in VARIABLES.items():
        if environ.get(name):
            try:
                values[key] = convert(environ[name])
            except ValueError as error:
                problems.append(f"variable {name}: {error}")
    values |= {key: value for key, value in arguments.items() if value is not None}
    if problems:
        raise ConfigError(*problems)
    return Settings(**values)


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine only."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def signing_key(settings: Settings) -> bytes:
    """
    The key of cursors and tracking tokens over a state file: the one given, or the one in `<state>.key`, which is made
    when missing.

    Only its owner can read the file. Raises ConfigError when it cannot be used.
    """
    if settings.signing_key is not None:
        return settings.signing_key
    path = settings.state_file.with_name(settings.state_file.name + ".key")
    try:
        if not path.exists():
            _make_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(f"found {path} readable by others, expected its owner alone; run chmod 600 on it")
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read or written ({error.strerror}); give this user the right") from error
    if len(key) < MIN_KEY_LENGTH:
        raise ConfigError(f"found {path} with {len(key)} bytes, expected a signing key; remove it to get a new one")
    return key


def _make_key(path: Path) -> None:
    """Write beside and link into place: when two services start at once, both read the same key."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(beside)
    finally:
        beside.unlink()


def _problems(settings: Settings) -> list[str]:
    problems = []
    if not 0 <= settings.port <= 65_535:
        problems.append(f"found port {settings.port}, expected a number from 0 to 65535; choose another")
    if settings.max_in_flight < 1:
        problems.append(f"found max_in_flight {settings.max_in_flight}, expected 1 or more; raise it")
    if not 1 <= settings.deadline_ms <= MAX_DEADLINE_MS:
        problems.append(
            f"found SANAD_DEADLINE_MS {settings.deadline_ms}, expected 1 to {MAX_DEADLINE_MS} milliseconds; change it"
        )
    if settings.max_connections < 1:
        problems.append(f"found max_connections {settings.max_connections}, expected 1 or more; raise it")
    if not 0 <= settings.followed_share <= 1:
        problems.append(f"found SANAD_FOLLOWED_SHARE {settings.followed_share:g}, expected 0 to 1; change it")
    if settings.traces is not None and not settings.traces.startswith(("http://", "https://")):
        problems.append(
            "found SANAD_TRACES that is no http address, expected an OTLP endpoint such as "
            "http://127.0.0.1:4318/v1/traces; change it"
        )
    if not 0 <= settings.clock_behind_ms <= HOUR:
        problems.append(
            f"found SANAD_CLOCK_BEHIND_S {settings.clock_behind_ms / SECOND:g}, expected 0 to 3600 seconds; change it"
        )
    return problems + _problems_of_access(settings)


def _problems_of_access(settings: Settings) -> list[str]:
    problems = []
    if any(not _KEY.fullmatch(key) for key in settings.keys):
        problems.append(
            "found a service key in SANAD_API_KEYS that is no SHA-256 digest, expected 64 small hexadecimal digits, or "
            "a name, a colon and such digits; better use --key-file with 'sanad key new'"
        )
    if settings.signing_key is not None and len(settings.signing_key) < MIN_KEY_LENGTH:
        problems.append(
            f"found a short SANAD_SIGNING_KEY, expected {MIN_KEY_LENGTH} characters or more; choose a longer one"
        )
    if not settings.has_keys and not is_loopback(settings.host):
        problems.append(
            f"found host {settings.host} and no service keys, expected keys before others can reach the service; "
            "make them with 'sanad key new' and name their file (--key-file), or serve on 127.0.0.1"
        )
    if settings.cors_origins and not settings.has_keys:
        problems.append("found SANAD_CORS_ORIGINS and no service keys, expected both; name a key file (--key-file)")
    if wrong := [origin for origin in settings.cors_origins if not _ORIGIN.fullmatch(origin)]:
        problems.append(
            f"found {wrong[0]!a} in SANAD_CORS_ORIGINS, expected origins such as https://app.example.org; correct it"
        )
    if unknown := [face for face in settings.faces if face not in FACES]:
        problems.append(f"found {unknown[0]!a} in SANAD_FACES, expected some of {', '.join(FACES)}; correct it")
    if settings.allow_assumed and not is_loopback(settings.host):
        problems.append(
            f"found --allow-assumed with host {settings.host}, expected a local address: assumed tiers are for trials "
            "on one machine; serve on 127.0.0.1, or train with labels"
        )
    return problems


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"found {text[:40]!r}, expected a whole number") from None


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"found {text[:40]!r}, expected a number") from None


def _parse_flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"found {text[:40]!r}, expected 1 for yes or 0 for no")
    return text == "1"


def _parse_seconds(text: str) -> Millis:
    return _parse_integer(text) * SECOND


def _parse_instant(text: str) -> Millis:
    try:
        return from_text(text)
    except ValueError:
        raise ValueError(f"found {text[:40]!r}, expected an instant such as 2026-11-20T18:30:00Z") from None


def _parse_harm_terms(text: str) -> HarmTermsChoice:
    return "none" if text == "none" else "starter" if text == "starter" else Path(text)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


VARIABLES: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "SANAD_ARTIFACT": ("artifact", Path),
    "SANAD_POLICY": ("policy", policy_file),
    "SANAD_EXPERIMENTS": ("experiments", Path),
    "SANAD_SHARED_RULES": ("has_shared_rules", _parse_flag),
    "SANAD_TABLE": ("table", Path),
    "SANAD_MODELS": ("models", Path),
    "SANAD_STATE": ("state", state_of),
    "SANAD_HOST": ("host", str),
    "SANAD_PORT": ("port", _parse_integer),
    "SANAD_KEY_FILE": ("key_file", Path),
    "SANAD_API_KEYS": ("keys", _parse_list),
    "SANAD_SIGNING_KEY": ("signing_key", str.encode),
    "SANAD_ALLOW_ASSUMED": ("allow_assumed", _parse_flag),
    "SANAD_MAX_IN_FLIGHT": ("max_in_flight", _parse_integer),
    "SANAD_DEADLINE_MS": ("deadline_ms", _parse_integer),
    "SANAD_MAX_CONNECTIONS": ("max_connections", _parse_integer),
    "SANAD_LEXICON": ("harm_terms", _parse_harm_terms),
    "SANAD_CLOCK_CONFIRMED_AT": ("clock_confirmed_at", _parse_instant),
    "SANAD_CLOCK_BEHIND_S": ("clock_behind_ms", _parse_seconds),
    "SANAD_CORS_ORIGINS": ("cors_origins", _parse_list),
    "SANAD_FACES": ("faces", _parse_list),
    "SANAD_LOG_LEVEL": ("log_level", str),
    "SANAD_FOLLOWED_SHARE": ("followed_share", _parse_number),
    "SANAD_TRACES": ("traces", str),
    "SANAD_EVENTS_ONWARD": ("events_onward", str),
    "SANAD_ONWARD_CONFIG": ("onward_config", Path),
}
OTHER_VARIABLES: Final = ("SANAD_CACHE", "SANAD_DEBUG")  # read by training, and by the command line
