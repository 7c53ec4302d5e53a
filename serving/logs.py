"""
The log of the service: a line of JSON each, or lines for eyes on a terminal.

Every line of a call holds its id. No line holds an id of a person or a key, nor the message of an unexpected error,
which may quote one: it names the error and where it was raised.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

from recsys.errors import ConfigError
from serving.calls import CALL

LEVELS: Final = ("debug", "info", "warning", "error")

Event = MutableMapping[str, Any]


def configure(choice: str, stream: TextIO | None = None) -> None:
    """Send the log of this process to standard error, from a level on (see `set_level`). Raises ConfigError."""
    import structlog

    out = stream or sys.stderr
    renderer = structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.processors.TimeStamper(fmt="iso", key="time"),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _add_call,
                _name_error,
            ],
            processors=[remove, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    set_level(choice)


def set_level(choice: str) -> None:
    """
    Log from this level on: a name of `LEVELS`, or a file that holds one, which is read again on SIGHUP.

    Raises ConfigError.
    """
    logging.getLogger("sanad").setLevel(read_level(choice).upper())


def read_level(choice: str) -> str:
    """The level that a setting names. Raises ConfigError."""
    if choice in LEVELS:
        return choice
    try:
        level = Path(choice).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            f"found log level {choice!a}, expected {', '.join(LEVELS)}, or a file that holds one of them"
        ) from error
    if level not in LEVELS:
        raise ConfigError(f"{choice}: found log level {level[:40]!a}, expected one of {', '.join(LEVELS)}")
    return level


def is_followed() -> bool:
    """Whether the log says what becomes of this call."""
    call = CALL.get()
    return call is not None and (call.is_followed or logging.getLogger("sanad").isEnabledFor(logging.DEBUG))


def _add_call(logger: object, name: str, event: Event) -> Event:
    call = CALL.get()
    if call is not None:
        event["request_id"] = call.request_id
    return event


def _name_error(logger: object, name: str, event: Event) -> Event:
    """The class of an error and the frames that it went through, in place of a traceback with its message."""
    kind, _, frames = event.pop("exc_info", None) or (None, None, None)
    if kind is not None:
        event["error"] = kind.__name__
        event["frames"] = [_frame(frame) for frame in traceback.extract_tb(_of(frames))]
    return event


def _of(frames: object) -> TracebackType | None:
    return frames if isinstance(frames, TracebackType) else None


def _frame(frame: traceback.FrameSummary) -> str:
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
