"""
Configuration files: YAML 1.2 read into frozen dataclasses. The dataclass is the schema, the default and the document.

Unknown keys are errors, all problems are reported at once, and each names file, line and key.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date, datetime
from difflib import get_close_matches
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from recsys.errors import ConfigError

T = TypeVar("T")
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Range:
    """Both ends are allowed. Used as `Annotated[int, Range(0, 20)]`."""

    low: float
    high: float


def load(path: Path, schema: type[T]) -> T:
    """The file at `path` as a `schema`. Raises ConfigError with every problem found."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a YAML file in UTF-8") from error
    return loads(text, schema, name=str(path))


def loads(text: str, schema: type[T], *, name: str = "<text>") -> T:
    """As `load`, from a string; `name` stands for the file in messages."""
    if _depth(text) > MAX_DEPTH:  # the parser would take seconds to find that it cannot
        raise ConfigError(f"{name}: found more than {MAX_DEPTH} open brackets, expected a file that people write")
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"{name}:{line}: {error.problem}; expected YAML 1.2") from error
    except (YAMLError, TypeError, ValueError, RecursionError) as error:  # no date, a list as a key, ...
        raise ConfigError(f"{name}: {error}; expected YAML 1.2") from error
    if _expanded(tree, {}) > MAX_VALUES:
        raise ConfigError(f"{name}: found aliases that stand for more than {MAX_VALUES:,} values, expected fewer")
    problems: list[str] = []
    value = _Reader(name, problems).read(tree, schema, "", 1)
    if problems:
        raise ConfigError(*problems)
    return cast(T, value)


def _depth(text: str) -> int:
    """How many brackets are open at once, at most."""
    return max(accumulate((char in "[{") - (char in "]}") for char in text), default=0)


def _expanded(node: object, known: dict[int, float]) -> float:
    """
    How many values a tree holds once its aliases are written out: a few lines can stand for billions, and for a list
    that holds itself.
    """
    if not isinstance(node, dict | list | tuple):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = [*node.keys(), *node.values()] if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_expanded(part, known) for part in parts)
    return known[id(node)]


def _outline(found: object) -> object:
    """A value to be shown, not deeper than one level."""
    if isinstance(found, dict):
        return {str(key)[:80]: "..." for key in list(found)[:8]}
    if isinstance(found, list):
        return ["..." if isinstance(part, list | dict) else part for part in found[:8]]
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    problems: list[str]

    def wrong(self, line: int, key: str, found: object, expected: str) -> None:
        shown = repr(found) if isinstance(found, str) else str(_outline(found))
        self.problems.append(f"{self.name}:{line}: {key or 'file'}: found {shown[:80]}, expected {expected}")

    def read(self, value: Any, kind: Any, key: str, line: int) -> Any:
        origin = get_origin(kind)
        if origin is Annotated:
            return self.ranged(value, kind, key, line)
        if origin in (Union, types.UnionType):
            return self.union(value, get_args(kind), key, line)
        if origin is Literal:
            if value not in get_args(kind):
                self.wrong(line, key, value, "one of " + ", ".join(map(str, get_args(kind))))
            return value
        if origin in (tuple, frozenset):
            return self.sequence(value, kind, key, line)
        if origin is not None and issubclass(origin, Mapping):
            return self.mapping(value, get_args(kind), key, line)
        if is_dataclass(kind):
            return self.record(value, cast(type[Any], kind), key, line)
        return self.scalar(value, kind, key, line)

    def ranged(self, value: Any, kind: Any, key: str, line: int) -> Any:
        inner, bounds = get_args(kind)[:2]
        read = self.read(value, inner, key, line)
        if isinstance(read, int | float) and not bounds.low <= read <= bounds.high:
            self.wrong(line, key, value, f"a number from {bounds.low:g} to {bounds.high:g}")
        return read

    def union(self, value: Any, kinds: tuple[Any, ...], key: str, line: int) -> Any:
        if value is None:
            if type(None) not in kinds:
                self.wrong(line, key, "nothing", "a value")
            return None
        real = [kind for kind in kinds if kind is not type(None)]
        return self.read(value, real[0], key, line)

    def sequence(self, value: Any, kind: Any, key: str, line: int) -> Any:
        if not isinstance(value, list):
            self.wrong(line, key, value, "a list")
            return get_origin(kind)()
        inner = get_args(kind)[0]
        lines = _item_lines(value, line)
        return get_origin(kind)(self.read(v, inner, f"{key}[{n}]", lines[n]) for n, v in enumerate(value))

    def mapping(self, value: Any, kinds: tuple[Any, ...], key: str, line: int) -> Any:
        if not isinstance(value, dict):
            self.wrong(line, key, value, "a mapping")
            return {}
        return {
            self.read(k, kinds[0], f"{key}.{k}", _line(value, k, line)): self.read(
                v, kinds[1], f"{key}.{k}".lstrip("."), _line(value, k, line)
            )
            for k, v in value.items()
        }

    def record(self, value: Any, kind: type[Any], key: str, line: int) -> Any:
        if not isinstance(value, dict):
            self.wrong(line, key, value, f"a mapping with {', '.join(f.name for f in fields(kind))}")
            return None
        before = len(self.problems)
        hints = get_type_hints(kind, include_extras=True)
        names = [f.metadata.get("key", f.name) for f in fields(kind)]
        renamed = {f.metadata["before"]: f"its new name, {f.name}" for f in fields(kind) if "before" in f.metadata}
        for unknown in [k for k in value if k not in names]:
            expected = renamed.get(unknown) or f"one of {', '.join(names)}{_hint(str(unknown), names)}"
            self.wrong(_line(value, unknown, line), key, f"unknown key {unknown}", expected)
        read = {}
        for f, name in zip(fields(kind), names, strict=True):
            path = f"{key}.{name}".lstrip(".")
            if name in value:
                read[f.name] = self.read(value[name], hints[f.name], path, _line(value, name, line))
            elif f.default is MISSING and f.default_factory is MISSING:
                self.wrong(line, path, "nothing", "a value")
        if len(self.problems) > before:
            return None
        try:
            return kind(**read)
        except ValueError as error:  # a cross-check in __post_init__
            self.problems.append(f"{self.name}:{line}: {key or 'file'}: {error}")
            return None

    def scalar(self, value: Any, kind: Any, key: str, line: int) -> Any:
        if kind is Any:
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        is_right = type(value) is kind or (
            isinstance(value, kind)
            and not isinstance(value, bool)
            and (kind is not date or type(value) is not datetime)
        )
        if is_right and not (kind is float and not math.isfinite(value)):
            return kind(value) if kind in (str, int, float) else value
        self.wrong(line, key, value, _NAMES.get(kind, str(kind)))
        return value


_NAMES: Mapping[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    date: "a date such as 2026-11-20",
    datetime: "an instant such as 2026-11-20T18:00:00Z",
}


def _hint(unknown: str, names: list[str]) -> str:
    near = get_close_matches(unknown, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _line(tree: Any, key: Any, default: int) -> int:
    """The line of a key, 1-based, where the parser kept it."""
    try:
        return int(tree.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return default


def _item_lines(tree: Any, default: int) -> list[int]:
    try:
        return [int(tree.lc.item(n)[0]) + 1 for n in range(len(tree))]
    except (AttributeError, KeyError, TypeError):
        return [default] * len(tree)
