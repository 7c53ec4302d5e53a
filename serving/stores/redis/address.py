"""What an address of a state on Redis names: servers, who signs in, where records go, and what a write waits for."""

from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from recsys.errors import ConfigError

SCHEMES: Final = ("redis", "rediss")
_PORT: Final = 6379
_SETTINGS: Final = ("records", "replicas", "fsync", "name")
_EXAMPLE: Final = "redis://:PASSWORD@HOST:6379/?records=/srv/sanad/records"

Place = tuple[str, int]
"""Host and port of one server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """
    One server, or some of a cluster's. `records` is a folder or an address for fsspec. `replicas`: how many must have
    a write before it is answered; None = one, where there are any at the start. `fsync`: how much less than every write
    on disk is accepted. `name` tells the keys of one installation from those of another.
    """

    places: tuple[Place, ...]
    records: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    is_tls: bool = False
    replicas: int | None = None
    fsync: Literal["always", "everysec"] = "always"
    name: str = "sanad"

    def __str__(self) -> str:
        """The address as it may be printed: without the password."""
        return f"{'rediss' if self.is_tls else 'redis'}://{','.join(map(place_name, self.places))}/{self.db}"


def place_name(place: Place) -> str:
    """`host:port`, as people write it."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_address(text: str) -> Address:
    """The address in a text. Raises ConfigError, which never quotes a password."""
    try:
        parts = urlsplit(text)
        account, _, hosts = parts.netloc.rpartition("@")
        places = tuple(_place(host) for host in hosts.split(","))
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        db = int(parts.path.strip("/") or 0)
    except ValueError:
        raise ConfigError(
            f"found an address of a state that cannot be read, expected {_EXAMPLE}; in a password write / as %2F, "
            "? as %3F, # as %23 and @ as %40"
        ) from None
    user, _, password = account.partition(":")
    return Address(
        places=places,
        records=_records(parts, query),
        username=unquote(user) or None,
        password=unquote(password) or None,
        db=db,
        is_tls=parts.scheme == "rediss",
        replicas=_replicas(query.get("replicas", ["auto"])[-1]),
        fsync=_fsync(query.get("fsync", ["always"])[-1]),
        name=_name(query.get("name", ["sanad"])[-1]),
    )


def _place(text: str) -> Place:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or _PORT


def _records(parts: SplitResult, query: dict[str, list[str]]) -> str:
    unknown = [name for name in query if name not in _SETTINGS]
    if parts.scheme not in SCHEMES or unknown:
        raise ConfigError(
            f"found {', '.join(map(_word, unknown)) or parts.scheme} in the address of a state, expected "
            f"{', '.join(_SETTINGS)} "
            f"in one like {_EXAMPLE}"
        )
    records = query.get("records", [""])[-1]
    if not records:
        raise ConfigError(
            "found no place for decision records in the address of the state, expected a folder that every machine "
            f"reaches, or an address of an object store: {_EXAMPLE}"
        )
    return records


def _word(name: str) -> str:
    """The name of a setting; of what is none, such as the end of a password, nothing is quoted."""
    return name if name.isalpha() else "something else"


def _replicas(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or len(text) > 2:
        raise ConfigError(f"found replicas={text} in the address of the state, expected auto or a number such as 1")
    return int(text)


def _fsync(text: str) -> Literal["always", "everysec"]:
    if text == "always":
        return "always"
    if text == "everysec":
        return "everysec"
    raise ConfigError(f"found fsync={text} in the address of the state, expected always or everysec")


def _name(text: str) -> str:
    if not (text.isascii() and text.replace("-", "").isalnum()):
        raise ConfigError("found another name in the address of the state, expected letters, digits and hyphens")
    return text
