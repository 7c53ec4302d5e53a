"""
Reading and writing a dataset folder: the four tables of `recsys.columns` as lazy Polars frames.

A table is one file `<table>.parquet`, `.csv` or `.jsonl` (the last two also gzipped), or parts of one format named
`<table>/*` or `<table>-*`. Whatever the format, a frame has the contract's columns in order with one dtype each:
text, integers, floats, booleans, lists of text, and instants as integer milliseconds UTC.

Frames are lazy. Collect them with the streaming engine, so that memory does not grow with the number of rows.
"""

import codecs
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final

import polars as pl

from recsys.columns import FORMER_NAMES, TABLES, Column, Dtype, Table
from recsys.errors import ConfigError, DataError

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

_MAX_SHOWN: Final = 81  # one character more than a report shows, so that it can mark a cut
_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_SNIFFED_LINES: Final = 1_000
_CHUNK: Final = 1 << 20
_ROW_GROUP: Final = 1 << 18
_INSTANT: Final = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"
_JSON_TEXTS: Final = r'^\[\s*("[^"]*"(\s*,\s*"[^"]*")*)?\s*\]$'


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """
    The four tables, lazy, with every column of the contract (null = unknown), and notices for the reader.

    A value that cannot be read as its dtype is null here. `sanad validate` counts and reports such values.
    """

    creators: pl.LazyFrame
    items: pl.LazyFrame
    users: pl.LazyFrame
    events: pl.LazyFrame
    notices: tuple[str, ...] = ()

    def frame(self, table: str) -> pl.LazyFrame:
        """The table of that name."""
        return {"creators": self.creators, "items": self.items, "users": self.users, "events": self.events}[table]


def read_dataset(folder: Path) -> Dataset:
    """
    The tables of a folder.

    Raises:  DataError with every missing table, missing required column, table in several formats and text that
             is not UTF-8.
    """
    frames, notices = scan(folder)
    typed = {table.name: frames[table.name].select(c.name for c in table.columns) for table in TABLES}
    return Dataset(**typed, notices=notices)


def scan(folder: Path) -> tuple[dict[str, pl.LazyFrame], tuple[str, ...]]:
    """
    Table name -> lazy frame of typed columns, each beside its `UNREADABLE` twin; and notices.

    Raises:  DataError as `read_dataset`.
    """
    problems: list[str] = []
    notices: list[str] = []
    frames: dict[str, pl.LazyFrame] = {}
    for table in TABLES:
        try:
            frames[table.name] = _scan_table(folder, table, notices)
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return frames, tuple(dict.fromkeys(notices))


@contextmanager
def reading(table: str) -> Iterator[None]:
    """Turns an error of the reader (a torn file, a row with too many fields) into a sentence about the table."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        text = " ".join(str(error).split())
        raise DataError(
            f"table {table}: reading it failed with {text[:300]!r}; expected whole files as in the data contract; "
            "repair or export the file again"
        ) from error


def check_unused(folder: Path) -> None:
    """Raises ConfigError when a folder holds anything: a dataset never overwrites another one."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"found {folder} in use, expected a new or empty folder; remove it, or choose another")


def write_dataset(folder: Path, **frames: pl.LazyFrame | pl.DataFrame) -> None:
    """
    Writes tables as Parquet: `write_dataset(folder, creators=..., items=..., users=..., events=...)`.

    Columns get the contract's order and dtype; instants may be integers (milliseconds) or datetimes. Every table is
    written under a temporary name and then renamed, so that a reader never sees a part of a table.
    Raises:  DataError for columns outside the contract, missing required ones, or a table that already stands
             there in another format.
    """
    lazy = {name: frame.lazy() for name, frame in frames.items()}
    tables = {table.name: table for table in TABLES}
    schemas = {name: frame.collect_schema() for name, frame in lazy.items()}
    problems = [p for name, schema in schemas.items() for p in _unwritable(folder, tables[name], schema)]
    if problems:
        raise DataError(*problems)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in lazy.items():
        typed = frame.select(
            _storage_column(c, schemas[name][c.name]) for c in tables[name].columns if c.name in schemas[name]
        )
        with reading(name):
            typed.sink_parquet(folder / f".{name}.parquet.tmp", compression="zstd", row_group_size=_ROW_GROUP)
    for name in lazy:
        (folder / f".{name}.parquet.tmp").replace(folder / f"{name}.parquet")


def _storage_column(column: Column, dtype: pl.DataType) -> pl.Expr:
    if column.dtype != "time":
        return pl.col(column.name).cast(DTYPES[column.dtype])
    return _instant(pl.col(column.name), dtype).cast(pl.Datetime("ms", "UTC")).alias(column.name)


