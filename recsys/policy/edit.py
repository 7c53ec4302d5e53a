"""
Values written into a policy file that people wrote: its comments, its order and its line breaks stay.

The parser only says where a value stands; the text is changed there and nowhere else.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from recsys.errors import ConfigError

_NULL: Final = "null"


def with_values(text: str, path: Sequence[str | int], values: Mapping[str, str | date | None]) -> str:
    """
    The text of a YAML file with these values of the mapping at `path`; keys that are new come last in it.

    Raises ConfigError when there is no mapping at the path, or when a value to replace is none that stands on a line.
    """
    for key, value in values.items():
        text = _with_value(text, path, key, _scalar(value))
    return text


def _scalar(value: str | date | None) -> str:
    if isinstance(value, str):  # quoted, and what does not print spelled out, so that no text breaks the file
        signs = (sign if sign.isprintable() and sign not in '"\\' else f"\\U{ord(sign):08x}" for sign in value)
        return f'"{"".join(signs)}"'
    return _NULL if value is None else value.isoformat()


def _with_value(text: str, path: Sequence[str | int], key: str, written: str) -> str:
    where = ".".join(map(str, path))
    mapping = _at(YAML().compose(text), path)
    if not isinstance(mapping, MappingNode) or not mapping.value:
        raise ConfigError(
            f"{where}: found no mapping with keys, expected one to write {key} into; edit the file by hand"
        )
    known = next((value for name, value in mapping.value if name.value == key), None)
    if known is None:
        return _with_new_key(text, mapping, key, written)
    if not isinstance(known, ScalarNode) or known.style in ("|", ">"):
        raise ConfigError(f"{where}.{key}: found no value on one line, expected one; edit the file by hand")
    start, end = known.start_mark.index, known.end_mark.index
    if start == end:  # nothing is written for null
        start = end = text.rindex(":", 0, start + 1) + 1
        written = f" {written}"
    return text[:start] + written + text[end:]


def _at(node: Node | None, path: Sequence[str | int]) -> Node | None:
    for step in path:
        if isinstance(node, MappingNode):
            node = next((value for name, value in node.value if name.value == step), None)
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node


def _with_new_key(text: str, mapping: Any, key: str, written: str) -> str:
    """The key after the mapping's last value: on a line of its own, or inside of the brackets."""
    first, last = mapping.value[0][0], mapping.value[-1][1]
    if mapping.flow_style:
        end = last.end_mark.index
        return f"{text[:end]}, {key}: {written}{text[end:]}"
    last_key, ending = mapping.value[-1][0], _last_scalar(last)
    is_alias = ending.end_mark.index < last_key.start_mark.index  # its value stands where the anchor is
    end = _end_of_line(text, (last_key if is_alias else ending).end_mark.index)
    return f"{text[:end]}\n{' ' * first.start_mark.column}{key}: {written}{text[end:]}"


def _last_scalar(node: Any) -> Any:
    """The node that ends a block: the end of the block itself lies after the comments that follow it."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end - (text[end - 1] == "\r")
