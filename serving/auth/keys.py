"""
Service keys: random texts of which only SHA-256 digests are kept, each with a name, scopes and a rate.

A key has 256 random bits, so a digest without a salt and without many rounds says nothing about it.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from recsys.clock import Millis, to_text
from recsys.errors import ConfigError
from serving.auth.rates import Bucket
from serving.auth.scopes import SCOPES, Scope

_ID_LENGTH: Final = 8
_MAX_KEYS: Final = 200  # each is compared with every key that is shown
_MAX_PER_SECOND: Final = 1_000_000
_PREFIX: Final = "sanad_"  # by which scanners for secrets find a key that somebody published
NAME_PATTERN: Final = r"^(?!local$)[A-Za-z0-9_.-]{1,40}\Z"


class ServiceKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """
    A key as it is kept. `digest` is SHA-256 in hexadecimal digits; `per_second` bounds its requests, None = no bound.
    Two keys may have one name: the old and the new one, while callers change over.
    """

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    created_at: str = ""
    per_second: Annotated[float, Meta(gt=0, le=_MAX_PER_SECOND)] | None = None

    @property
    def id(self) -> str:
        """The begin of the digest: it names the key where its name is not enough."""
        return self.digest[:_ID_LENGTH]


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: tuple[ServiceKey, ...]


class Keyring:
    """The keys in force. `is_open` = nobody set any, and only programs on this machine may call."""

    def __init__(self, keys: Sequence[ServiceKey], *, is_open: bool) -> None:
        self.is_open: Final = is_open
        self._buckets: dict[str, Bucket] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[ServiceKey]) -> None:
        """Other keys from now on. A bucket stays with its key while its rate stays."""
        kept = {key.digest: self._buckets.get(key.digest) for key in keys}
        self._buckets = {
            key.digest: bucket if bucket and bucket.per_second == key.per_second else Bucket(key.per_second)
            for key in keys
            if key.per_second is not None
            for bucket in (kept[key.digest],)
        }
        self._keys = tuple((key, key.digest.encode()) for key in keys)

    def find(self, given: bytes) -> ServiceKey | None:
        """The key that was shown, if it is known. Takes equally long for every text of one length."""
        digest = hashlib.sha256(given).hexdigest().encode()
        found = [key for key, known in self._keys if hmac.compare_digest(digest, known)]
        return found[0] if found else None

    def by_id(self, key_id: str) -> ServiceKey | None:
        """The key of that id, if it is still in force."""
        return next((key for key, _ in self._keys if key.id == key_id), None)

    def wait_s(self, key: ServiceKey) -> float:
        """Count a request of a key: 0, or the seconds that it has to wait."""
        bucket = self._buckets.get(key.digest)
        return 0.0 if bucket is None else bucket.wait_s()


def keyring_of(digests: Sequence[str], file: Path | None) -> Keyring:
    """The keys of a file, and those of `SANAD_API_KEYS`, which may do everything. Raises ConfigError."""
    return Keyring(keys_of(digests, file), is_open=not digests and file is None)


def keys_of(digests: Sequence[str], file: Path | None) -> Sequence[ServiceKey]:
    """The keys of both sources; of a key that both hold the one in the file counts. Raises ConfigError."""
    in_file = () if file is None else read_keys(file)
    parts = [entry.rpartition(":") for entry in digests]
    named = (
        ServiceKey(name=name or f"key {digest[:_ID_LENGTH]}", digest=digest, scopes=SCOPES) for name, _, digest in parts
    )
    return (*in_file, *(key for key in named if key.digest not in {known.digest for known in in_file}))


def new_key(name: str, scopes: Sequence[Scope], per_second: float | None, at: Millis) -> tuple[str, ServiceKey]:
    """A new key and what is kept of it. Nobody can make the first from the second. Raises ConfigError."""
    if per_second is not None and not 0 < per_second <= _MAX_PER_SECOND:
        raise ConfigError(
            f"--per-second: found {per_second:g}, expected above 0, at most {_MAX_PER_SECOND:,}; leave it out for "
            "no bound"
        )
    text = _PREFIX + secrets.token_urlsafe(32)
    kept = {
        "name": name, "digest": hashlib.sha256(text.encode()).hexdigest(),
        "scopes": [scope for scope in SCOPES if scope in scopes], "created_at": to_text(at), "per_second": per_second,
    }  # fmt: skip
    try:
        return text, msgspec.convert(kept, ServiceKey)
    except msgspec.ValidationError as error:
        raise ConfigError(f"found a key that cannot be ({error}), expected a name of letters, digits, _ . -") from error


def read_keys(path: Path) -> tuple[ServiceKey, ...]:
    """The keys in a file that `sanad key new` wrote. Raises ConfigError."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o022:
            raise ConfigError(f"found {path} writable by others, expected its owner alone; run chmod 600 on it")
        keys = msgspec.json.decode(path.read_bytes(), type=_KeyFile).keys
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); make it with: sanad key new NAME --scope feed --key-file FILE"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: found {error}, expected what 'sanad key new' writes; correct the file") from error
    if len({key.id for key in keys}) < len(keys) or len(keys) > _MAX_KEYS:
        raise ConfigError(f"{path}: expected at most {_MAX_KEYS} keys, each once; revoke those that nobody uses")
    return keys


def change_keys(path: Path, change: Callable[[tuple[ServiceKey, ...]], tuple[ServiceKey, ...]]) -> None:
    """
    Write the keys that `change` makes of those in the file, none where it is missing. A service that watches it sees
    all or nothing; two changes at once follow each other. Raises ConfigError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            keys = change(read_keys(path) if path.exists() else ())
            _write(path, msgspec.json.format(msgspec.json.encode(_KeyFile(keys)), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); give this user the right") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: bytes) -> None:
    """Beside, then in place; for the owner alone, who stays the same when root changes the keys of a service."""
    owner = (path if path.exists() else path.parent).stat()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(PermissionError):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
