"""Checks of single values that come over the wire: ids, texts, numbers, and rows of a table of the data contract."""

import re
from collections.abc import Mapping
from typing import Any

from recsys.clock import from_text, to_text
from recsys.columns import (
    EARLIEST,
    LATEST,
    MAX_ID_LENGTH,
    MAX_TEXT_LENGTH,
    Column,
    Table,
)
from recsys.errors import DataError


def check_id(name: str, value: Any) -> str:
    """An external id: 1 to 128 characters, all printable, no direction marks. Raises DataError."""
    is_id = isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isprintable()
    if not is_id or _has_marks(value):
        raise DataError(f"{name}: found {shorten(value)}, expected 1 to {MAX_ID_LENGTH} printable characters")
    return str(value)


def _has_marks(text: str) -> bool:
    return any(c in "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" for c in text)


def required_id(name: str, fields: Mapping[str, Any]) -> str:
    """The external id in a field. Raises DataError."""
    return check_id(name, fields.get(name))


def optional_id(name: str, fields: Mapping[str, Any]) -> str | None:
    """The external id in a field, None when the field is null. Raises DataError."""
    return None if fields.get(name) is None else check_id(name, fields[name])


def optional_text(name: str, fields: Mapping[str, Any], most: int) -> str | None:
    """The text in a field, of at most `most` characters. Raises DataError."""
    value = fields.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= most):
        raise DataError(f"{name}: found {shorten(value)}, expected text of at most {most} characters")
    return value


def optional_number(name: str, fields: Mapping[str, Any], low: float, high: float) -> float | None:
    """The number in a field, from `low` to `high`, both allowed. Raises DataError."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(f"{name}: found {shorten(value)}, expected a number from {low:g} to {high:g}")
    return float(value)


def optional_integer(name: str, fields: Mapping[str, Any], low: int, high: int) -> int | None:
    """The whole number in a field, from `low` to `high`, both allowed. Raises DataError, also for 3.7 and 3.0."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DataError(f"{name}: found {shorten(value)}, expected a whole number from {low} to {high}")
    return value


def shorten(value: Any) -> str:
    """A value as a sentence may quote it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_row(table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The stated columns of a row of a table, times in milliseconds. Raises DataError with every problem."""
    columns = {column.name: column for column in table.columns}
    problems = [
        f"{name}: found an unknown field, expected one of {', '.join(columns)}"
        for name in fields
        if name not in columns
    ]
    row: dict[str, Any] = {}
    for name, column in columns.items():
        value = fields.get(name)
        problem = _column_problem(column, value)
        if problem:
            problems.append(f"{name}: found {shorten(value)}, expected {problem}")
        elif value is not None:
            row[name] = from_text(value) if column.dtype == "time" else value
    if problems:
        raise DataError(*problems)
    return row


def _column_problem(column: Column, value: Any) -> str | None:
    """What a value should have been; None when it is fine."""
    if value is None:
        return "a value" if column.required else None
    if column.dtype == "time":
        return _time_problem(value)
    if column.dtype == "bool":
        return None if isinstance(value, bool) else "true or false"
    if column.dtype in ("int", "float"):
        return _number_problem(column, value)
    parts = value if column.dtype == "list" else [value]
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return "a list of texts" if column.dtype == "list" else "text"
    if any(len(part) > min(column.max_length, MAX_TEXT_LENGTH) for part in parts):
        return f"at most {column.max_length} characters"
    if column.one_of and any(part not in column.one_of for part in parts):
        return "one of " + ", ".join(column.one_of)
    if column.pattern and not all(re.match(column.pattern, part) for part in parts):
        return f"{column.unit} (pattern {column.pattern})"
    return None


def _time_problem(value: Any) -> str | None:
    try:
        at = from_text(value)
    except (ValueError, TypeError):
        return "an instant such as 2026-11-20T18:00:00Z"
    return None if EARLIEST <= at < LATEST else f"an instant from {to_text(EARLIEST)} to {to_text(LATEST)}"


def _number_problem(column: Column, value: Any) -> str | None:
    low = -float("inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (column.dtype == "int" and not isinstance(value, int)) or not low <= value <= high:
        return f"a number from {low:g} to {high:g}"
    return None
