"""
Which files of a dataset folder hold which table. Every file is either part of a table or named: nothing is skipped.

A table is one file `<table>.parquet`, `.csv`, `.tsv` or `.jsonl`, or parts: files `<table>-*` or `<table>_*`, or a
folder `<table>` or `<table>.parquet` with files at any depth. Names of folders such as `country=MA` are columns, as
Hive and Spark write them. Capital letters make no difference, text may be compressed by gzip or Zstandard.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from recsys.errors import DataError

Format = Literal["parquet", "csv", "tsv", "jsonl"]

_FORMATS: Final[Mapping[str, Format]] = {
    "parquet": "parquet", "pq": "parquet", "parq": "parquet", "csv": "csv", "tsv": "tsv", "tab": "tsv",
    "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl",
}  # fmt: skip
_COMPRESSED: Final = ("gz", "gzip", "zst", "zstd")
READABLE: Final = ".parquet, .csv, .tsv or .jsonl (text also as .gz or .zst)"
_NO_DATA: Final = re.compile(
    r"\..*|_SUCCESS|_metadata|_common_metadata|_started_.*|_committed_.*|.*\.crc"  # notes of programs to themselves
    r"|Thumbs\.db|desktop\.ini"
    r"|(README|LICEN[CS]E|NOTICE|CHANGELOG)(\..*)?|.*\.md",
    re.IGNORECASE,
)
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a table: where it is, what it is called in sentences, its format, and columns that folders name."""

    path: Path
    name: str
    form: Format
    columns: Mapping[str, str | None] = field(default_factory=dict)


def find_tables(folder: Path, tables: Sequence[str]) -> dict[str, list[DataFile]]:
    """
    The files of each table, sorted by name; an empty list where there are none.

    Raises:  DataError with every file of the folder that belongs to no table or is of no readable format, and every
             table that is there twice.
    """
    if not folder.is_dir():
        raise DataError(f"found no folder {folder}, expected one with the tables {', '.join(tables)}; correct the path")
    found: dict[str, list[DataFile]] = {table: [] for table in tables}
    problems: list[str] = []
    strangers: dict[str, list[Path]] = {}
    for path in data_files(folder):
        relative = path.relative_to(folder)
        table = _table_of(relative.parts[0], tables)
        form = format_of(path.name)
        if table is None:
            strangers.setdefault(relative.parts[0], []).append(relative)
        elif form is None:
            problems.append(
                f"table {table}: found {relative.as_posix()} in {folder}, which cannot be read, expected {READABLE}; "
                "convert it, or move it away"
            )
        else:
            found[table].append(DataFile(path, relative.as_posix(), form, columns_of(relative)))
    problems += [_stranger(folder, first, files, tables) for first, files in strangers.items()]
    problems += [problem for table in tables if (problem := _twice(table, found[table]))]
    if problems:
        raise DataError(*problems)
    return found


def format_of(name: str) -> Format | None:
    """The format that the endings of a name say; None when it is none that can be read."""
    endings = name.lower().split(".")[1:]
    if endings and endings[-1] in _COMPRESSED:
        form = _FORMATS.get(endings[-2]) if len(endings) > 1 else None
        return None if form == "parquet" else form
    return _FORMATS.get(endings[-1]) if endings else None


def data_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and in the folders in it, by name, without notes for people and of programs."""
    for path in sorted(folder.iterdir()):
        if _NO_DATA.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from data_files(path)
        else:
            yield path


def _table_of(first: str, tables: Sequence[str]) -> str | None:
    """The table that the first part of a path names: itself, with endings, or with something after - or _."""
    name = first.lower()
    return next((table for table in tables if re.fullmatch(rf"{table}([-_.].*)?", name)), None)


def columns_of(relative: Path) -> dict[str, str | None]:
    """The columns that folders such as `country=MA` name in the path of a part."""
    pairs = (part.split("=", 1) for part in relative.parts[:-1] if "=" in part)
    return {_unescaped(name): None if value == _NULL else _unescaped(value) for name, value in pairs}


def _unescaped(text: str) -> str:
    """Hive writes characters that no path holds as %3A."""
    raw = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "replace")


def _stranger(folder: Path, first: str, files: Sequence[Path], tables: Sequence[str]) -> str:
    """A sentence about a file or a folder that belongs to no table."""
    name = files[0].as_posix() if len(files) == 1 else f"{first}/ with {len(files):,} files"
    return (
        f"found {name} in {folder}, which belongs to none of the tables {', '.join(tables)} and would not be read; "
        "rename it, or move it away"
    )


def _twice(table: str, files: Sequence[DataFile]) -> str | None:
    """A table may stand there once: as one file, or as parts in one place, each part once."""
    by_place = {_place(table, file): file.name for file in reversed(files)}
    by_stem: dict[str, list[str]] = {}
    for file in files:
        by_stem.setdefault(_stem(file.name), []).append(file.name)
    repeated = [name for names in by_stem.values() if len(names) > 1 for name in names]
    if len(by_place) <= 1 and not repeated:
        return None
    names = ", ".join((repeated or sorted(by_place.values()))[:6])
    return f"table {table}: found {names}, expected it once and in one format; remove the others"


def _place(table: str, file: DataFile) -> str:
    """Empty for a whole table, otherwise where the part stands."""
    first, *rest = file.name.split("/")
    if rest:
        return f"{first}/"
    return "" if _stem(first) == table else "-"


def _stem(name: str) -> str:
    """A path in small letters without the endings that say its format."""
    head, _, last = name.lower().rpartition("/")
    endings = last.split(".")
    while len(endings) > 1 and (endings[-1] in _COMPRESSED or endings[-1] in _FORMATS):
        endings.pop()
    return f"{head}/{'.'.join(endings)}" if head else ".".join(endings)
