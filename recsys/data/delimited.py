"""Delimited text (CSV, TSV) as RFC 4180 describes it: its header, its dialect, and the line where it is broken."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import polars as pl

from recsys.data.regular import is_regular
from recsys.data.text_files import TextFile, open_plain, rewritten, shorten
from recsys.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader

_ESCAPED_QUOTE: Final = re.compile(rb'(\\+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """
    Delimited text in which every record has as many fields as the header. `frame` holds all columns as text, without
    blank lines; `names` are those of the header (`column_1` and so on without one); `quote` is None where quotes are
    letters like others.
    """

    file: TextFile
    frame: pl.LazyFrame
    names: tuple[str, ...]
    separator: str
    quote: str | None
    has_header: bool

    def lines(self) -> Iterator[int]:
        """The lines on which rows begin that are not blank, without the header."""
        return islice(record_lines(self.file, self.separator, self.quote), int(self.has_header), None)

    def broken_line(self) -> str | None:
        """See `broken_line`."""
        return broken_line(self.file, self.separator, len(self.names), quote=self.quote)


def scan_delimited(file: TextFile, separator: str, *, header: bool = True, quote: str | None = '"') -> Delimited:
    """
    The text, after it was looked through for its dialect. Polars alone would fill short rows with nulls, and where only
    some columns are asked for it would cut long ones.

    Raises:  DataError with the line of a record that has more or fewer fields than the first, of quotes that no dialect
             explains, and of a last line that is cut off.
    """
    names = first_record(file, separator, quote)
    if not names:
        return Delimited(file=file, frame=pl.LazyFrame(), names=(), separator=separator, quote=quote, has_header=header)
    _check_tail(file, separator, quote, len(names))
    plain, used_quote = _in_one_dialect(file, separator, len(names), quote)
    frame = pl.scan_csv(
        plain.path, infer_schema=False, separator=separator, eol_char=plain.eol, has_header=header,
        quote_char=used_quote, glob=False,
    )  # fmt: skip
    read = frame.collect_schema().names()
    if plain.has_blanks:
        frame = frame.filter(pl.any_horizontal(pl.all().str.strip_chars() != "").fill_null(False))
    if not header:
        names = read
    renamed = {old: new for old, new in zip(read, names, strict=True) if new not in names[: read.index(old)]}
    return Delimited(
        file=plain, frame=frame.rename(renamed), names=tuple(names), separator=separator, quote=used_quote,
        has_header=header,
    )  # fmt: skip


def first_record(file: TextFile, separator: str, quote: str | None = '"') -> list[str]:
    """The fields of the first line that is not blank."""
    rows = csv.reader(
        io.StringIO(file.head, newline=""), delimiter=separator, quotechar=quote,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )  # fmt: skip
    return next((row for row in rows if not _is_blank(row)), [])


def broken_line(file: TextFile, separator: str, n_fields: int, *, quote: str | None = '"') -> str | None:
    """A sentence about the first record with another number of fields or a quote out of place; None without one."""
    try:
        for line, row in _records(file, separator, quote):
            if len(row) != n_fields and not _is_blank(row):
                advice = f"put texts with a {separator!r} in quotes" if len(row) > n_fields and quote else "correct it"
                return (
                    f"line {line:,} of {file.name}: found {_n_fields(len(row))}, expected {n_fields} as in the first "
                    f"line; {advice}"
                )
    except DataError as error:
        return str(error)
    return None


def record_lines(file: TextFile, separator: str, quote: str | None = '"') -> Iterator[int]:
    """The lines on which records begin that are not blank, the header among them."""
    return (line for line, row in _records(file, separator, quote) if not file.has_blanks or not _is_blank(row))


def _records(file: TextFile, separator: str, quote: str | None) -> Iterator[tuple[int, list[str]]]:
    """Records with the line on which each begins. Raises DataError for a quote out of place."""
    csv.field_size_limit(sys.maxsize)
    with open_plain(file.path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        rows = _reader(text, separator, quote)
        begins_at = 1
        try:
            for row in rows:
                yield begins_at, row
                begins_at = rows.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"line {begins_at:,} of {file.name}: found a quote out of place, expected fields as RFC 4180 writes "
                'them, with "" for a quote inside quotes; export the file again'
            ) from error


def _reader(lines: Iterable[str], separator: str, quote: str | None) -> "Reader":
    return csv.reader(
        lines, delimiter=separator, quotechar=quote, strict=True,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )  # fmt: skip


def _is_blank(row: list[str]) -> bool:
    return not any(field.strip() for field in row)


def _n_fields(n: int) -> str:
    return f"{n} field{'s' * (n != 1)}"


# ---- dialects ----


def _in_one_dialect(file: TextFile, separator: str, n_fields: int, quote: str | None) -> tuple[TextFile, str | None]:
    """
    The file as Polars reads it without loss, rewritten where it has to be, and its quote.

    Some programs put a backslash before a quote instead of a second quote, and those that divide by tabs often know no
    quotes.
    """
    if is_regular(file, separator, n_fields, quote):
        return file, quote
    if quote is not None and file.has_backslash_quotes:
        doubled = _with_doubled_quotes(file)
        if is_regular(doubled, separator, n_fields, quote):
            return doubled, quote
    if quote is not None and separator == "\t" and is_regular(file, separator, n_fields, None):
        return file, None
    broken = broken_line(file, separator, n_fields, quote=quote)
    if broken is not None:
        raise DataError(broken)
    return _rewritten(file, separator, quote), quote


def _with_doubled_quotes(file: TextFile) -> TextFile:
    def doubled(found: re.Match[bytes]) -> bytes:
        whole, half = divmod(len(found[1]), 2)
        return b"\\" * whole + (b'""' if half else b'"')

    with open_plain(file.path) as raw:
        return replace(file, path=rewritten(file.name, (_ESCAPED_QUOTE.sub(doubled, line) for line in raw)))


def _rewritten(file: TextFile, separator: str, quote: str | None) -> TextFile:
    """The file as Python's reader takes it, line by line: quotes inside a field, CR at line ends."""
    if quote is None:
        return file

    def lines() -> Iterator[bytes]:
        for _, row in _records(file, separator, quote):
            yield _written(row, separator, quote)

    return replace(file, path=rewritten(file.name, lines()), eol="\n", has_blanks=True)


def _written(row: list[str], separator: str, quote: str) -> bytes:
    if _is_blank(row):
        return b"\n" * (1 + sum(field.count("\n") for field in row))
    is_plain = all(quote not in field and "\n" not in field and "\r" not in field for field in row)
    if is_plain and not any(separator in field for field in row):
        return f"{separator.join(row)}\n".encode()
    fields = (f"{quote}{field.replace(quote, quote * 2)}{quote}" for field in row)
    return f"{separator.join(fields)}\n".encode()


def _check_tail(file: TextFile, separator: str, quote: str | None, n_fields: int) -> None:
    """A last line without an end and with too few fields was cut off in a copy or a download."""
    tail = replace(file, head=file.tail)
    if file.eol == "\r" or not file.tail.strip() or file.n_lines < 2:
        return
    found = len(first_record(tail, separator, quote))
    if found < n_fields:
        raise DataError(
            f"line {file.n_lines:,} of {file.name} is cut off: found {shorten(file.tail)} with {found} of {n_fields} "
            "fields and no end of line; fetch the file again"
        )
