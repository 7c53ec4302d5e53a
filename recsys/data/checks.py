"""
The checks of the rows of a table, as Polars expressions: one `RowCheck` for each way in which a column can be wrong.

Checks are derived from `recsys.columns` alone, so a new column is checked as soon as it is declared there. Checks that
need other rows (duplicate keys, references) take the result of an earlier pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from recsys.clock import MINUTE, Millis, to_text
from recsys.columns import EARLIEST, Column, Table, subject_of
from recsys.data.values import UNREADABLE
from recsys.vocabulary import EVENT_KINDS

CLOCK_SKEW: Final[Millis] = 5 * MINUTE
"""How far ahead of `at` an instant may lie: clocks of phones and servers differ by that much."""

"""Nothing in a feed is older; what is, are zeros, or seconds given as milliseconds (1970)."""

UNSAFE_IN_IDS: Final = r"[\p{C}\p{Zl}\p{Zp}[\p{Zs}--\x{20}]]"
"""Characters that do not print, among them the marks that turn the reading direction; of the spaces all but one."""

BIDI_MARKS: Final = r"[\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]"


ROW: Final = "#"
"""The column of row numbers, 1-based, that checks of whole tables rely on."""


@dataclass(frozen=True, slots=True, eq=False)
class RowCheck:
    """`is_bad` is true for a row that fails the check, never null; `kind` names the problem in counts."""

    column: str
    kind: str
    expected: str
    is_bad: pl.Expr


def column_checks(table: Table, at: Millis) -> list[RowCheck]:
    """The checks that need one row alone."""
    return [
        RowCheck(column.name, kind, expected, is_bad.fill_null(False))
        for column in table.columns
        for kind, expected, is_bad in _rules(column, at)
    ]


def _rules(column: Column, at: Millis) -> list[tuple[str, str, pl.Expr]]:
    value, unreadable = pl.col(column.name), pl.col(UNREADABLE + column.name).is_not_null()
    rules = [("dtype", _DTYPE_SENTENCES[column.dtype], unreadable)]
    if column.required:
        empty = (value.str.strip_chars() == "") if column.dtype == "str" else pl.lit(False)
        rules.append(("missing", "a value, the column is required", (value.is_null() & ~unreadable) | empty))
    if column.dtype == "time":
        rules.append(("future", f"an instant not after {to_text(at)}", value > at + CLOCK_SKEW))
        rules.append(("too_early", f"an instant since {to_text(EARLIEST)}, in milliseconds", value < EARLIEST))
    if column.dtype == "float":
        rules.append(("not_finite", "a finite number", value.is_infinite() | value.is_nan()))
    return rules + _bounds(column) + _texts(column)


_DTYPE_SENTENCES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "time": "an instant such as 2026-11-20T18:00:00Z, or milliseconds since 1970 UTC",
    "list": "a list of texts (in CSV joined by |)",
}


def _bounds(column: Column) -> list[tuple[str, str, pl.Expr]]:
    value, rules = pl.col(column.name), []
    finite = value.is_finite() if column.dtype == "float" else pl.lit(True)
    unit = f" ({column.unit})" if column.unit else ""
    if column.minimum is not None:
        rules.append(("range", f"at least {column.minimum:g}{unit}", finite & (value < column.minimum)))
    if column.maximum is not None:
        rules.append(("range", f"at most {column.maximum:g}{unit}", finite & (value > column.maximum)))
    return rules


def _texts(column: Column) -> list[tuple[str, str, pl.Expr]]:
    if column.dtype not in ("str", "list"):
        return []
    value = pl.col(column.name)
    long = f"at most {column.max_length:,} characters"
    rules = [("too_long", long, _any(column, lambda text: text.str.len_chars() > column.max_length))]
    if column.one_of is not None:
        words = list(column.one_of)
        rules.append(("vocabulary", f"one of {', '.join(words)}", _any(column, lambda text: ~text.is_in(words))))
    if column.pattern is not None:
        like, pattern = f"{column.unit or 'text'} matching {column.pattern}", column.pattern
        rules.append(("pattern", like, _any(column, lambda text: ~text.str.contains(pattern))))
    if column.max_items is not None:
        many = value.list.len() > column.max_items
        rules.append(("too_many", f"at most {column.max_items} texts", many))
    if column.is_id:
        rules.append(("unsafe_id", "an id of printable characters", value.str.contains(UNSAFE_IN_IDS)))
        if not column.required:  # of a required one that is a missing value
            rules.append(("empty_id", "an id, or null", value.str.strip_chars(" ") == ""))
    return rules


def _any(column: Column, is_bad: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """A test of one text, applied to a text column or to each text of a list."""
    value = pl.col(column.name)
    if column.dtype == "list":
        return value.list.eval(is_bad(pl.element()).fill_null(True)).list.any()
    return is_bad(value)


def subject_checks() -> list[RowCheck]:
    """Every event names exactly what its kind is about: one of `item_id`, `creator_id`, `query`, or `value`."""
    checks = []
    for subject in ("item_id", "creator_id", "query", "value"):
        kinds = [kind for kind in EVENT_KINDS if subject_of(kind) == subject]
        is_about = pl.col("kind").is_in(kinds)
        missing = (is_about & pl.col(subject).is_null()).fill_null(False)
        checks.append(RowCheck(subject, "subject", f"a {subject} beside the kinds {', '.join(kinds)}", missing))
        if subject != "value":  # the others may carry a value of their own, such as a rating
            extra = (~is_about & pl.col(subject).is_not_null()).fill_null(False)
            checks.append(RowCheck(subject, "subject", f"null beside kinds other than {', '.join(kinds)}", extra))
    return checks


def duplicate_check(key: str, repeated_rows: pl.Series) -> RowCheck:
    """A key may stand once; `repeated_rows` are the row numbers (column `ROW`) after the first of each key."""
    return RowCheck(
        key, "duplicate", "each key once (the first row was kept)", pl.col(ROW).is_in(repeated_rows.implode())
    )


def reference_check(column: str, table: str, unknown: pl.Series) -> RowCheck:
    """`unknown` are the ids in `column` that no accepted row of `table` has."""
    is_bad = pl.col(column).is_in(unknown.implode()).fill_null(False)
    return RowCheck(column, "unknown_id", f"an id of an accepted row of the table {table}", is_bad)
