"""
Bytes and lines of published files.

What a file is, its first bytes say and not its name: gzip and Zstandard are unpacked wherever they are found, and a
`.gz` that a browser has unpacked already is read as well.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import polars as pl

from recsys.errors import DataError

_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1 << 20
_BOM: Final = "\ufeff"


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """Turns a failure to unpack or to read into a sentence about the file."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name}: found a file that cannot be read ({why}); is the download complete?") from error


def packing(path: Path) -> str:
    """`gzip`, `zstd`, or an empty text for a plain file."""
    with path.open("rb") as file:
        start = file.read(4)
    return "gzip" if start.startswith(_GZIP) else "zstd" if start == _ZSTANDARD else ""


def open_bytes(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The bytes of a file, unpacked from gzip."""
    return gzip.open(path, "rb") if packing(path) == "gzip" else path.open("rb")


def open_text(path: Path) -> IO[str]:
    """The text of a file with its own line ends, without a byte order mark; bytes that are not UTF-8 are Latin-1."""
    if packing(path) == "zstd":
        lines = pl.scan_lines(path, name="line").collect()["line"].to_list()
        return io.StringIO("".join(f"{line}\n" for line in lines).removeprefix(_BOM), newline="\n")
    encoding = "latin-1" if first_bad_byte(path) else "utf-8-sig"
    return io.TextIOWrapper(open_bytes(path), encoding, newline="\n")


def first_bad_byte(path: Path) -> tuple[int, int] | None:
    """Line and value of the first byte that is not UTF-8. Reads the file to its end, so a damaged one fails here."""
    if packing(path) == "zstd":
        pl.scan_lines(path).select(pl.len()).collect(engine="streaming")
        return None
    decoder, newlines = codecs.getincrementaldecoder("utf-8")(), 0
    bad: tuple[int, int] | None = None
    with open_bytes(path) as stream:
        while chunk := stream.read(_CHUNK):
            if bad is not None:
                continue
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                bad = newlines + before.count(b"\n") + 1, error.object[error.start]
            newlines += chunk.count(b"\n")
    return bad


def check_text(path: Path, *, is_latin_possible: bool = False) -> str:
    """
    The first line that is not blank. Reads the whole file once.

    Raises:  DataError for a file that is damaged or empty, for line ends of CR alone, and for text that is not UTF-8.
    """
    with reading_file(path):
        bad = first_bad_byte(path)
        if bad is not None and not is_latin_possible:
            line, byte = bad
            raise DataError(
                f"{path.name}, line {line:,}: found the byte 0x{byte:02x}, expected UTF-8; export it as UTF-8"
            )
        with open_text(path) as lines:
            first = next((line for line in lines if line.strip()), "").rstrip("\r\n")
    if not first.strip():
        raise DataError(f"{path.name}: found an empty file, expected a table; is the download complete?")
    if "\r" in first:
        raise DataError(f"{path.name}: found lines that end in CR alone, expected LF or CR LF; convert the line ends")
    return first


def source_of(path: Path) -> Path | io.BytesIO:
    """What Polars reads: the file, or what follows a byte order mark, which no reader of JSON takes."""
    if packing(path) == "zstd":
        return path
    with open_bytes(path) as file:
        return io.BytesIO(file.read()) if file.read(3) == codecs.BOM_UTF8 else path


def scan_lines(path: Path) -> pl.LazyFrame:
    """The column `line`, without line ends; also of text in Latin-1."""
    if first_bad_byte(path) is None:
        line = pl.col("line").str.strip_chars_end("\r").str.strip_prefix(_BOM)
        return pl.scan_lines(path, name="line").select(line)
    with open_text(path) as lines:
        return pl.LazyFrame({"line": lines.read().replace("\r\n", "\n").removesuffix("\n").split("\n")})
