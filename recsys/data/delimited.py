"""Delimited text (CSV, TSV) as RFC 4180 describes it: its header, its dialect, and the line where it is broken."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import polars as pl

from recsys.data.text_files import TextFile, open_plain, rewritten, shorten
from recsys.errors import DataError

_ESCAPED_QUOTE: Final = re.compile(rb'(\\+)"')


def scan_delimited(
    file: TextFile, separator: str, *, header: bool = True, quote: str | None = '"'
) -> tuple[pl.LazyFrame, list[str]]:
    """
    All columns as text, without blank lines, and the names of the header (`column_0` and so on without one).

    Raises:  DataError for quotes that no dialect explains, and for a last line that is cut off.
    """
    if file.is_empty:
        return pl.LazyFrame(), []
    if quote is not None and file.has_backslash_quotes:
        file = _in_one_dialect(file, separator)
    names = first_record(file, separator, quote)
    _check_tail(file, separator, quote, len(names))
    frame = pl.scan_csv(
        file.path,
        infer_schema=False,
        separator=separator,
        eol_char=file.eol,
        has_header=header,
        quote_char=quote,
        glob=False,
    )
    read = frame.collect_schema().names()
    if file.has_blanks:
        frame = frame.filter(pl.any_horizontal(pl.all().str.strip_chars() != "").fill_null(False))
    if not header or len(read) != len(names):
        return frame, read
    plain = {old: new for old, new in zip(read, names, strict=True) if new not in names[: read.index(old)]}
    return frame.rename(plain), names


def first_record(file: TextFile, separator: str, quote: str | None = '"') -> list[str]:
    """The fields of the first line that is not blank."""
    rows = csv.reader(
        io.StringIO(file.head, newline=""), delimiter=separator, quotechar=quote,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )  # fmt: skip
    return next((row for row in rows if any(field.strip() for field in row)), [])


def broken_line(file: TextFile, separator: str, n_fields: int, *, quote: str | None = '"') -> str | None:
    """A sentence about the first record with too many fields or a quote out of place; None when there is none."""
    csv.field_size_limit(sys.maxsize)
    with open_plain(file.path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        rows = csv.reader(
            text, delimiter=separator, quotechar=quote, strict=True,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )  # fmt: skip
        begins_at = 1
        try:
            for row in rows:
                if len(row) > n_fields:
                    return (
                        f"line {begins_at:,} of {file.name}: found {len(row)} fields, expected {n_fields}; correct it"
                    )
                begins_at = rows.line_num + 1
        except csv.Error:
            return (
                f"line {begins_at:,} of {file.name}: found a quote out of place, expected fields as RFC 4180 writes "
                'them, with "" for a quote inside quotes; export the file again'
            )
    return None


def record_lines(file: TextFile, separator: str) -> Iterator[int]:
    """The lines on which records begin that are not blank, the header among them."""
    csv.field_size_limit(sys.maxsize)
    with open_plain(file.path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        rows = csv.reader(text, delimiter=separator)
        begins_at = 1
        for row in rows:
            if any(field.strip() for field in row):
                yield begins_at
            begins_at = rows.line_num + 1


def _in_one_dialect(file: TextFile, separator: str) -> TextFile:
    """The file with quotes inside quotes doubled. Some programs put a backslash before them instead."""
    n_fields = len(first_record(file, separator))
    broken = broken_line(file, separator, n_fields)
    if broken is None:
        return file  # a backslash that only stands before the end of a field

    def doubled(found: re.Match[bytes]) -> bytes:
        whole, half = divmod(len(found[1]), 2)
        return b"\\" * whole + (b'""' if half else b'"')

    with open_plain(file.path) as raw:
        mended = replace(file, path=rewritten(file.name, (_ESCAPED_QUOTE.sub(doubled, line) for line in raw)))
    if broken_line(mended, separator, n_fields) is not None:
        raise DataError(broken)
    return mended


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
