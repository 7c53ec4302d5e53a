"""Where things stand in a file, so that a rule that looks at several keys can still name the line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarbool import ScalarBoolean


@dataclass(frozen=True)  # no slots: cached_property needs a __dict__
class Source:
    """A YAML file: its name, and the text it was read from."""

    name: str
    text: str

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """The line of each key, spelled as in `variants[1].overrides.gaps.R2`. Only needed when something is wrong."""
        return dict(_lines(YAML(typ="rt").load(self.text), ""))

    def problem(self, key: str, sentence: str) -> str:
        """The sentence behind file, line and key; the line is that of the nearest key that is written."""
        at = key
        while at and at not in self.lines:
            at = at.rpartition(".")[0]
        return f"{self.name}:{self.lines.get(at, 1)}: {key}: {sentence}"


def _lines(tree: Any, above: str, line: int = 1) -> Iterator[tuple[str, int]]:
    if isinstance(tree, dict):
        pairs = [(name, f"{above}.{name}".lstrip("."), value) for name, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(n, f"{above}[{n}]", value) for n, value in enumerate(tree)]
    else:
        return
    places = getattr(tree, "lc", None)  # kept by the round-trip parser, but not for keys that a merge brought in
    known = (places.data if places is not None else None) or {}
    for name, key, value in pairs:
        own = known[name][0] + 1 if name in known else line
        yield key, own
        yield from _lines(value, key, own)


def plain(value: Any) -> Any:
    """A parsed value without what the parser remembers about its spelling."""
    if isinstance(value, bool | ScalarBoolean):
        return bool(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value
