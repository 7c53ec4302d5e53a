"""
Text files of data before they are read: decompressed, decoded and looked through once, so that what is wrong with them
is said with the file and the line.

A file that Polars cannot read as it stands (Zstandard, a byte order mark before JSON, quotes behind backslashes) is
rewritten into a temporary folder, which is removed when the process ends.
"""

import atexit
import codecs
import gzip
import io
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Final

import numpy as np
import polars as pl

from recsys.errors import DataError

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
BOM: Final = codecs.BOM_UTF8
_FOREIGN: Final = {
    b"PAR1": ("Parquet", "call it .parquet"),
    b"PK\x03\x04": ("a zip archive, as spreadsheets are", "unzip it, or export it as CSV"),
    b"BZh": ("a file compressed by bzip2", "decompress it"),
    b"\xfd7zXZ": ("a file compressed by xz", "decompress it"),
    codecs.BOM_UTF16_LE: ("UTF-16", "export it as UTF-8"),
    codecs.BOM_UTF16_BE: ("UTF-16", "export it as UTF-8"),
}
_CHUNK: Final = 1 << 20
_HEAD: Final = 1 << 16
_NEWLINE: Final = ord("\n")
_BLANK_STARTS: Final = np.isin(np.arange(256), list(b"\n\r \t,;"))  # what a line without values may begin with
_SEPARATOR: Final = "\x1f"  # divides nothing: lines are copied whole
_SHOWN: Final = 60  # characters of a line


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """
    A text file that was looked through.

    `path` is what to read, `name` what it is called in sentences. `head` is its beginning and `tail` its last line, as
    text without the byte order mark; `n_lines` counts lines of `eol`.
    """

    path: Path
    name: str
    head: str
    tail: str
    n_lines: int
    eol: str
    has_blanks: bool
    has_backslash_quotes: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but blanks."""
        return not self.head.strip()


def look_through(path: Path, name: str | None = None, *, is_latin_possible: bool = False) -> TextFile:
    """
    The file, decompressed as its first bytes say, and decoded once to its end; what is not UTF-8 as Latin-1 where that
    is possible.

    Raises:  DataError for another format than text, a damaged file, and the first byte that is not UTF-8.
    """
    name = path.name if name is None else name
    with damage_of(name), path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZSTD):
        path = _decompressed(path, name)
    foreign = next((found for mark, found in _FOREIGN.items() if start.startswith(mark)), None)
    if foreign is not None:
        what, advice = foreign
        raise DataError(f"{name}: found {what}, expected text in UTF-8; {advice}")
    if is_latin_possible and not _is_utf8(path, name):
        path = _from_latin(path, name)
    return _looked_through(path, name)


def scan_lines(file: TextFile) -> pl.LazyFrame:
    """The column `line`, without line ends."""
    line = pl.col("line").str.strip_chars_end("\r").str.strip_prefix("\ufeff")
    return pl.scan_lines(file.path, name="line").select(line)


@contextmanager
def damage_of(name: str) -> Iterator[None]:
    """Turns errors of a damaged or unreadable file into a sentence about it."""
    try:
        yield
    except EOFError as error:
        raise DataError(f"{name} ends too early: found a part of a compressed file; fetch it again") from error
    except (OSError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if "incomplete frame" in why:
            raise DataError(f"{name} ends too early: found a part of a compressed file; fetch it again") from error
        raise DataError(f"{name} cannot be read: found {why[:200]!r}, expected a whole file; fetch it again") from error


def open_plain(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed when it begins as gzip does."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP
    return io.BufferedReader(gzip.open(path, "rb")) if is_gzip else path.open("rb")


def read_text(path: Path, encodings: Sequence[str] = ("utf-8-sig",)) -> str:
    """
    A whole small text, plain or compressed, with lines that end in \\n.

    Raises:  DataError for a damaged file, or when none of the encodings fits.
    """
    raw = read_plain(path)
    for encoding in encodings:
        try:
            return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError as error:
            byte, line = error.object[error.start], error.object[: error.start].count(b"\n") + 1
    raise DataError(_not_utf8(path.name, line, byte))


def read_plain(path: Path) -> bytes:
    """All bytes of a small text, decompressed as its first bytes say. Raises DataError for a damaged file."""
    with damage_of(path.name), path.open("rb") as file:
        is_zstd = file.read(4) == ZSTD
    plain = _decompressed(path, path.name) if is_zstd else path
    with damage_of(path.name), open_plain(plain) as stream:
        return stream.read()


def without_bom(file: TextFile) -> TextFile:
    """The file, rewritten when it begins with a byte order mark."""
    with open_plain(file.path) as stream:
        if stream.read(len(BOM)) != BOM:
            return file
        return replace(file, path=rewritten(file.name, iter(lambda: stream.read(_CHUNK), b"")))


def plainly_named(file: TextFile) -> TextFile:
    """The file, copied where its path would be a pattern to the reader of JSON Lines."""
    if not set("*?[") & set(str(file.path)):
        return file
    with file.path.open("rb") as stream:
        return replace(file, path=rewritten("data", iter(lambda: stream.read(_CHUNK), b"")))


def rewritten(name: str, chunks: Iterable[bytes]) -> Path:
    """A temporary file with these bytes, until the process ends."""
    target = _target(name)
    with target.open("wb") as file:
        file.writelines(chunks)
    return target


def shorten(text: str) -> str:
    """A text as a sentence may quote it."""
    quoted = repr(text.strip())
    return quoted if len(quoted) <= _SHOWN else f"{quoted[: _SHOWN - 3]}..."


# ---- one look ----


def _looked_through(path: Path, name: str) -> TextFile:
    decoder = codecs.getincrementaldecoder("utf-8")()
    head, before, n_newlines, tail = b"", b"", 0, b""
    has_return = has_blanks = has_backslashes = False
    with damage_of(name), open_plain(path) as stream:
        while chunk := stream.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = n_newlines + error.object[: error.start].count(b"\n") + 1
                raise DataError(_not_utf8(name, line, error.object[error.start])) from error
            head = head or chunk[:_HEAD]
            joined = before + chunk
            characters = np.frombuffer(joined, np.uint8)
            ends = np.flatnonzero(characters[:-1] == _NEWLINE)
            has_blanks = has_blanks or bool(_BLANK_STARTS[characters[ends + 1]].any())
            has_return = has_return or b"\r" in chunk
            has_backslashes = has_backslashes or b'\\"' in joined
            n_newlines += len(ends)
            tail = chunk[chunk.rfind(b"\n") + 1 :] if b"\n" in chunk else (tail + chunk)[:_HEAD]
            before = chunk[-1:]
    n_newlines += before == b"\n"
    is_old_mac = has_return and not n_newlines
    return TextFile(
        path=path,
        name=name,
        head=head.removeprefix(BOM).decode("utf-8", "ignore"),
        tail=tail.decode("utf-8", "ignore"),
        n_lines=n_newlines + bool(tail),
        eol="\r" if is_old_mac else "\n",
        has_blanks=has_blanks or is_old_mac,
        has_backslash_quotes=has_backslashes,
    )


def _is_utf8(path: Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with damage_of(name), open_plain(path) as stream:
        try:
            while chunk := stream.read(_CHUNK):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
    return True


def _from_latin(path: Path, name: str) -> Path:
    with damage_of(name), open_plain(path) as stream:
        return rewritten(name, (line.decode("latin-1").encode() for line in stream))


def _not_utf8(name: str, line: int, byte: int) -> str:
    return f"line {line:,} of {name} holds the byte 0x{byte:02x}, which is not UTF-8; export the file as UTF-8"


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sanad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _target(name: str) -> Path:
    ending = "".join(character for character in name.rpartition("/")[2] if character not in "*?[]")
    descriptor, target = tempfile.mkstemp(f"-{ending}.txt", dir=_folder())
    os.close(descriptor)
    return Path(target)


def _decompressed(path: Path, name: str) -> Path:
    """A copy of a Zstandard file as plain text, made by Polars: Python knows the format from 3.14 on."""
    target = _target(name)
    lines = pl.scan_csv(
        path,
        has_header=False,
        separator=_SEPARATOR,
        quote_char=None,
        infer_schema=False,
        new_columns=["line"],
        glob=False,
    )
    with damage_of(name):
        try:
            lines.sink_csv(target, include_header=False, separator=_SEPARATOR, quote_style="never")
        except pl.exceptions.PolarsError as error:
            why = " ".join(str(error).split())[:120]
            raise DataError(f"{name}: found {why!r}, expected text by Zstandard; fetch it again") from error
    return target
