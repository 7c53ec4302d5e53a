"""
Tables as published: delimited text, JSON Lines or Parquet, plain or compressed, read as rows of named columns.

`PublishedTable.read` types the columns that an importer uses. A value that cannot be read ends the import with the
file, the line and the column as their owner knows them.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from recsys.errors import DataError
from training.importers.fields import Field
from training.importers.files import check_text, open_text, reading_file, scan_lines, source_of

ROW: Final = "#"
"""The column of row numbers, from 0, that `PublishedTable.read` adds."""

_PARQUET: Final = b"PAR1"
_ZIP: Final = b"PK\x03\x04"
_SNIFFED_ROWS: Final = 1_000
_SHOWN: Final = 60  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedTable:
    """
    One file. `columns` are those of its header, or the given names. `separator` is empty for JSON Lines and Parquet;
    `quote` is None where quotes are letters like others.
    """

    path: Path
    columns: tuple[str, ...]
    separator: str = ""
    quote: str | None = '"'
    has_header: bool = True
    is_parquet: bool = False

    def read(self, fields: Mapping[str, Field]) -> pl.LazyFrame:
        """
        The fields under their new names, and `ROW`. Rows without any value, such as blank lines, are left out.

        Raises:  DataError naming every missing column, or the first unreadable value of each column.
        """
        names = list(dict.fromkeys(field.column for field in fields.values()))
        self._refuse_missing(names)
        with _naming_line(self):
            raw = self._scan(names).with_row_index(ROW)
            schema = raw.collect_schema()
            texts = [name for name in names if schema[name] == pl.String]
            raw = raw.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in texts)
            raw = raw.filter(~pl.all_horizontal(pl.col(names).is_null()))
            typed = {new: field.convert(pl.col(field.column), schema[field.column]) for new, field in fields.items()}
            self._refuse_unreadable(raw, fields, typed)
        return raw.select(ROW, **typed)

    def where(self, row: int) -> str:
        """`ratings.csv, line 3`: where a row begins, as an editor counts lines; of Parquet the row, from 1."""
        unit, position = ("row", row + 1) if self.is_parquet else ("line", self._line(row))
        return f"{self.path.name}, {unit} {position:,}"

    def _refuse_missing(self, names: Iterable[str]) -> None:
        found = ", ".join(self.columns)[:200]
        problems = [
            f"{self.path.name}: column {name!r} is missing, found {found}{_hint(name, self.columns)}"
            for name in names
            if name not in self.columns
        ]
        if problems:
            raise DataError(*problems)

    def _scan(self, names: list[str]) -> pl.LazyFrame:
        """The named columns: of text files as text, of Parquet as they are typed."""
        if self.is_parquet:
            return pl.scan_parquet(self.path).select(names)
        if not self.separator:
            return pl.scan_ndjson(source_of(self.path), schema=dict.fromkeys(names, pl.String()))
        if self.quote is None:
            return self._split().select(names)
        frame = pl.scan_csv(
            source_of(self.path), infer_schema=False, separator=self.separator, has_header=self.has_header,
            quote_char=self.quote,
        )  # fmt: skip
        return frame.rename(dict(zip(frame.collect_schema(), self.columns, strict=True))).select(names)

    def _split(self) -> pl.LazyFrame:
        """Lines without quotes, divided at every separator. Raises DataError for one with more or fewer fields."""
        lines = scan_lines(self.path).slice(int(self.has_header))
        parts = lines.select(
            pl.when(pl.col("line").str.strip_chars() != "").then(pl.col("line").str.split(self.separator))
        )
        n_fields, n_expected = pl.col("line").list.len(), len(self.columns)
        wrong = parts.with_row_index(ROW).select(ROW, n=n_fields).filter(pl.col("n") != n_expected).head(1).collect()
        for row, n_found in wrong.rows():
            raise DataError(
                f"{self.where(row)}: found {n_found} fields, expected {n_expected}: {', '.join(self.columns)}"
            )
        return parts.select(
            pl.col("line").list.get(number, null_on_oob=True).alias(name) for number, name in enumerate(self.columns)
        )

    def _refuse_unreadable(self, raw: pl.LazyFrame, fields: Mapping[str, Field], typed: Mapping[str, pl.Expr]) -> None:
        present = {new: pl.lit(True) if f.is_required else pl.col(f.column).is_not_null() for new, f in fields.items()}
        firsts = raw.select(
            pl.col(ROW).filter(present[new] & value.is_null()).first().alias(new) for new, value in typed.items()
        )
        rows = firsts.collect(engine="streaming").row(0, named=True)
        problems = [self._problem(raw, row, fields[new]) for new, row in rows.items() if row is not None]
        if problems:
            raise DataError(*problems)

    def _problem(self, raw: pl.LazyFrame, row: int, field: Field) -> str:
        value = raw.filter(pl.col(ROW) == row).select(pl.col(field.column).cast(pl.String)).collect().item()
        shown = "nothing" if value is None else repr(value[:_SHOWN])
        return f"{self.where(row)}, column {field.column!r}: found {shown}, expected {field.expected}; correct it"

    def _line(self, row: int) -> int:
        if self.separator and self.quote is None:
            return row + 1 + self.has_header
        with open_text(self.path) as lines:
            if self.separator:
                begins = (line for line, _ in _rows(lines, self.separator))
            else:  # a blank line between objects is no row
                begins = (number for number, line in enumerate(lines, 1) if line.strip())
            return next(islice(begins, row + self.has_header * bool(self.separator), None), row + 1)

    def damage(self) -> str | None:
        """A sentence about the first line that is no row of this table, read slowly; None when all are."""
        with open_text(self.path) as lines:
            if self.is_parquet:
                return None
            if not self.separator:
                return next((f"{self.path.name}, line {n:,}: {why}" for n, why in _broken_objects(lines)), None)
            try:
                for line, fields in _rows(lines, self.separator, is_strict=True):
                    if len(fields) > len(self.columns):
                        found = f"found {len(fields)} fields, expected {len(self.columns)}: {', '.join(self.columns)}"
                        return (
                            f"{self.path.name}, line {line:,}: {found}; put texts with a {self.separator!r} in quotes"
                        )
            except DataError as error:
                return f"{self.path.name}, {error}"
        return None


def open_table(
    path: Path,
    *,
    separator: str | None = ",",
    quote: str | None = '"',
    names: Sequence[str] | None = None,
    wanted: Sequence[str] = (),
) -> PublishedTable:
    """
    A file that is delimited by `separator`, unless its first bytes say JSON Lines or Parquet.

    `names` are the columns of a file without a header. Without `quote`, text may be Latin-1. Without `separator` it is
    found by the `wanted` columns.
    Raises:  DataError for a damaged, empty or unknown file, for text that is not UTF-8, and for another number of
             columns than `names`.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == _PARQUET:
        with reading_file(path):
            return PublishedTable(path=path, columns=tuple(pl.scan_parquet(path).collect_schema()), is_parquet=True)
    if start == _ZIP:
        raise DataError(f"{path.name}: found a ZIP archive, expected a table of text or Parquet; unzip it first")
    first = check_text(path, is_latin_possible=quote is None)
    if first.startswith("{"):
        return PublishedTable(path=path, columns=_json_keys(path))
    if first.startswith("["):
        raise DataError(f"{path.name}: found a JSON array, expected JSON Lines, one object on each line; convert it")
    separator = separator or _sniff_separator(first, wanted, names)
    found = _fields(first, separator) if quote else first.split(separator)
    if names is not None and len(found) != len(names):
        raise DataError(f"{path.name}, line 1: found {len(found)} fields, expected {len(names)}: {', '.join(names)}")
    if names is None and len(set(found)) < len(found):
        twice = next(name for number, name in enumerate(found) if name in found[:number])
        raise DataError(f"{path.name}, line 1: found the column {twice!r} twice, expected it once; rename one")
    return PublishedTable(
        path=path, columns=tuple(names or found), separator=separator, quote=quote, has_header=names is None
    )


