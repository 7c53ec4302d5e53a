"""
What the importers share: finding files, reading text tables, and the conventions for what a set does not publish.

Times.   Sets without times get their events on days counted from `DAY_ZERO`: the training part on day 0, validation
         on day 1, test on day 2, in a seeded random order within the day. So a cutoff in time is the published split,
         and nothing else may be read from such times. `events.variant` names the part (train, valid, test).
Creators. Sets without creators get one creator per item with the item's id, so that rules about creators neither bind
         nor break.
Countries. `creators.country` is required. Where it is not published it is `ZZ`, which ISO 3166-1 leaves to its users
         and never assigns: unknown, neither local nor foreign.
Titles.  `items.title` is required. Where none is published it is "item" and the id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import DAY, Millis, from_text
from recsys.data.tables import write_dataset
from recsys.errors import DataError

DAY_ZERO: Final[Millis] = from_text("2020-01-01T00:00:00Z")
UNKNOWN_COUNTRY: Final = "ZZ"
PARTS: Final = ("train", "valid", "test")
CUTOFFS: Final[Mapping[str, Millis]] = {"valid": DAY_ZERO + DAY, "test": DAY_ZERO + 2 * DAY}
"""Events before `CUTOFFS["valid"]` are the published training part, and so on."""

_SEED: Final = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """
    What an import wrote: rows per table, notices in sentences, and for sets with a published split the instants
    at which validation and test begin.
    """

    counts: Mapping[str, int]
    notices: tuple[str, ...]
    cutoffs: Mapping[str, Millis]


def find(source: Path, *patterns: str) -> list[Path]:
    """Files in `source` that match any pattern, plain or with `.gz`, in order."""
    paths = {path for pattern in patterns for path in (*source.glob(pattern), *source.glob(pattern + ".gz"))}
    return sorted(path for path in paths if path.is_file())


def need(source: Path, *patterns: str) -> list[Path]:
    """`find`, but at least one. Raises DataError."""
    paths = find(source, *patterns)
    if not paths:
        raise DataError(f"found no {' or '.join(patterns)} in {source}, expected at least one (plain or .gz); add it")
    return paths


def all_needed(source: Path, *patterns: str) -> list[list[Path]]:
    """One list per pattern. Raises DataError with every pattern that has no file."""
    groups: list[list[Path]] = []
    problems: list[str] = []
    for pattern in patterns:
        try:
            groups.append(need(source, pattern))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return groups


def scan_text(
    path: Path,
    columns: Sequence[str],
    *,
    notices: list[str],
    separator: str = ",",
    header: bool = True,
    optional: Sequence[str] = (),
    quote: str | None = '"',
) -> pl.LazyFrame:
    """
    Columns of a delimited text file, as text; optional ones are null where they are missing.

    Without a header `columns` names the file's columns in order. Other columns are named in a notice.
    Raises:  DataError naming every missing column.
    """
    frame = pl.scan_csv(path, infer_schema=False, separator=separator, has_header=header, quote_char=quote)
    try:
        columns_read = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path.name}: found {str(error).splitlines()[0]!r}, expected a table of text") from error
    if not header:
        return _named(frame, path, columns_read, columns)
    plain = {name: name.removeprefix("\ufeff") for name in columns_read}
    problems = [
        f"{path.name}: column {name!r} is missing, found {', '.join(plain.values())}; is it the published file?"
        for name in columns
        if name not in plain.values()
    ]
    if problems:
        raise DataError(*problems)
    left_out = [name for name in plain.values() if name not in (*columns, *optional)]
    if left_out:
        notices.append(
            f"{path.name}: columns without a place in the data contract were left out: {', '.join(left_out)}"
        )
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in optional if name not in plain.values()]
    present = [name for name in (*columns, *optional) if name in plain.values()]
    return frame.rename(plain).select(*present, *absent)


def _named(frame: pl.LazyFrame, path: Path, columns_read: list[str], columns: Sequence[str]) -> pl.LazyFrame:
    if len(columns_read) != len(columns):
        raise DataError(
            f"{path.name}: found {len(columns_read)} columns, expected {len(columns)}: {', '.join(columns)}"
        )
    return frame.rename(dict(zip(columns_read, columns, strict=True)))


def times_of_part(part: str, n_events: int) -> pl.Series:
    """`at` for the events of one part of a set without times: a seeded random order within the part's day."""
    day = PARTS.index(part)
    order = np.random.default_rng([_SEED, day]).permutation(n_events)
    return pl.Series("at", DAY_ZERO + day * DAY + order * DAY // max(n_events, 1))


def solo_creators(items: pl.LazyFrame) -> pl.LazyFrame:
    """One creator of an unknown country per item, for sets without creators."""
    return items.select(creator_id=pl.col("creator_id"), country=pl.lit(UNKNOWN_COUNTRY))


def untitled(item_id: str = "item_id") -> pl.Expr:
    """A title for items of a set without titles."""
    return pl.lit("item ") + pl.col(item_id)


def finish(
    folder: Path,
    *,
    creators: pl.LazyFrame,
    items: pl.LazyFrame,
    users: pl.LazyFrame,
    events: pl.LazyFrame,
    notices: Sequence[str],
    cutoffs: Mapping[str, Millis] | None = None,
) -> ImportReport:
    """Writes the four tables and counts what was written."""
    try:
        write_dataset(folder, creators=creators, items=items, users=users, events=events)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"found {' '.join(str(error).split())[:300]!r}, expected values as published") from error
    names = ("creators", "items", "users", "events")
    counts = {name: pl.scan_parquet(folder / f"{name}.parquet").select(pl.len()).collect().item() for name in names}
    return ImportReport(counts=counts, notices=tuple(notices), cutoffs=cutoffs or {})