def _unwritable(folder: Path, table: Table, schema: pl.Schema) -> list[str]:
    names = [c.name for c in table.columns]
    problems = [f"table {table.name}: found column {c!r}, expected one of {names}" for c in schema if c not in names]
    problems += [f"table {table.name}: column {c!r} is missing and required" for c in table.required if c not in schema]
    target = folder / f"{table.name}.parquet"
    problems += [
        f"table {table.name}: {path} is already there; write into an empty folder"
        for path in _files(folder, table.name)
        if path != target
    ]
    return problems


# ---- finding files ----


def _files(folder: Path, table: str) -> list[Path]:
    whole = [folder / f"{table}{suffix}" for suffix in _SUFFIXES]
    parts = [*folder.glob(f"{table}-*"), *(folder / table).glob("*")]
    return [p for p in whole if p.is_file()] + sorted(p for p in parts if p.is_file() and _format(p) is not None)


def _format(path: Path) -> str | None:
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return suffix.removesuffix(".gz").removeprefix(".")
    return None


def _scan_table(folder: Path, table: Table, notices: list[str]) -> pl.LazyFrame:
    files = _files(folder, table.name)
    if not files:
        raise DataError(
            f"table {table.name}: found no file in {folder}, expected {table.name}.parquet, .csv or .jsonl, or parts "
            f"{table.name}/*.parquet or {table.name}-*.parquet"
        )
    places = {(_format(p), p.parent == folder and not p.name.startswith(f"{table.name}-")) for p in files}
    whole = [p for p in files if p.parent == folder and not p.name.startswith(f"{table.name}-")]
    if len(places) > 1 or len(whole) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p in files[:6])
        raise DataError(f"table {table.name}: found {names}, expected it once and in one format; remove the others")
    problems: list[str] = []
    frames: list[pl.LazyFrame] = []
    for path in files:
        try:
            frames.append(_scan_file(path, table, notices))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return pl.concat(frames) if len(frames) > 1 else frames[0]


# ---- one file ----


def _scan_file(path: Path, table: Table, notices: list[str]) -> pl.LazyFrame:
    _refuse_bad_text(path, table)
    with reading(table.name):
        raw, schema, names_in_file = _open(path, table)
    former = _former_names(table, names_in_file)
    if former:
        raw, names_in_file = raw.rename(former), [former.get(c, c) for c in names_in_file]
        schema = {former.get(c, c): dtype for c, dtype in schema.items()}
    notices.extend(
        f"table {table.name}: column {old!r} of {path.name} is called {new!r} now and was read as such"
        for old, new in former.items()
    )
    names = {c.name for c in table.columns}
    missing = [c for c in table.required if c not in names_in_file]
    if missing:
        raise DataError(
            *(f"table {table.name}: {path.name} has no column {c!r}, which is required; add it" for c in missing)
        )
    notices.extend(
        f"table {table.name}: column {c!r} of {path.name} is not in the data contract and was left out"
        for c in names_in_file
        if c not in names
    )
    problems = [p for c in table.columns if (p := _wrong_dtype(table, c, schema))]
    if problems:
        raise DataError(*problems)
    notices.extend(n for c in table.columns if (n := _conversion_notice(table, c, schema)))
    typed = [_read_column(c, schema.get(c.name)).alias(c.name) for c in table.columns]
    return raw.select(*typed, *(_unreadable(c, schema.get(c.name)) for c in table.columns))


def _open(path: Path, table: Table) -> tuple[pl.LazyFrame, Mapping[str, pl.DataType], list[str]]:
    """The raw frame, the dtypes of the contract's columns in it, and all column names of the file."""
    if _format(path) == "parquet":
        raw = pl.scan_parquet(path)
        schema = raw.collect_schema()
        return raw, schema, list(schema)
    text = pl.String()
    if _format(path) == "csv":
        with _text(path) as lines:
            has_header = bool(lines.read(1))
        raw = pl.scan_csv(path, infer_schema=False) if has_header else pl.LazyFrame()
        names = [name.removeprefix("\ufeff") for name in raw.collect_schema()]
        return raw.rename(dict(zip(raw.collect_schema(), names, strict=True))), dict.fromkeys(names, text), names
    names = _json_keys(path, table)
    former = {new: old for old, new in _former_names(table, names).items()}
    dtypes = {former.get(c.name, c.name): text for c in table.columns}
    if not names:
        return pl.LazyFrame(schema=dtypes), dtypes, list(dtypes)
    return pl.scan_ndjson(path, schema=dtypes), dtypes, names


def _former_names(table: Table, names: Sequence[str]) -> dict[str, str]:
    """The former names among the columns of a file, with the names of now."""
    pairs = FORMER_NAMES.get(table.name, {}).items()
    return {old: new for old, new in pairs if old in names and new not in names}


