"""
Reading and writing a dataset folder: the four tables of `recsys.columns` as lazy Polars frames.

Which files a table is made of says `recsys.data.files`, how one is opened `recsys.data.raw`, and how values become
dtypes `recsys.data.values`. Whatever the format, a frame has the contract's columns in order with one dtype each: text,
integers, floats, booleans, lists of text, and instants as integer milliseconds UTC.

Frames are lazy. Collect them with the streaming engine, so that memory does not grow with the number of rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from recsys.columns import EVENTS, FOR_READERS, TABLES, Column, Table
from recsys.data.files import READABLE, DataFile, find_tables, format_of
from recsys.data.raw import DAMAGE, Raw, former_names, open_raw
from recsys.data.values import DTYPES, conversion_notice, typed, wrong_dtype
from recsys.errors import ConfigError, DataError

_ROW_GROUP: Final = 1 << 18


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """
    One table as it stands in its files: a frame of typed columns, each beside its `UNREADABLE` twin and instants also
    beside their `ASSUMED` twin; the open files; and notices.
    """

    frame: pl.LazyFrame
    files: tuple[Raw, ...]
    notices: tuple[str, ...]


def read_dataset(folder: Path) -> Dataset:
    """
    The tables of a folder.

    Raises:  DataError with every file that belongs to no table, missing table, missing required column, table in
             several places, and damaged file.
    """
    scans = scan(folder)
    frames = {table.name: scans[table.name].frame.select(c.name for c in table.columns) for table in TABLES}
    return Dataset(**frames, notices=notices_of(scans.values()))


def read_table(place: Path, name: str) -> pl.LazyFrame:
    """
    One table with every column of the contract: of a dataset folder, or of one file with any name.

    Raises:  DataError as `read_dataset`, as far as this table goes.
    """
    table = next(table for table in TABLES if table.name == name)
    if place.is_dir():
        files = find_tables(place, [table.name for table in TABLES])[name]
    else:
        form = format_of(place.name)
        if form is None or not place.is_file():
            raise DataError(f"found {place}, expected a dataset folder, or a table in {READABLE}; correct the path")
        files = [DataFile(place, place.name, form)]
    return _scan_table(place, table, files).frame.select(c.name for c in table.columns)


def scan(folder: Path) -> dict[str, Scan]:
    """
    Every table by its name.

    Raises:  DataError as `read_dataset`.
    """
    files = find_tables(folder, [table.name for table in TABLES])
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for table in TABLES:
        try:
            scans[table.name] = _scan_table(folder, table, files[table.name])
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return scans


def notices_of(scans: Iterable[Scan]) -> tuple[str, ...]:
    """The notices of all tables, each once."""
    return tuple(dict.fromkeys(notice for scanned in scans for notice in scanned.notices))


@contextmanager
def reading(table: str, files: Sequence[Raw] = ()) -> Iterator[None]:
    """Turns an error of the reader into a sentence about the table, with the broken place where `files` are given."""
    try:
        yield
    except DAMAGE as error:
        place = next((place for file in files if (place := file.locate())), None)
        text = " ".join(str(error).split())
        raise DataError(
            f"table {table}: {place}"
            if place
            else f"table {table}: reading it failed with {text[:300]!r}; expected whole files as in the data contract; "
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
            *(_storage_column(c, schemas[name][c.name]) for c in tables[name].columns if c.name in schemas[name]),
            *(pl.col(c).cast(pl.String) for c in FOR_READERS.get(name, ()) if c in schemas[name]),
        )
        with reading(name):
            typed.sink_parquet(folder / f".{name}.parquet.tmp", compression="zstd", row_group_size=_ROW_GROUP)
    for name in lazy:
        (folder / f".{name}.parquet.tmp").replace(folder / f"{name}.parquet")


def write_days(folder: Path, events: pl.DataFrame) -> None:
    """Writes the events as `events/date=YYYY-MM-DD/part.parquet`, a part for each day in UTC, in the given order."""
    typed = events.select(_storage_column(c, events.schema[c.name]) for c in EVENTS.columns)
    for (day,), part in typed.group_by(pl.col("at").dt.date(), maintain_order=True):
        place = folder / "events" / f"date={day}"
        place.mkdir(parents=True)
        part.write_parquet(place / "part.parquet", compression="zstd", row_group_size=_ROW_GROUP)


def _storage_column(column: Column, dtype: pl.DataType) -> pl.Expr:
    if column.dtype != "time":
        return pl.col(column.name).cast(DTYPES[column.dtype])
    value = pl.col(column.name)
    if isinstance(dtype, pl.Datetime):
        value = value.dt.timestamp("ms")
    return value.cast(pl.Int64).cast(pl.Datetime("ms", "UTC")).alias(column.name)


def _unwritable(folder: Path, table: Table, schema: pl.Schema) -> list[str]:
    names = [*(c.name for c in table.columns), *FOR_READERS.get(table.name, ())]
    problems = [f"table {table.name}: found column {c!r}, expected one of {names}" for c in schema if c not in names]
    problems += [f"table {table.name}: column {c!r} is missing and required" for c in table.required if c not in schema]
    there = find_tables(folder, [t.name for t in TABLES])[table.name] if folder.is_dir() else []
    problems += [
        f"table {table.name}: {file.path} is already there; write into an empty folder"
        for file in there
        if file.name != f"{table.name}.parquet"
    ]
    return problems


# ---- reading ----


def _scan_table(folder: Path, table: Table, files: Sequence[DataFile]) -> Scan:
    if not files:
        raise DataError(
            f"table {table.name}: found no file in {folder}, expected {table.name}.parquet, .csv, .tsv or .jsonl, or "
            f"parts {table.name}/*.parquet or {table.name}-*.parquet"
        )
    problems: list[str] = []
    opened: list[tuple[DataFile, Raw]] = []
    for file in files:
        try:
            raw = open_raw(file, table)
            opened += [(file, raw)] if raw is not None else []
        except DataError as error:
            problems += [f"table {table.name}: {problem}" for problem in error.problems]
    if not opened and not problems and all(file.form == "jsonl" for file in files):
        nothing = {table.key: pl.String()}  # no lines, no rows
        opened.append((files[0], _no_rows(files[0].name, nothing)))
    if not opened and not problems:
        problems.append(f"table {table.name}: {files[0].name} is empty, expected at least a header; export it again")
    problems += [problem for _, raw in opened for c in table.columns if (problem := wrong_dtype(table, c, raw.schema))]
    if problems:
        raise DataError(*problems)
    frames = [_typed(raw, table) for _, raw in opened]
    return Scan(
        frame=pl.concat(frames) if len(frames) > 1 else frames[0],
        files=tuple(raw for _, raw in opened),
        notices=tuple(notice for file, raw in opened for notice in _notices(file, raw, table)),
    )


def _no_rows(name: str, schema: Mapping[str, pl.DataType]) -> Raw:
    return Raw(
        name=name,
        frame=pl.LazyFrame(schema=dict(schema)),
        schema=schema,
        names=(),
        locate=lambda: None,
        lines_of=lambda rows: [],
    )


def _typed(raw: Raw, table: Table) -> pl.LazyFrame:
    former = former_names(table, raw.names)
    schema = {former.get(name, name): dtype for name, dtype in raw.schema.items()}
    frame = raw.frame.rename(former) if former else raw.frame
    return typed(frame, table, schema)


def _notices(file: DataFile, raw: Raw, table: Table) -> Iterator[str]:
    former = former_names(table, raw.names)
    for old, new in former.items():
        yield f"table {table.name}: column {old!r} of {file.name} is called {new!r} now and was read as such"
    known = {*(column.name for column in table.columns), *FOR_READERS.get(table.name, ())}
    for name in raw.names:
        if name not in known and name not in former and name not in file.columns:  # folders may be cut by any key
            yield f"table {table.name}: column {name!r} of {file.name} is not in the data contract and was left out"
    yield from (notice for c in table.columns if (notice := conversion_notice(table, c, raw.schema)))
