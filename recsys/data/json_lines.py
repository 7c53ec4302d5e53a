"""JSON Lines: one object per line, looked through with every line's own place in sentences."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec
import polars as pl

from recsys.columns import Table
from recsys.data.text_files import TextFile, open_plain, shorten
from recsys.errors import DataError

_NOT_JSON: Final = re.compile(rb"(NaN|-?Infinity)\b")
_TEXT: Final = re.compile(rb'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
"""Also one without an end: else the search for one would begin anew at each escaped quote."""
_AFTER_KEY: Final = re.compile(rb"\s*:\s*")
_BATCH: Final = 5_000
Line = tuple[int, bytes]


def keys_of(file: TextFile, table: Table | None = None) -> dict[str, int | None]:
    """
    The names of all lines, in the order of their first use, with the first line on which the value is an object or a
    list. With a `table`, its columns hold what the contract allows.

    Raises:  DataError with the line and, where it can be told, the column of the first text that is not JSON.
    """
    if file.eol == "\r":
        raise DataError(f"{file.name}: found lines that end in CR only, expected LF; convert the file")
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    keys: dict[str, int | None] = {}
    for number, line in filled_lines(file):
        try:
            row = decode(line)
        except msgspec.MsgspecError as error:
            raise DataError(_sentence(file, number, line)) from error
        if table is not None and (b"[" in line or line.count(b"{") > 1):
            _refuse_nested(file, number, row, table)
        if not keys.keys() >= row.keys():
            keys.update({name: None for name in row if name not in keys})
        if table is None and (b"[" in line or line.count(b"{") > 1):
            nested = (name for name, value in row.items() if bytes(value).startswith((b"{", b"[")))
            keys.update({name: number for name in nested if keys[name] is None})
    return keys


def _refuse_nested(file: TextFile, number: int, row: Mapping[str, msgspec.Raw], table: Table) -> None:
    """Raises DataError for an object, or a list where the contract has none: its text would become the value."""
    for column in table.columns:
        value = bytes(row.get(column.name, b""))
        if value.startswith(b"{") or (value.startswith(b"[") and column.dtype != "list"):
            raise DataError(
                f"line {number:,} of {file.name}, column {column.name!r}: found {shorten(value.decode())}, expected "
                "one value; take it apart"
            )


def broken_line(file: TextFile, schema: dict[str, pl.DataType]) -> str | None:
    """A sentence about the first line that Polars cannot read; None when there is none."""
    lines = filled_lines(file)
    while batch := list(islice(lines, _BATCH)):
        if _is_readable(batch, schema):
            continue
        number, line = next((one for one in batch if not _is_readable([one], schema)), batch[0])
        return f"line {number:,} of {file.name}: found {shorten(line.decode())}, expected plain JSON values; correct it"
    return None


def _is_readable(lines: list[Line], schema: dict[str, pl.DataType]) -> bool:
    try:
        pl.read_ndjson(b"\n".join(line for _, line in lines), schema=schema)
    except pl.exceptions.PolarsError:
        return False
    return True


def filled_lines(file: TextFile) -> Iterator[Line]:
    """The lines that are not blank, with their numbers from 1."""
    with open_plain(file.path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, line.strip()


def _sentence(file: TextFile, number: int, line: bytes) -> str:
    where = f"line {number:,} of {file.name}"
    word = _NOT_JSON.search(_without_texts(line))
    if word is not None:
        before = line[: word.start()]
        texts = list(_TEXT.finditer(before))
        is_key = bool(texts) and _AFTER_KEY.fullmatch(before, texts[-1].end()) is not None
        column = f", column {texts[-1][1].decode()!r}" if is_key else ""
        return f"{where}{column}: found {word[1].decode()}, which is not JSON; leave it out or write null"
    if line.startswith(b"["):
        return f"{where}: found a list, expected one JSON object per line; export the file as JSON Lines"
    if number == file.n_lines and file.tail.strip() and not line.endswith(b"}"):
        return f"{where} is cut off: found {shorten(line.decode())} without an end; fetch the file again"
    return f"{where} is not one JSON object: found {shorten(line.decode())}; repair it"


def _without_texts(line: bytes) -> bytes:
    """The line with what stands in quotes blanked, so that places stay; keys too, which only the numbers need."""
    return _TEXT.sub(lambda found: b" " * len(found[0]), line)
