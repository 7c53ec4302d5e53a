"""
Configuration files: YAML 1.2, read into frozen dataclasses. The dataclass is the schema, and holds defaults and docs.

Unknown keys are errors. All problems are reported at once, each with file, line and key.
"""

import math
import re
import types
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date, datetime
from difflib import get_close_matches
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning

from recsys.errors import ConfigError

T = TypeVar("T")
MAX_DEPTH: Final = 50  # open brackets
MAX_VALUES: Final = 100_000  # once aliases are expanded
Tree: TypeAlias = Any
"""A parsed value: a scalar, or a list or mapping of the round-trip parser with its line numbers."""
Annotation: TypeAlias = Any
"""A type as it stands in a dataclass: a class, a union, a Literal ..."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included. Used as `Annotated[int, Range(0, 20)]`."""

    low: float
    high: float


def load(path: Path, schema: type[T]) -> T:
    """The file at `path` as a `schema`. Raises ConfigError with every problem."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a YAML file in UTF-8") from error
    return loads(text, schema, name=str(path))


def loads(text: str, schema: type[T], *, name: str = "<text>") -> T:
    """As `load`, from a string; `name` stands for the file in messages."""
    if _depth(text) > MAX_DEPTH:  # the parser would need seconds to fail
        raise ConfigError(f"{name}: found more than {MAX_DEPTH} open brackets, expected a file that people write")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", YAMLWarning)  # two anchors of one name: which of them is meant?
            tree = YAML(typ="rt").load(text)
    except YAMLWarning as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}; expected each anchor once") from error
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


def _expanded(node: object, sizes: dict[int, float]) -> float:
    """
    The number of values in a tree once its aliases are expanded; infinite for a list that contains itself. A few lines
    can stand for billions of values.
    """
    if not isinstance(node, dict | list | tuple):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = math.inf
        parts = [*node.keys(), *node.values()] if isinstance(node, dict) else node
        sizes[id(node)] = 1 + sum(_expanded(part, sizes) for part in parts)
    return sizes[id(node)]


def _outline(value: object) -> object:
    """A value for a message, not deeper than one level."""
    if isinstance(value, dict):
        return {str(key)[:80]: "..." for key in list(value)[:8]}
    if isinstance(value, list):
        return ["..." if isinstance(part, list | dict) else part for part in value[:8]]
    return value


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a tree as a schema. `problems` collects one sentence for each wrong value."""

    name: str
    problems: list[str]

    def add_problem(self, line: int, key: str, value: object, expected: str) -> None:
        shown = repr(value) if isinstance(value, str) else _WORDS.get(str(value)) or str(_outline(value))
        self.add_sentence(line, key, f"found {shown[:80]}, expected {expected}")

    def add_sentence(self, line: int, key: str, sentence: str) -> None:
        self.problems.append(f"{self.name}:{line}: {key or 'file'}: {sentence}")

    def read(self, value: Tree, kind: Annotation, key: str, line: int) -> Tree:
        origin = _origin(kind)
        if origin is Annotated:
            return self.ranged(value, kind, key, line)
        if origin in (Union, types.UnionType):
            return self.union(value, get_args(kind), key, line)
        if origin is Literal:
            if value not in get_args(kind):
                self.add_problem(line, key, value, _words(key, get_args(kind)))
            return value
        if origin in (tuple, frozenset):
            return self.sequence(value, kind, key, line)
        if origin is not None and issubclass(origin, Mapping):
            return self.mapping(value, get_args(kind), key, line)
        if is_dataclass(kind):
            return self.record(value, cast(type[Annotation], kind), key, line)
        return self.scalar(value, kind, key, line)

    def ranged(self, value: Tree, kind: Annotation, key: str, line: int) -> Tree:
        inner, bounds = get_args(kind)[:2]
        read = self.read(value, inner, key, line)
        if isinstance(read, int | float) and not bounds.low <= read <= bounds.high:
            self.add_problem(line, key, value, f"a number from {bounds.low:g} to {bounds.high:g}")
        return read

    def union(self, value: Tree, kinds: tuple[Annotation, ...], key: str, line: int) -> Tree:
        if value is None:
            if type(None) not in kinds:
                self.add_problem(line, key, None, "a value")
            return None
        some = [kind for kind in kinds if kind is not type(None)]
        return self.read(value, some[0], key, line)

    def sequence(self, value: Tree, kind: Annotation, key: str, line: int) -> Tree:
        if not isinstance(value, list):
            self.add_problem(line, key, value, "a list")
            return _origin(kind)()
        inner = get_args(kind)[0]
        lines = _item_lines(value, line)
        return _origin(kind)(self.read(v, inner, f"{key}[{n}]", lines[n]) for n, v in enumerate(value))

    def mapping(self, value: Tree, kinds: tuple[Annotation, ...], key: str, line: int) -> Tree:
        if not isinstance(value, dict):
            self.add_problem(line, key, value, "a mapping")
            return {}
        return {
            self.read(k, kinds[0], f"{key}.{k}", _line(value, k, line)): self.read(
                v, kinds[1], f"{key}.{k}".lstrip("."), _line(value, k, line)
            )
            for k, v in value.items()
        }

    def record(self, value: Tree, kind: type[Annotation], key: str, line: int) -> Tree:
        if not isinstance(value, dict):
            self.add_problem(line, key, value, f"a mapping with {', '.join(f.name for f in fields(kind))}")
            return None
        before = len(self.problems)
        hints = get_type_hints(kind, include_extras=True)
        names = [f.metadata.get("key", f.name) for f in fields(kind)]
        renamed = {f.metadata["before"]: f"its new name, {f.name}" for f in fields(kind) if "before" in f.metadata}
        for unknown in [k for k in value if k not in names]:
            expected = renamed.get(unknown) or f"one of {', '.join(names)}{_hint(str(unknown), names)}"
            self.add_sentence(_line(value, unknown, line), key, f"unknown field {unknown}, expected {expected}")
        read = {}
        for f, name in zip(fields(kind), names, strict=True):
            path = f"{key}.{name}".lstrip(".")
            if name in value:
                read[f.name] = self.read(value[name], hints[f.name], path, _line(value, name, line))
            elif f.default is MISSING and f.default_factory is MISSING:
                self.add_sentence(line, path, f"is missing, expected {_wanted(path, hints[f.name])}")
        if len(self.problems) > before:
            return None
        try:
            return kind(**read)
        except ValueError as error:  # a cross-check in __post_init__
            name, _, sentence = str(error).partition(": ")
            if name in value:  # it begins with the field: its line says more than that of the record
                self.add_sentence(_line(value, name, line), f"{key}.{name}".lstrip("."), sentence)
            else:
                self.add_sentence(line, key, str(error))
            return None

    def scalar(self, value: Tree, kind: Annotation, key: str, line: int) -> Tree:
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
        self.add_problem(line, key, value, _TYPE_NAMES.get(kind, str(kind)) + _unpercented(value, kind))
        return value


