"""Where accepted events are sent, and the form in which they are."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from recsys.clock import to_text
from recsys.errors import ConfigError
from recsys.extras import require_extra
from recsys.stores.protocols import Logged

EXPECTED: Final = "kafka://HOST:PORT,HOST:PORT/TOPIC or redis://HOST:PORT/DATABASE/STREAM"
_FLAGS: Final = ("is_attributed", "is_history")


class EventSink(Protocol):
    """Takes events. What it took is there for good; after a failure some of them may be there."""

    def send(self, events: Sequence[Logged]) -> None:
        """
        Send events in order, each person's to one place. Returns when the receiver acknowledged all of them. Raises
        StoreError; then all are to be sent again, and a reader tells those it has by user_id and event_id.
        """
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


def message_of(entry: Logged) -> bytes:
    """An event as JSON, as it was accepted: known fields only, the reporter's time and the server's."""
    event = entry.event
    said = {name: value for name, value in asdict(event).items() if value is not None}
    for flag in _FLAGS:
        if not said[flag]:
            del said[flag]
    return msgspec.json.encode(said | {"at": to_text(event.at), "received_at": to_text(entry.received_at)})


def open_sink(address: str, config: Path | None) -> EventSink:
    """
    The sink that an address names. `config` is a file of librdkafka's properties for Kafka. Raises ConfigError; whether
    the receiver answers is seen when events are sent.
    """
    parts = urlsplit(address)
    if parts.scheme == "kafka" and parts.netloc and parts.path.strip("/"):
        require_extra("kafka", "SANAD_EVENTS_ONWARD=kafka://...")
        from serving.onward.kafka import KafkaSink

        return KafkaSink(parts.netloc, parts.path.strip("/"), properties_of(config))
    *before, stream = parts.path.strip("/").split("/")
    is_whole = len(before) == 1 and before[0].isdigit() and bool(stream) and not parts.query and not parts.fragment
    if parts.scheme in ("redis", "rediss") and parts.netloc and is_whole and _has_port_or_none(parts):
        require_extra("redis", "SANAD_EVENTS_ONWARD=redis://...")
        from serving.onward.redis_stream import RedisSink

        return RedisSink(f"{parts.scheme}://{parts.netloc}/{before[0]}", stream)
    raise ConfigError(f"found another address in SANAD_EVENTS_ONWARD, expected {EXPECTED}; correct it")


def _has_port_or_none(parts: SplitResult) -> bool:
    """Whether the port is a number, where one is named."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def properties_of(config: Path | None) -> dict[str, str]:
    """The `key=value` lines of a file of properties; blank lines and those after `#` are left out."""
    if config is None:
        return {}
    try:
        lines = [line.strip() for line in config.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config}: cannot be read; name a file of properties in SANAD_ONWARD_CONFIG") from error
    said = [line for line in lines if line and not line.startswith("#")]
    wrong = [number for number, line in enumerate(lines, 1) if line in said and "=" not in line]
    if wrong:
        raise ConfigError(f"{config}: line {wrong[0]}: found no '=', expected KEY=VALUE; correct it")
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in said)}