def _text(path: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _json_keys(path: Path, table: Table) -> list[str]:
    keys: dict[str, None] = {}
    with _text(path) as lines:
        for number, line in enumerate(islice(lines, _SNIFFED_LINES), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise DataError(f"table {table.name}: line {number} of {path.name} is not one JSON object; repair it")
            keys.update(dict.fromkeys(row))
    return list(keys)


def _refuse_bad_text(path: Path, table: Table) -> None:
    """Names the line of the first byte that is not UTF-8, which the reader itself does not."""
    if _format(path) == "parquet":
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = 0
    with reading(table.name), _text(path) as stream:
        while chunk := stream.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = newlines + error.object[: error.start].count(b"\n") + 1
                raise DataError(
                    f"table {table.name}: line {line} of {path.name} holds the byte "
                    f"0x{error.object[error.start]:02x}, which is not UTF-8; export the file as UTF-8"
                ) from error
            newlines += chunk.count(b"\n")


# ---- dtypes ----


def _wrong_dtype(table: Table, column: Column, schema: Mapping[str, pl.DataType]) -> str | None:
    """A sentence when a whole Parquet column has a dtype from which the contract's cannot be read."""
    dtype = schema.get(column.name)
    if dtype is None or dtype in (pl.String, pl.Null):
        return None
    fits = {
        "str": dtype.is_integer() or dtype in (pl.Categorical, pl.Enum),
        "int": dtype.is_numeric(),
        "float": dtype.is_numeric(),
        "bool": dtype == pl.Boolean or dtype.is_integer(),
        "time": dtype.is_integer() or dtype in (pl.Datetime, pl.Date),
        "list": dtype == pl.List(pl.String) or dtype == pl.List(pl.Null),
    }[column.dtype]
    if fits:
        return None
    return f"table {table.name}: column {column.name!r} holds {dtype}, expected {column.dtype}; convert it"


def _conversion_notice(table: Table, column: Column, schema: Mapping[str, pl.DataType]) -> str | None:
    dtype = schema.get(column.name)
    if dtype is None:
        return None
    where = f"table {table.name}: column {column.name!r}"
    if column.dtype == "str" and dtype.is_integer():
        return f"{where} holds numbers and was read as text"
    if column.dtype == "time" and (dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)):
        return f"{where} has no time zone and was read as UTC"
    return None


def _read_column(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """The column as its contract dtype; null where it cannot be read."""
    raw, target = pl.col(column.name), DTYPES[column.dtype]
    if dtype is None or dtype == pl.Null:
        return pl.lit(None, dtype=target)
    if column.dtype == "time":
        return _instant(raw, dtype)
    if column.dtype == "list" and dtype == pl.String:
        return _texts(raw)
    if column.dtype == "bool" and dtype != pl.Boolean:
        return _boolean(raw.cast(pl.String))
    if column.dtype == "int" and dtype.is_float():
        whole = raw.cast(pl.Int64, strict=False)
        return pl.when(whole == raw).then(whole)
    return raw.cast(target, strict=False)


def _unreadable(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    name = UNREADABLE + column.name
    if dtype is None or dtype == pl.Null or dtype == DTYPES[column.dtype]:
        return pl.lit(None, dtype=pl.String).alias(name)
    raw = pl.col(column.name)
    lost = raw.is_not_null() & _read_column(column, dtype).is_null()
    shown = raw.list.join("|") if isinstance(dtype, pl.List) else raw.cast(pl.String)
    return pl.when(lost).then(shown.str.slice(0, _MAX_SHOWN)).alias(name)


def _instant(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return raw.dt.timestamp("ms")
    if dtype == pl.Date:
        return raw.cast(pl.Datetime("ms")).dt.timestamp("ms")
    if dtype != pl.String:
        return raw.cast(pl.Int64)
    text = pl.when(raw.str.contains(_INSTANT)).then(raw.str.to_uppercase().str.replace(" ", "T", literal=True))
    parsed = text.str.to_datetime("%+", strict=False, time_unit="ms", time_zone="UTC").dt.timestamp("ms")
    return pl.coalesce(pl.when(raw.str.contains(r"^-?\d{1,18}$")).then(raw.cast(pl.Int64, strict=False)), parsed)


def _texts(raw: pl.Expr) -> pl.Expr:
    """`a|b` (CSV) or `["a", "b"]` (JSON) as a list."""
    is_json = raw.str.starts_with("[")
    quoted = pl.when(raw.str.contains(_JSON_TEXTS)).then(raw).str.extract_all('"[^"]*"')
    from_json = quoted.list.eval(pl.element().str.strip_chars('"'))
    return pl.when(is_json).then(from_json).otherwise(pl.when(~is_json).then(raw).str.split("|"))


def _boolean(text: pl.Expr) -> pl.Expr:
    lower = text.str.to_lowercase()
    return pl.when(lower.is_in(["true", "1"])).then(True).when(lower.is_in(["false", "0"])).then(False)
