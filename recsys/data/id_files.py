"""Lists of ids: one per line, or the column of a table in CSV that has a header."""

import csv
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from recsys.columns import MAX_ID_LENGTH
from recsys.data.spellings import twins
from recsys.data.text_files import read_text, shorten
from recsys.errors import DataError


def read_ids(path: Path, column: str) -> list[str]:
    """
    The ids of a file without repetitions. A header that holds `column` makes it a table; otherwise a line is an id.

    Raises:  DataError for a file that is damaged, empty or no text, and with the line of what is no id.
    """
    lines = read_text(path).split("\n")
    header = [name.strip() for name in next(csv.reader(lines[:1]), [])]
    if column in header:
        rows = csv.reader(lines)
        next(rows)
        place = header.index(column)
        found = [(rows.line_num, row[place].strip() if place < len(row) else "") for row in rows if any(row)]
    else:
        found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{path.name}: found no id, expected one per line, or a column {column!r}; add some")
    problems = [
        f"line {number:,} of {path.name}: found {shorten(text)}, expected an id of 1 to {MAX_ID_LENGTH} printable "
        "characters; correct it"
        for number, text in found
        if not text or len(text) > MAX_ID_LENGTH or not text.isprintable()
    ]
    if problems:
        raise DataError(*problems[:20])
    return list(dict.fromkeys(text for _, text in found))


def strangers_note(path: Path, ids: list[str], known: Iterable[str]) -> str | None:
    """
    A sentence about the ids that are not among the known ones; None when all are.

    Raises:  DataError when none is known.
    """
    all_known = list(known)
    unknown = sorted(set(ids) - set(all_known))
    if not unknown:
        return None
    pairs = twins(pl.Series(unknown, dtype=pl.String), pl.Series(all_known, dtype=pl.String))
    examples = "; ".join(f"{wrong!a} may stand for {right!a}" for wrong, right in pairs) or ", ".join(
        shorten(text) for text in unknown[:3]
    )
    what = f"{path.name}: {len(unknown):,} of {len(ids):,} ids are of nobody whom the artifact knows: {examples}"
    if len(unknown) == len(set(ids)):
        shown = ", ".join(shorten(text) for text in all_known[:3])
        raise DataError(f"{what}; expected ids such as {shown}")
    return f"{what}; each gets a stranger's page"