def _sniff_separator(first: str, wanted: Sequence[str], names: Sequence[str] | None) -> str:
    """
    Comma, tab, semicolon or bar: the one by which the first line holds the most of the wanted columns; of a file
    without a header, the one by which it has as many fields as `names`.
    """
    fields = {mark: _fields(first, mark) for mark in ",\t;|"}
    if names is not None:
        return next((mark for mark, found in fields.items() if len(found) == len(names)), ",")
    return max(fields, key=lambda mark: len(set(wanted) & set(fields[mark])))


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _rows(lines: Iterable[str], separator: str, *, is_strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The rows with the number of the line on which each begins. Raises DataError, of the line, when strict."""
    reader = csv.reader(lines, delimiter=separator, strict=is_strict)
    begins = 1
    try:
        for row in reader:
            yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {begins:,}: found quotes inside a field ({error}), expected them doubled") from error


def _json_keys(path: Path) -> tuple[str, ...]:
    """The keys of the first objects. Raises DataError for a line that is none."""
    with open_text(path) as lines:
        head = list(islice(lines, _SNIFFED_ROWS))
    for number, why in _broken_objects(head):
        raise DataError(f"{path.name}, line {number:,}: {why}")
    return tuple(dict.fromkeys(key for line in head if line.strip() for key in json.loads(line)))


def _broken_objects(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        try:
            is_object = not line.strip() or isinstance(json.loads(line, parse_constant=_refuse_constant), dict)
        except ValueError:
            is_object = False
        if not is_object:
            yield number, f"found {line.strip()[:_SHOWN]!r}, expected one JSON object; repair the line"


def _refuse_constant(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity are no JSON


def _hint(name: str, columns: Iterable[str]) -> str:
    alike = [column for column in columns if column.strip().casefold() == name.casefold()]
    return f"; is it {alike[0]!r}?" if alike else "; is it the published file?"


@contextmanager
def _naming_line(table: PublishedTable) -> Iterator[None]:
    """Turns an error of the reader into a sentence about a line, which Polars does not name."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        why = table.damage() or f"{table.path.name}: reading it failed ({' '.join(str(error).split())[:200]})"
        raise DataError(why) from error