def _unpercented(value: object, kind: Annotation) -> str:
    """How a share that was written as `30%` is written in a file."""
    share = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*%\s*", value) if isinstance(value, str) and kind is float else None
    return f"; write {float(share[1]) / 100:g} for {share[1]} %" if share else ""


def _wanted(key: str, kind: Annotation) -> str:
    """What stands at a key, in a few words."""
    origin, inner = _origin(kind), get_args(kind)
    if origin is Annotated:
        return f"a number from {inner[1].low:g} to {inner[1].high:g}" if isinstance(inner[1], Range) else "a value"
    if origin in (Union, types.UnionType):
        return f"{_wanted(key, inner[0])} or null"
    if origin is Literal:
        return _words(key, inner)
    if origin in (tuple, frozenset):
        return "a list"
    if origin is not None or is_dataclass(kind):
        return "a mapping"
    return _TYPE_NAMES.get(kind, "a value")


def _words(key: str, words: tuple[object, ...]) -> str:
    """What a key may hold; of a file's version, also what to do with a file of another one."""
    names = ", ".join(map(str, words))
    if key == "apiVersion":
        return f"{names}; rewrite the file after one that ships with this version of Sanad, then set its apiVersion"
    return f"one of {names}"


def _origin(kind: Annotation) -> Annotation:
    """`tuple` of `tuple[int, ...]`, `Literal` of `Literal["a"]`; None for a class."""
    return get_origin(kind)


_WORDS: Mapping[str, str] = {"None": "nothing", "True": "true", "False": "false"}  # as the file spells them
_TYPE_NAMES: Mapping[Annotation, str] = {
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


def _line(tree: Tree, key: object, default: int) -> int:
    """The line of a key, 1-based, where the parser knows it."""
    try:
        return int(tree.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return default


def _item_lines(tree: Tree, default: int) -> list[int]:
    try:
        return [int(tree.lc.item(n)[0]) + 1 for n in range(len(tree))]
    except (AttributeError, KeyError, TypeError):
        return [default] * len(tree)
