"""
Tables as published: delimited text, JSON Lines or Parquet, plain or compressed, read as rows of named columns.

Files are opened as those of a dataset are (`recsys.data.raw`). `PublishedTable.read` types the columns that an importer
uses. A value that cannot be read ends the import with the file, the line and the column as their owner knows them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from recsys.data.delimited import first_record, scan_delimited
from recsys.data.files import DataFile
from recsys.data.raw import DAMAGE, PARQUET, Raw, open_json, open_parquet, raw_of_delimited, with_columns
from recsys.data.text_files import TextFile, damage_of, look_through, open_plain, rewritten
from recsys.errors import DataError
from training.importers.fields import Field

ROW: Final = "#"
"""The column of row numbers, from 0, that `PublishedTable.read` adds."""

_SEPARATORS: Final = ",\t;|"
_UNIT: Final = "\x1f"  # stands for a separator of several characters
_SHOWN: Final = 60  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedTable:
    """One file, opened. `columns` are those of its header, or the given names."""

    path: Path
    raw: Raw

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.raw.names)

    def read(self, fields: Mapping[str, Field]) -> pl.LazyFrame:
        """
        The fields under their new names, and `ROW`. Rows without any value, such as blank lines, are left out.

        Raises:  DataError naming every missing column, or the first unreadable value of each column.
        """
        names = list(dict.fromkeys(field.column for field in fields.values()))
        self._refuse_missing(names)
        self._refuse_nested(fields.values())
        with _naming_line(self.raw):
            rows = self.raw.frame.select(names).with_row_index(ROW)
            schema = rows.collect_schema()
            texts = [name for name in names if schema[name] == pl.String]
            rows = rows.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in texts)
            rows = rows.filter(~pl.all_horizontal(pl.col(names).is_null()))
            typed = {new: field.convert(pl.col(field.column), schema[field.column]) for new, field in fields.items()}
            self._refuse_unreadable(rows, fields, typed)
        return rows.select(ROW, **typed)

    def where(self, row: int) -> str:
        """`line 3 of ratings.csv`: where a row begins, as an editor counts lines; of Parquet the row, from 1."""
        lines = self.raw.lines_of([row + 1])
        unit, number = ("row", row + 1) if lines is None else ("line", lines[0])
        return f"{unit} {number:,} of {self.path.name}"

    def _refuse_missing(self, names: Iterable[str]) -> None:
        found = ", ".join(self.columns)[:200]
        problems = [
            f"{self.path.name}: column {name!r} is missing, found {found}{_hint(name, self.columns)}"
            for name in names
            if name not in self.columns
        ]
        if problems:
            raise DataError(*problems)

    def _refuse_nested(self, fields: Iterable[Field]) -> None:
        problems = [
            f"line {self.raw.nested[field.column]:,} of {self.path.name}, column {field.column!r}: found an object or "
            f"a list, expected {field.expected}; take it apart"
            for field in fields
            if field.column in self.raw.nested and not field.takes_lists
        ]
        if problems:
            raise DataError(*problems)

    def _refuse_unreadable(self, rows: pl.LazyFrame, fields: Mapping[str, Field], typed: Mapping[str, pl.Expr]) -> None:
        present = {new: pl.lit(True) if f.is_required else pl.col(f.column).is_not_null() for new, f in fields.items()}
        firsts = rows.select(
            pl.col(ROW).filter(present[new] & value.is_null()).first().alias(new) for new, value in typed.items()
        )
        found = firsts.collect(engine="streaming").row(0, named=True)
        problems = [self._problem(rows, row, fields[new]) for new, row in found.items() if row is not None]
        if problems:
            raise DataError(*problems)

    def _problem(self, rows: pl.LazyFrame, row: int, field: Field) -> str:
        value = rows.filter(pl.col(ROW) == row).select(pl.col(field.column).cast(pl.String)).collect().item()
        shown = "nothing" if value is None else repr(value[:_SHOWN])
        return f"{self.where(row)}, column {field.column!r}: found {shown}, expected {field.expected}; correct it"


def open_table(
    path: Path,
    *,
    separator: str | None = ",",
    quote: str | None = '"',
    names: Sequence[str] | None = None,
    wanted: Sequence[str] = (),
    given: Mapping[str, str | None] | None = None,
) -> PublishedTable:
    """
    A file that is delimited by `separator`, unless its first bytes say JSON Lines or Parquet.

    `names` are the columns of a file without a header. Without `quote`, text may be Latin-1. Without `separator` it is
    found by the `wanted` columns. `given` are columns of one value each, such as those that folders name.
    Raises:  DataError for a damaged, empty or unknown file, for text that is not UTF-8, and for another number of
             columns than `names`.
    """
    with damage_of(path.name), path.open("rb") as file:
        is_parquet = file.read(4) == PARQUET
    if is_parquet:
        raw = open_parquet(DataFile(path, path.name, "parquet"))
    else:
        raw = _open_text(look_through(path, is_latin_possible=quote is None), separator, quote, names, wanted)
    if raw is None:
        raise DataError(f"{path.name}: found an empty file, expected a table; is the download complete?")
    return PublishedTable(path=path, raw=with_columns(raw, given or {}))


def _open_text(
    text: TextFile, separator: str | None, quote: str | None, names: Sequence[str] | None, wanted: Sequence[str]
) -> Raw | None:
    if text.is_empty:
        return None
    if text.head.lstrip().startswith(("{", "[")):
        return open_json(text)
    separator = separator or _sniff_separator(text, wanted, names)
    if len(separator) > 1:
        text, separator = _with_units(text, separator), _UNIT
    found = first_record(text, separator, quote)
    if names is not None and len(found) != len(names):
        raise DataError(f"line 1 of {text.name}: found {len(found)} fields, expected {len(names)}: {', '.join(names)}")
    if names is None and len(set(found)) < len(found):
        twice = next(name for number, name in enumerate(found) if name in found[:number])
        raise DataError(f"line 1 of {text.name}: found the column {twice!r} twice, expected it once; rename one")
    opened = scan_delimited(text, separator, header=names is None, quote=quote)
    if names is None:
        return raw_of_delimited(opened)
    frame = opened.frame.rename(dict(zip(opened.names, names, strict=True)))
    return raw_of_delimited(replace(opened, frame=frame, names=tuple(names)))


def _with_units(text: TextFile, separator: str) -> TextFile:
    """The text, divided by one character."""
    mark, unit = separator.encode(), _UNIT.encode()
    with open_plain(text.path) as stream:
        path = rewritten(text.name, (line.replace(mark, unit) for line in stream))
    return replace(text, path=path, head=text.head.replace(separator, _UNIT), tail=text.tail.replace(separator, _UNIT))


def _sniff_separator(text: TextFile, wanted: Sequence[str], names: Sequence[str] | None) -> str:
    """
    Comma, tab, semicolon or bar: the one by which the first line holds the most of the wanted columns; of a file
    without a header, the one by which it has as many fields as `names`.
    """
    fields = {mark: first_record(text, mark) for mark in _SEPARATORS}
    if names is not None:
        return next((mark for mark, found in fields.items() if len(found) == len(names)), ",")
    return max(fields, key=lambda mark: len(set(wanted) & set(fields[mark])))


def _hint(name: str, columns: Iterable[str]) -> str:
    alike = [column for column in columns if column.strip().casefold() == name.casefold()]
    return f"; is it {alike[0]!r}?" if alike else "; is it the published file?"


@contextmanager
def _naming_line(raw: Raw) -> Iterator[None]:
    """Turns an error of the reader into a sentence about a line, which Polars does not name."""
    try:
        yield
    except DAMAGE as error:
        why = raw.locate() or f"{raw.name}: reading it failed ({' '.join(str(error).split())[:200]})"
        raise DataError(why) from error
