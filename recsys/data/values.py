"""
Values of a data file as the dtypes of the contract: Polars expressions from what stands in the file.

The readers are the same for every format, and those of instants (`recsys.instants`) the same as over HTTP. An empty
text is unknown wherever it stands.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from recsys.columns import Column, Dtype, Table
from recsys.instants import DATE, HAIR, NUMBER, PATTERN, UNITS, in_unit

DTYPES: Final[Mapping[Dtype, pl.DataType]] = {
    "str": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "time": pl.Int64(),
    "list": pl.List(pl.String()),
}
"""How each dtype of the contract looks in a frame."""

UNREADABLE: Final = "!"
"""Prefix of a column with unreadable values, shortened: `!watch_s` is null wherever `watch_s` could be read."""

ASSUMED: Final = "?"
"""Prefix of a column beside an instant: what was assumed to read it (one of `ASSUMPTIONS`), null = nothing."""

NO_ZONE: Final = "no time zone"
ASSUMPTIONS: Final[Mapping[str, str]] = {
    NO_ZONE: "as UTC",
    **{f"{unit} for milliseconds": f"as {unit} since 1970" for unit, _, _ in UNITS if unit != "milliseconds"},
}
"""What may be assumed of an instant, and as what it was read."""

_MAX_SHOWN: Final = 81  # one character more than a report shows, so that it can mark a cut
_MAX_WHOLE: Final = 2**53  # above, a float no longer holds every whole number
_PLAIN: Final = rf"^{DATE}[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{{1,9}})?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)$"
"""The spelling of nearly all instants, which is read without being rewritten."""
_NAIVE: Final = r"^\d{4}-\d\d-\d\d(?:[T ][\d:.]+)?$"
_JSON_TEXTS: Final = r'^\[\s*("[^"]*"(\s*,\s*"[^"]*")*)?\s*\]$'


def typed(frame: pl.LazyFrame, table: Table, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """
    The columns of a table, each beside its `UNREADABLE` twin and instants beside `ASSUMED`.

    `schema` are the dtypes of those that the frame has. Values are read once; what is lost is found by comparing.
    """
    read = frame.select(
        expression
        for c in table.columns
        for expression in (
            read_column(c, schema.get(c.name)).alias(c.name),
            _given(c.name, schema.get(c.name)).alias(UNREADABLE + c.name),
        )
    )
    return read.select(expression for c in table.columns for expression in _beside(c, schema.get(c.name)))


def _beside(column: Column, dtype: pl.DataType | None) -> list[pl.Expr]:
    columns = [pl.col(column.name), _unreadable(column, dtype).alias(UNREADABLE + column.name)]
    return [*columns, _assumed(column, dtype).alias(ASSUMED + column.name)] if column.dtype == "time" else columns


def read_column(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """The column as its contract dtype; null where it is unknown or cannot be read."""
    target = DTYPES[column.dtype]
    if dtype is None or dtype == pl.Null:
        return pl.lit(None, dtype=target)
    raw = _given(column.name, dtype)
    if column.dtype == "time":
        return instant_of(raw, dtype)
    if column.dtype == "list" and dtype == pl.String:
        return _texts(raw)
    if column.dtype == "bool" and dtype != pl.Boolean:
        return _boolean(raw.cast(pl.String))
    if column.dtype == "int" and dtype != pl.Int64:
        return _whole(raw, dtype)
    return raw.cast(target, strict=False)


def wrong_dtype(table: Table, column: Column, schema: Mapping[str, pl.DataType]) -> str | None:
    """A sentence when a whole Parquet column has a dtype from which the contract's cannot be read."""
    dtype = schema.get(column.name)
    if dtype is None or dtype in (pl.String, pl.Null):
        return None
    fits = {
        "str": dtype.is_integer() or dtype in (pl.Categorical, pl.Enum),
        "int": dtype.is_numeric(),
        "float": dtype.is_numeric(),
        "bool": dtype == pl.Boolean or dtype.is_integer(),
        "time": dtype.is_numeric() or dtype in (pl.Datetime, pl.Date),
        "list": dtype == pl.List(pl.String) or dtype == pl.List(pl.Null),
    }[column.dtype]
    if fits:
        return None
    return f"table {table.name}: column {column.name!r} holds {dtype}, expected {column.dtype}; convert it"


