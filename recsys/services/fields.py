"""Checks of single values that come over the wire: ids, texts, numbers, and rows of a table of the data contract."""

import math
import re
from typing import Any, Final

from recsys.clock import to_text
from recsys.columns import EARLIEST, LATEST, MAX_ID_LENGTH, Column, Table
from recsys.errors import DataError
from recsys.instants import read_instant
from recsys.types import Fields, JsonObject


def check_id(name: str, value: object) -> str:
    """An external id, see `Column.is_id`. Raises DataError."""
    if not _is_id(value):
        raise DataError(f"{name}: found {shorten(value)}, expected {_ID}")
    return str(value)


_AN_INSTANT: Final = "an instant such as 2026-11-20T18:00:00Z"
_ID: Final = f"1 to {MAX_ID_LENGTH} printable characters"


def _is_id(value: object) -> bool:
    """A printable text holds no marks that turn the reading direction."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isprintable() and not value.isspace()


def shorten(value: object) -> str:
    """A value as a sentence may quote it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_row(table: Table, fields: Fields) -> Fields:
    """The stated columns of a row of a table, times in milliseconds. Raises DataError with every problem."""
    columns = {column.name: column for column in table.columns}
    problems = [
        f"{name}: found an unknown field, expected one of {', '.join(columns)}"
        for name in fields
        if name not in columns
    ]
    row: JsonObject = {}
    for name, column in columns.items():
        if name not in fields and not column.required:
            continue
        try:
            row[name] = check_column(column, fields.get(name))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(*problems)
    return {name: value for name, value in row.items() if value is not None}


def check_column(column: Column, value: object) -> Any:
    """
    The value of a column that came over the wire, a time in milliseconds, by the rules for data files (see
    `plain_value`). Raises DataError by the contract.
    """
    given = plain_value(column, value)
    problem = _problem(column, given)
    if problem:
        raise DataError(f"{column.name}: found {shorten(value)}, expected {problem}")
    return read_instant(given) if column.dtype == "time" else given


def plain_value(column: Column, value: object) -> object:
    """
    A value as data files are read: an empty text is unknown, 3.0 a whole number, and numbers, `true` and `false` may
    stand in quotes, as databases and CSV write them. What is none of this stays as it is.
    """
    if value == "":
        return None
    if column.dtype == "bool":
        return _BOOLEANS.get(value.lower(), value) if isinstance(value, str) else _bit(value)
    if column.dtype not in ("int", "float"):
        return value
    number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    if not isinstance(number, float) or not math.isfinite(number):
        return value
    if isinstance(value, str) and value.lstrip("+-").isdecimal():
        return int(value)  # a float holds no more than 53 bits
    return int(number) if column.dtype == "int" and number.is_integer() else number


_NUMBER: Final = re.compile(r"(?=.{1,40}$)[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def _bit(value: object) -> object:
    """0 and 1, of any type of number, as false and true."""
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


def _problem(column: Column, value: object) -> str | None:
    """What a value should have been; None when it is fine."""
    if value is None or (column.required and isinstance(value, str) and not value.strip()):
        return "a value" if column.required else None
    if column.dtype == "time":
        return _time_problem(value)
    if column.dtype == "bool":
        return None if isinstance(value, bool) else "true or false"
    if column.dtype in ("int", "float"):
        return _number_problem(column, value)
    if column.is_id:
        return None if _is_id(value) else _ID
    return _text_problem(column, value)


def _text_problem(column: Column, value: object) -> str | None:
    texts = value if column.dtype == "list" else [value]
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return "a list of texts" if column.dtype == "list" else f"text of at most {column.max_length} characters"
    if column.max_items is not None and len(texts) > column.max_items:
        return f"at most {column.max_items} texts"
    if any(len(text) > column.max_length for text in texts):
        return f"text of at most {column.max_length} characters"
    if column.one_of and any(text not in column.one_of for text in texts):
        return "one of " + ", ".join(column.one_of)
    if column.pattern and not all(re.fullmatch(column.pattern, text) for text in texts):
        return f"{column.unit} (pattern {column.pattern})"
    return None


def _time_problem(value: object) -> str | None:
    at = read_instant(value)
    if at is None:
        return _AN_INSTANT
    return None if EARLIEST <= at < LATEST else f"an instant from {to_text(EARLIEST)} to {to_text(LATEST)}"


_MAX_NUMBER: Final = 2.0**63 - 1_024
"""What a store can hold."""


def _number_problem(column: Column, value: object) -> str | None:
    low = -float("inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    low, high = max(low, -_MAX_NUMBER), min(high, _MAX_NUMBER)
    kinds = (int,) if column.dtype == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        return f"a {'whole ' if column.dtype == 'int' else ''}number from {low:g} to {high:g}"
    return None
