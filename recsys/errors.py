"""
The errors of Sanad. A message says what was found, what was expected and what to do.

SanadError
├── ConfigError     unknown key, bad value, dangling name            start-up, exit 2
├── DataError       a table or an event breaks the contract          training exit 2; serving 422
├── ArtifactError   manifest, checksum or feature order differ       start-up or swap refused, old one stays
├── SourceError     one retrieval source unavailable                 degraded[], the page is still served
├── StoreError      state or log unavailable                         safe feed; events answered 503
├── StageError      a stage broke its contract                       fallback page, alert
├── Conflict        a request_id was used for another question       409
└── Gone            a cursor is too old                              410
"""

import traceback
from pathlib import PurePath


class SanadError(Exception):
    """Any error that Sanad raises on purpose. `problems` holds every sentence found, not only the first."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigError(SanadError):
    """A policy, experiment or settings file is wrong."""


class DataError(SanadError):
    """A table, an event or a request breaks the data contract."""


class ArtifactError(SanadError):
    """An artifact folder is incomplete, altered or of another format."""


class SourceError(SanadError):
    """One retrieval source is unavailable; the page is served without it."""


class StoreError(SanadError):
    """The user store, the event log or the live catalogue is unavailable."""


class StageError(SanadError):
    """A pipeline stage broke its contract; the page falls back."""


class Conflict(SanadError):
    """A request_id came back with another body."""


class Gone(SanadError):
    """A cursor has expired."""


def where_raised(error: Exception) -> str:
    """An error for the operator. Of one that nobody raised on purpose not the message, which may quote an id."""
    if isinstance(error, SanadError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
