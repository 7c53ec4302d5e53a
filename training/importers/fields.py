"""Fields: how a column of a published file becomes ids, numbers, instants or texts of the data contract."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from recsys.columns import EARLIEST, LANGUAGE, LATEST, MAX_ID_LENGTH
from recsys.data.checks import UNSAFE_IN_IDS
from recsys.data.values import instant_of

_MAX_TEXT: Final = 20_000  # characters: descriptions of goods run on
_AMERICAN: Final = "%m/%d/%Y %I:%M:%S %p"  # as MIND has it
_JSON_TEXT: Final = r'"((?:[^"\\]|\\.)*)"'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """
    A column to read: its name in the file, how its values become those of the contract, and what is `expected`.

    An empty text is null. A value that `convert` makes null could not be read; null itself is refused when
    `is_required`. Objects and lists of JSON are refused unless it `takes_lists`.
    """

    column: str
    convert: Callable[[pl.Expr, pl.DataType], pl.Expr]
    expected: str
    is_required: bool = True
    takes_lists: bool = False


def id_of(column: str, *, is_required: bool = True) -> Field:
    """An external id. Whole numbers in a column of floats lose the `.0` that a null elsewhere gave them."""

    def convert(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        whole = raw.cast(pl.Int64, strict=False)
        plain = pl.when(whole == raw).then(whole) if dtype.is_float() else raw
        text = plain.cast(pl.String)
        return pl.when((text.str.len_chars() <= MAX_ID_LENGTH) & ~text.str.contains(UNSAFE_IN_IDS)).then(text)

    expected = f"an id of 1 to {MAX_ID_LENGTH} printable characters"
    return Field(column=column, convert=convert, expected=expected, is_required=is_required)


def name_as_id(column: str) -> Field:
    """A name that serves as an id, or none: without characters that do not print, and cut where an id ends."""

    def convert(raw: pl.Expr, _: pl.DataType) -> pl.Expr:
        printable = raw.cast(pl.String).str.replace_all(UNSAFE_IN_IDS, "").str.strip_chars()
        return printable.str.slice(0, MAX_ID_LENGTH)

    return Field(column=column, convert=convert, expected="a name", is_required=False)


def language(column: str) -> Field:
    """A language tag, which may be missing."""

    def convert(raw: pl.Expr, _: pl.DataType) -> pl.Expr:
        return pl.when(raw.str.contains(LANGUAGE)).then(raw)

    return Field(column=column, convert=convert, expected="a language tag such as ar or fr", is_required=False)


def number(column: str, *, is_required: bool = True) -> Field:
    """A finite number."""

    def convert(raw: pl.Expr, _: pl.DataType) -> pl.Expr:
        value = raw.cast(pl.Float64, strict=False)
        return pl.when(value.is_finite()).then(value)

    return Field(column=column, convert=convert, expected="a number", is_required=is_required)


def instant(column: str, *, is_required: bool = True) -> Field:
    """Milliseconds UTC of 1990 to 2100: as in a dataset, and the spellings of published sets."""

    def convert(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        value = instant_of(raw, dtype)
        if dtype == pl.String:
            american = raw.str.to_datetime(_AMERICAN, strict=False, time_unit="ms").dt.timestamp("ms")
            value = pl.coalesce(value, american, instant_of(raw.cast(pl.Float64, strict=False), pl.Float64()))
        return pl.when(value.is_between(EARLIEST, LATEST)).then(value)

    expected = "an instant of 1990 to 2100, such as 2026-11-20T18:00:00Z, or seconds or milliseconds since 1970"
    return Field(column=column, convert=convert, expected=expected, is_required=is_required)


def text(column: str) -> Field:
    """A text that may be missing; texts of a list are joined by a space."""

    def convert(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        if isinstance(dtype, pl.List):
            return raw.cast(pl.List(pl.String)).list.join(" ").str.slice(0, _MAX_TEXT)
        plain = raw.cast(pl.String)
        is_list = plain.str.starts_with('["') & plain.str.ends_with('"]')  # of JSON Lines
        words = plain.str.extract_all(_JSON_TEXT).list.eval(pl.element().str.strip_chars('"')).list.join(" ")
        return (
            pl.when(is_list).then(words).when(plain == "[]").then(pl.lit("")).otherwise(plain).str.slice(0, _MAX_TEXT)
        )

    return Field(column=column, convert=convert, expected="a text", is_required=False, takes_lists=True)
