"""Line numbers of the keys of a YAML file, for rules that look at several keys and report the line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarbool import ScalarBoolean


@dataclass(frozen=True)  # no slots: cached_property needs a __dict__
class SourceFile:
    """A YAML file: its name and its text."""

    name: str
    text: str

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """The line of each key, spelled as in `variants[1].overrides.gaps.R2`. Computed only for a problem."""
        return dict(_lines_of_keys(YAML(typ="rt").load(self.text), ""))

    def problem(self, key: str, sentence: str) -> str:
        """The sentence with file, line and key in front; the line is that of the nearest key that is written."""
        at = key
        while at and at not in self.lines:
            at = at.rpartition(".")[0]
        return f"{self.name}:{self.lines.get(at, 1)}: {key}: {sentence}"


def _lines_of_keys(tree: object, above: str, line: int = 1) -> Iterator[tuple[str, int]]:
    if isinstance(tree, dict):
        pairs = [(name, f"{above}.{name}".lstrip("."), value) for name, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(n, f"{above}[{n}]", value) for n, value in enumerate(tree)]
    else:
        return
    positions = getattr(tree, "lc", None)  # of the round-trip parser; without keys that a merge brought in
    by_name = (positions.data if positions is not None else None) or {}
    for name, key, value in pairs:
        line_of_key = by_name[name][0] + 1 if name in by_name else line
        yield key, line_of_key
        yield from _lines_of_keys(value, key, line_of_key)


def to_plain(value: object) -> Any:
    """A parsed value as plain Python: without the parser's notes about its spelling."""
    if isinstance(value, bool | ScalarBoolean):
        return bool(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, dict):
        return {to_plain(k): to_plain(v) for k, v in value.items()}
    return [to_plain(v) for v in value] if isinstance(value, list) else value
