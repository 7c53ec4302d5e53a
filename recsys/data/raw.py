"""One data file as a lazy frame of what stands in it, and the sentence for a file that cannot be read to its end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import polars as pl

from recsys.columns import FORMER_NAMES, Table
from recsys.data import json_lines
from recsys.data.delimited import Delimited, first_record, scan_delimited
from recsys.data.files import DataFile
from recsys.data.text_files import TextFile, damage_of, look_through, plainly_named, shorten, without_bom
from recsys.errors import DataError

PARQUET: Final = b"PAR1"
"""The first and the last bytes of a Parquet file."""

_SEPARATORS: Final = {"csv": ",", "tsv": "\t"}
_NAMED: Final = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
DAMAGE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What Polars raises for files that it cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """
    A file: what it is called, its frame, the dtypes of its columns as far as the contract knows them, and all of its
    columns. `locate` finds the broken place after reading has failed; `lines_of` gives the lines on which rows begin,
    which are counted from 1 and in order, or None where there are no lines. `nested` are the columns of
    JSON that hold objects or lists, with the first line that does, of a file without a table.
    """

    name: str
    frame: pl.LazyFrame
    schema: Mapping[str, pl.DataType]
    names: Sequence[str]
    locate: Callable[[], str | None]
    lines_of: Callable[[Sequence[int]], list[int] | None]
    nested: Mapping[str, int] = field(default_factory=dict)


def open_raw(file: DataFile, table: Table) -> Raw | None:
    """
    The file as it stands, with the columns that its folders name; None for a file without anything in it.

    Raises:  DataError when it is damaged, not of its format, or its header is none of the contract's.
    """
    raw = open_parquet(file) if file.form == "parquet" else _open_text(file, table)
    if raw is None:
        return None
    raw = with_columns(raw, file.columns)
    _check_header(file, raw.names, table)
    return raw


def _check_header(file: DataFile, names: Sequence[str], table: Table) -> None:
    """Raises DataError with `header_problems`."""
    problems = header_problems(file, [*names, *(name for name in file.columns if name not in names)], table)
    if problems:
        raise DataError(*problems)


def former_names(table: Table, names: Sequence[str]) -> dict[str, str]:
    """The former names among the columns of a file, with the names of now."""
    pairs = FORMER_NAMES.get(table.name, {}).items()
    return {old: new for old, new in pairs if old in names and new not in names}


def with_columns(raw: Raw, values: Mapping[str, str | None]) -> Raw:
    """The file with columns of one value each, as far as it does not have them itself."""
    given = {name: value for name, value in values.items() if name not in raw.names}
    if not given:
        return raw
    columns = [pl.lit(value, dtype=pl.String).alias(name) for name, value in given.items()]
    schema = {**raw.schema, **dict.fromkeys(given, pl.String())}
    return replace(raw, frame=raw.frame.with_columns(columns), schema=schema, names=[*raw.names, *given])


def open_parquet(file: DataFile) -> Raw | None:
    """A Parquet file; None for one without a byte. Raises DataError for a damaged one."""
    with damage_of(file.name), file.path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        start = stream.read(4)
        stream.seek(max(0, size - 4))
        end = stream.read(4)
    if not size:
        return None
    if start != PARQUET:
        raise DataError(f"{file.name}: found {start!r} at its beginning, expected Parquet; export it again")
    if end != PARQUET or size < 12:
        raise DataError(f"{file.name} ends too early: found a part of a Parquet file; fetch it again")
    frame = pl.scan_parquet(file.path, hive_partitioning=False, glob=False)
    try:
        schema = frame.collect_schema()
    except DAMAGE as error:
        raise DataError(f"{file.name} is damaged: {_words(error)}; fetch or export it again") from error
    return Raw(
        name=file.name,
        frame=frame,
        schema=schema,
        names=list(schema),
        locate=lambda: _broken_column(file, frame, schema),
        lines_of=lambda rows: None,
    )


def _broken_column(file: DataFile, frame: pl.LazyFrame, schema: pl.Schema) -> str | None:
    for name in schema:
        try:
            frame.select(name).collect(engine="streaming")
        except DAMAGE as error:
            return f"{file.name} is damaged in column {name!r}: {_words(error)}; fetch or export it again"
    return None


def _words(error: BaseException) -> str:
    return f"found {' '.join(str(error).split())[:160]!r}"


def _open_text(file: DataFile, table: Table) -> Raw | None:
    text = look_through(file.path, file.name)
    if text.is_empty:
        return None
    return _open_json(text, table) if file.form == "jsonl" else _open_delimited(file, text, table)


def _open_delimited(file: DataFile, text: TextFile, table: Table) -> Raw:
    separator = _SEPARATORS[file.form]
    _check_header(file, first_record(text, separator), table)  # first: under another header no row has its fields
    return raw_of_delimited(scan_delimited(text, separator))


def raw_of_delimited(opened: Delimited) -> Raw:
    """Delimited text as a file of texts."""
    return Raw(
        name=opened.file.name,
        frame=opened.frame,
        schema=dict.fromkeys(opened.names, pl.String()),
        names=opened.names,
        locate=opened.broken_line,
        lines_of=lambda rows: nth(opened.lines(), rows),
    )


def _open_json(text: TextFile, table: Table) -> Raw:
    plain = plainly_named(without_bom(text))
    names = list(json_lines.keys_of(plain, table))
    former = {new: old for old, new in former_names(table, names).items()}
    return raw_of_json(plain, names, [former.get(column.name, column.name) for column in table.columns])


def open_json(text: TextFile) -> Raw:
    """JSON Lines of any columns. Raises DataError for the first line that is no object."""
    plain = plainly_named(without_bom(text))
    keys = json_lines.keys_of(plain)
    nested = {name: line for name, line in keys.items() if line is not None}
    return replace(raw_of_json(plain, list(keys), list(keys)), nested=nested)


def raw_of_json(plain: TextFile, names: Sequence[str], columns: Sequence[str]) -> Raw:
    """JSON Lines with these `names`, as a file of the texts of these `columns`."""
    dtypes: dict[str, pl.DataType] = dict.fromkeys(columns, pl.String())
    return Raw(
        name=plain.name,
        frame=pl.scan_ndjson(plain.path, schema=dtypes),
        schema=dtypes,
        names=names,
        locate=lambda: json_lines.broken_line(plain, dtypes),
        lines_of=lambda rows: nth((number for number, _ in json_lines.filled_lines(plain)), rows),
    )


def nth(lines: Iterable[int], rows: Sequence[int]) -> list[int]:
    """The lines at these places, from 1 and in order; fewer when there are fewer lines."""
    wanted = set(rows)
    picked = (line for row, line in enumerate(lines, 1) if row in wanted)
    return list(islice(picked, len(wanted)))


# ---- headers ----


def header_problems(file: DataFile, names: Sequence[str], table: Table) -> list[str]:
    """What is wrong with the names of a file's columns, in sentences."""
    known = {column.name for column in table.columns} | set(FORMER_NAMES.get(table.name, {}))
    where = file.name if file.form in ("parquet", "jsonl") else f"line 1 of {file.name}"
    if names and not known & {_plain(name) for name in names}:
        return [_unknown_header(file, where, names, table)]
    twice = sorted({name for name in names if list(names).count(name) > 1})
    problems = [f"{where}: found the column {name!r} twice, expected it once; remove one" for name in twice]
    problems += [
        f"{where}: found the column {name!r}, expected {_plain(name)!r}; rename it"
        for name in names
        if name not in known and _plain(name) in known and _plain(name) not in names
    ]
    if problems:
        return problems
    present = {former_names(table, names).get(name, name) for name in names}
    missing = [name for name in table.required if name not in present]
    return [f"{file.name} has no column {name!r}, which is required; add it" for name in missing]


def _plain(name: str) -> str:
    return name.strip().strip('"').lower()


def _unknown_header(file: DataFile, where: str, names: Sequence[str], table: Table) -> str:
    expected = _SEPARATORS.get(file.form)
    other = next((mark for mark in _NAMED if mark in names[0] and mark != expected), None) if len(names) <= 2 else None
    if expected is not None and other is not None:
        return (
            f"{where}: found the header {shorten(','.join(names))}, divided by {_NAMED[other]}, expected columns "
            f"divided by {_NAMED[expected]}; export it so{', or name it .tsv' if other == chr(9) else ''}"
        )
    return (
        f"{where}: found no column of the table {table.name} among {shorten(', '.join(names))}, expected a header with "
        f"{', '.join(table.required)}; name the columns so"
    )
