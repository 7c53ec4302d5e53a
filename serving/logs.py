"""The log of the service: lines of JSON, or for eyes on a terminal; with the ids of calls, not those of people."""

import logging
from pathlib import Path
from typing import Final

from recsys.errors import ConfigError

LEVELS: Final = ("debug", "info", "warning", "error")


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
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"found log level {choice!a}, expected {', '.join(LEVELS)}, or a file that holds one of them"
        ) from error
    if level not in LEVELS:
        raise ConfigError(f"{choice}: found log level {level[:40]!a}, expected one of {', '.join(LEVELS)}")
    return level