def conversion_notice(table: Table, column: Column, schema: Mapping[str, pl.DataType]) -> str | None:
    """A sentence about a column that was read as another dtype than it has."""
    dtype = schema.get(column.name)
    if dtype is None:
        return None
    where = f"table {table.name}: column {column.name!r}"
    if column.dtype == "str" and dtype.is_integer():
        return f"{where} holds numbers and was read as text"
    if column.dtype == "time" and (dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)):
        return f"{where} has no time zone and was read as UTC"
    return None


def _given(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """The value as it stands, an empty text as null."""
    if dtype is None:
        return pl.lit(None, dtype=pl.String)
    return pl.when(pl.col(name) != "").then(pl.col(name)) if dtype == pl.String else pl.col(name)


def _unreadable(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    if dtype is None or dtype == pl.Null or dtype == DTYPES[column.dtype]:
        return pl.lit(None, dtype=pl.String)
    raw = pl.col(UNREADABLE + column.name)
    lost = raw.is_not_null() & pl.col(column.name).is_null()
    shown = raw.list.join("|") if isinstance(dtype, pl.List) else raw.cast(pl.String)
    return pl.when(lost).then(shown.str.slice(0, _MAX_SHOWN))


# ---- instants ----


def instant_of(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Milliseconds UTC of values of this dtype, also outside of the contract's bounds; null for what is no instant."""
    if isinstance(dtype, pl.Datetime):
        return raw.dt.timestamp("ms")
    if dtype == pl.Date:
        return raw.cast(pl.Datetime("ms")).dt.timestamp("ms")
    if dtype.is_integer():
        return _of_whole(raw.cast(pl.Int64))
    if dtype.is_float():
        return _of_float(raw.cast(pl.Float64))
    return raw.map_batches(_text_instants, return_dtype=pl.Int64(), is_elementwise=True)


def _text_instants(texts: pl.Series) -> pl.Series:
    """Instants in text. A batch in the plain spelling, as nearly all are, is not searched for others."""
    text = pl.col(texts.name)
    return texts.to_frame().select(_parsed(text) if _is_plain(texts) else _of_any_spelling(text)).to_series()


def _is_plain(texts: pl.Series) -> bool:
    return bool(texts.str.contains(_PLAIN).all())


def _of_any_spelling(text: pl.Expr) -> pl.Expr:
    bare = text.str.strip_chars(" ")
    number = pl.when(bare.str.contains(NUMBER)).then(bare)
    return pl.coalesce(
        _parsed(_rewritten(bare)),
        _of_whole(number.cast(pl.Int64, strict=False)),
        _of_float(pl.when(number.str.contains(".", literal=True)).then(number).cast(pl.Float64, strict=False)),
    )


def _parsed(text: pl.Expr) -> pl.Expr:
    """Of texts as `_PLAIN` has them."""
    spelled = text.str.replace(" ", "T", literal=True)
    return spelled.str.to_datetime("%+", strict=False, time_unit="ms", time_zone="UTC").dt.timestamp("ms")


def _rewritten(text: pl.Expr) -> pl.Expr:
    """Any spelling of `PATTERN` with seconds and an offset of hours and minutes."""
    spelled: pl.Expr = pl.when(text.str.contains(PATTERN)).then(text.str.to_uppercase())
    steps = (
        (r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00"),
        (r" ?(?:Z|UTC|GMT)$", "+00:00"),
        (r"(:\d\d(?:\.\d+)?)$", "${1}+00:00"),  # no zone, or an offset with a colon, which the next step mends
        (r"([+-]\d\d:\d\d)\+00:00$", "${1}"),
        (r"(:\d\d(?:\.\d+)?) ?([+-]\d\d)$", "${1}${2}:00"),
        (r"(:\d\d(?:\.\d+)?) ?([+-]\d\d):?(\d\d)$", "${1}${2}:${3}"),
        (r"^(.{10}).(\d\d:\d\d)([+-])", "${1}T${2}:00${3}"),
    )
    for pattern, value in steps:
        spelled = spelled.str.replace(pattern, value)
    return spelled


def _of_whole(number: pl.Expr) -> pl.Expr:
    result: pl.Expr = number
    for _, factor, divisor in UNITS:
        low, high = in_unit(factor, divisor)
        result = pl.when((number >= int(low)) & (number < int(high))).then(number * factor // divisor).otherwise(result)
    return result


def _of_float(number: pl.Expr) -> pl.Expr:
    """Numbers with a fraction, where they lie within the bounds."""
    result: pl.Expr = pl.lit(None, dtype=pl.Int64)
    for _, factor, divisor in UNITS:
        low, high = in_unit(factor, divisor)
        millis = (number * (factor / divisor) + HAIR).cast(pl.Int64, strict=False)
        result = pl.when((number >= low) & (number < high)).then(millis).otherwise(result)
    return result


def _assumed(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """What `instant_of` took for granted of a value; what holds for a whole column says `conversion_notice`."""
    if dtype is None or not (dtype == pl.String or dtype.is_numeric()):
        return pl.lit(None, dtype=pl.String)
    raw = pl.col(UNREADABLE + column.name)
    if dtype.is_numeric():
        return _unit(raw.cast(pl.Float64))
    return raw.map_batches(_text_assumptions, return_dtype=pl.String(), is_elementwise=True)


def _text_assumptions(texts: pl.Series) -> pl.Series:
    if _is_plain(texts):
        return pl.Series(texts.name, [None], pl.String()).new_from_index(0, len(texts))
    bare = pl.col(texts.name).str.strip_chars(" ")
    unit = _unit(bare.cast(pl.Float64, strict=False))
    found = pl.when(bare.str.contains(_NAIVE)).then(pl.lit(NO_ZONE)).otherwise(unit)
    return texts.to_frame().select(found).to_series()


def _unit(number: pl.Expr) -> pl.Expr:
    result: pl.Expr = pl.lit(None, dtype=pl.String)
    for name, factor, divisor in UNITS:
        low, high = in_unit(factor, divisor)
        if name != "milliseconds":
            is_so = (number >= low) & (number < high)
            result = pl.when(is_so).then(pl.lit(f"{name} for milliseconds")).otherwise(result)
    return result


# ---- other dtypes ----


def _whole(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whole numbers, also as 3.0: a column of numbers with gaps is one of floats in many programs."""
    if dtype.is_integer():
        return raw.cast(pl.Int64, strict=False)
    number = raw.cast(pl.Float64, strict=False)
    whole = pl.when((number == number.floor()) & (number.abs() <= _MAX_WHOLE)).then(number)
    return pl.coalesce(raw.cast(pl.Int64, strict=False) if dtype == pl.String else None, whole.cast(pl.Int64))


def _texts(raw: pl.Expr) -> pl.Expr:
    """`a|b` (CSV) or `["a", "b"]` (JSON) as a list."""
    is_json = raw.str.starts_with("[")
    quoted = pl.when(raw.str.contains(_JSON_TEXTS)).then(raw).str.extract_all('"[^"]*"')
    from_json = quoted.list.eval(pl.element().str.strip_chars('"'))
    return pl.when(is_json).then(from_json).otherwise(pl.when(~is_json).then(raw).str.split("|"))


def _boolean(text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(["true", "1"])).then(True).when(lower.is_in(["false", "0"])).then(False)
