"""
What the importers share: finding files, and the conventions for what a set does not publish.

Times.   Sets without times get their events on days counted from `DAY_ZERO`: the training part on day 0, validation
         on day 1, test on day 2, in a seeded random order within the day. So a cutoff in time is the published split,
         and nothing else may be read from such times. `events.variant` names the part (train, valid, test).
Items.   An item that has events and no row of its own is added, so that no event is lost. `items.title` is required;
         where none is published it is "item" and the id. An item counts as published at its first event.
Creators. Sets without creators get one creator per item with the item's id, so that rules about creators neither bind
         nor break.
Countries. `creators.country` is required. Where it is not published it is `ZZ`, which ISO 3166-1 leaves to its users
         and never assigns: unknown, neither local nor foreign.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.clock import DAY, Millis, from_text
from recsys.data.tables import write_dataset
from recsys.errors import DataError
from training.importers.published import PublishedTable

DAY_ZERO: Final[Millis] = from_text("2020-01-01T00:00:00Z")
UNKNOWN_COUNTRY: Final = "ZZ"
PARTS: Final = ("train", "valid", "test")
CUTOFFS: Final[Mapping[str, Millis]] = {"valid": DAY_ZERO + DAY, "test": DAY_ZERO + 2 * DAY}
"""Events before `CUTOFFS["valid"]` are the published training part, and so on."""

MAX_STRANGER_SHARE: Final = 0.5
"""The share of events about ids that another file lacks above which the two files do not belong together."""

_SEED: Final = 20260101
_PACKED: Final = ("", ".gz", ".zst")
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """
    What an import wrote: rows per table, notices in sentences, and for sets with a published split the instants
    at which validation and test begin.
    """

    counts: Mapping[str, int]
    notices: tuple[str, ...]
    cutoffs: Mapping[str, Millis]


# ---- files ----


def find(source: Path, *patterns: str) -> list[Path]:
    """
    Files in `source` that match any pattern, in capital letters or not, plain or packed, in order.

    Raises:  DataError when a file stands there both plain and packed: reading both would count it twice.
    """
    wanted = [(pattern + packed).lower() for pattern in patterns for packed in _PACKED]
    by_name: dict[str, list[str]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        name = path.name.lower()
        if path.is_file() and any(fnmatchcase(name, pattern) for pattern in wanted):
            by_name.setdefault(name.removesuffix(".gz").removesuffix(".zst"), []).append(path.name)
    for names in by_name.values():
        if len(names) > 1:
            raise DataError(f"found {' and '.join(names)} in {source}, expected one of them; remove the other")
    return sorted(source / names[0] for names in by_name.values())


def need(source: Path, *patterns: str) -> list[Path]:
    """`find`, but at least one. Raises DataError."""
    paths = find(source, *patterns)
    if not paths:
        raise DataError(f"found no {' or '.join(patterns)} in {source}, expected one (plain, .gz or .zst); add it")
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


def note_unused_columns(table: PublishedTable, used: Iterable[str], notices: list[str]) -> None:
    """Names the columns of a file that an importer does not read."""
    left_out = [name for name in table.columns if name not in set(used)]
    if left_out:
        names = ", ".join(left_out)
        notices.append(f"{table.path.name}: columns without a place in the data contract were left out: {names}")


def note_unused_files(source: Path, used: Iterable[Path], notices: list[str]) -> None:
    """Names the files of a folder that an importer does not read."""
    read = set(used)
    files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    notices.extend(f"{path.name} was left out" for path in files if path not in read)


# ---- what a set does not publish ----


def times_of_part(part: str, n_events: int) -> pl.Series:
    """`at` for the events of one part of a set without times: a seeded random order within the part's day."""
    day = PARTS.index(part)
    return _random_order(DAY_ZERO + day * DAY, DAY, n_events, [_SEED, day])


def times_of_log(n_days: int, n_events: int) -> pl.Series:
    """`at` for the events of a log without times: a seeded random order within `n_days` from `DAY_ZERO` on."""
    return _random_order(DAY_ZERO, n_days * DAY, n_events, [_SEED, 9])


def _random_order(start: Millis, length: Millis, n_events: int, seed: list[int]) -> pl.Series:
    order = np.random.default_rng(seed).permutation(n_events)
    return pl.Series("at", start + order * length // max(n_events, 1))


def untitled(item_id: str = "item_id") -> pl.Expr:
    """A title for items of a set without titles."""
    return pl.lit("item ") + pl.col(item_id)


def by_number(column: str) -> list[pl.Expr]:
    """The order of ids that may be numbers: those by their value, then texts."""
    return [pl.col(column).cast(pl.Int64, strict=False), pl.col(column)]


def age_band(years: pl.Expr) -> pl.Expr:
    """The band of an age in years; unknown where nobody of that age watches videos, as where codes stand for ages."""
    return (
        pl.when(years.is_null() | ~years.is_between(5, 120)).then(pl.lit("unknown"))
        .when(years < 13).then(pl.lit("under_13")).when(years < 16).then(pl.lit("13-15"))
        .when(years < 18).then(pl.lit("16-17")).otherwise(pl.lit("18+"))
    )  # fmt: skip


# ---- the dataset ----


def finish(
    folder: Path,
    *,
    events: pl.LazyFrame,
    notices: Sequence[str],
    items: pl.LazyFrame | None = None,
    users: pl.LazyFrame | None = None,
    creators: pl.LazyFrame | None = None,
    items_name: str = "the table of items",
    users_name: str = "the table of users",
    cutoffs: Mapping[str, Millis] | None = None,
) -> ImportReport:
    """
    Completes the tables, writes them and counts what was written.

    `items` and `users` need their key only; without them the events name them. Sentences call their files `items_name`
    and `users_name`.
    Raises:  DataError when most events are about items or people that are not in their tables.
    """
    notes = list(notices)
    try:
        met = _met(events, "item_id")
        all_items = _complete_items(_with_strangers(items, met, "item_id", items_name, notes), met)
        all_users = _with_strangers(users, _met(events, "user_id"), "user_id", users_name, notes)
        write_dataset(
            folder, creators=_complete_creators(creators, all_items), items=all_items, users=all_users, events=events
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"found {' '.join(str(error).split())[:300]!r}, expected values as published") from error
    tables = ("creators", "items", "users", "events")
    counts = {name: pl.scan_parquet(folder / f"{name}.parquet").select(pl.len()).collect().item() for name in tables}
    return ImportReport(counts=counts, notices=tuple(dict.fromkeys(notes)), cutoffs=cutoffs or {})


def _met(events: pl.LazyFrame, key: str) -> pl.DataFrame:
    """One row for each id in the events: the key, the number of its events and the instant of the first."""
    counted = events.group_by(key).agg(n_events=pl.len(), first_at=pl.col("at").min())
    return counted.filter(pl.col(key).is_not_null()).sort(*by_number(key)).collect(engine="streaming")


def _with_strangers(
    table: pl.LazyFrame | None, met: pl.DataFrame, key: str, source: str, notices: list[str]
) -> pl.LazyFrame:
    """The table, each key once, and a row for each id that only events name. Raises DataError when most do."""
    if table is None:
        return met.lazy().select(key)
    rows = table.collect(engine="streaming")
    known = rows.unique(key, keep="first", maintain_order=True)
    if known.height < rows.height:
        notices.append(f"{source}: {rows.height - known.height:,} repeated rows of the same {key} were left out")
    strangers = met.join(known, on=key, how="anti")
    n_strange, n_events = int(strangers["n_events"].sum()), int(met["n_events"].sum())
    if strangers.height:
        what = f"{n_strange:,} of {n_events:,} events are of {strangers.height:,} ids that {source} does not have"
        examples = ", ".join(repr(value) for value in strangers[key].head(_EXAMPLES))
        if n_strange > MAX_STRANGER_SHARE * n_events:
            has = ", ".join(repr(value) for value in known[key].head(_EXAMPLES))
            raise DataError(f"{what}, such as {examples}, which has {has}; write ids alike in both files")
        notices.append(f"{what}, such as {examples}; they were added and nothing else is known of them")
    return pl.concat([known, strangers.select(key)], how="diagonal").lazy()


def _complete_items(items: pl.LazyFrame, met: pl.DataFrame) -> pl.LazyFrame:
    """Every item with a creator, a title and an instant of publication."""
    present = set(items.collect_schema())
    nothing = {
        name: pl.lit(None, dtype=dtype)
        for name, dtype in {"creator_id": pl.String, "title": pl.String, "published_at": pl.Int64}.items()
        if name not in present
    }
    first = met["first_at"].min() if met.height else DAY_ZERO
    title = pl.when(pl.col("title").str.strip_chars() != "").then(pl.col("title"))
    return (
        items.with_columns(**nothing)
        .join(met.lazy().select("item_id", "first_at"), on="item_id", how="left", maintain_order="left")
        .with_columns(
            creator_id=pl.coalesce(pl.when(pl.col("creator_id") != "").then("creator_id"), "item_id"),
            title=pl.coalesce(title, untitled()),
            published_at=pl.coalesce("published_at", "first_at", pl.lit(first)),
        )
        .drop("first_at")
    )


def _complete_creators(creators: pl.LazyFrame | None, items: pl.LazyFrame) -> pl.LazyFrame:
    """The creators, and one of an unknown country for each that only items name."""
    named = items.select("creator_id").unique(maintain_order=True)
    if creators is None:
        return named.with_columns(country=pl.lit(UNKNOWN_COUNTRY))
    others = named.join(creators, on="creator_id", how="anti", maintain_order="left")
    return pl.concat([creators, others.with_columns(country=pl.lit(UNKNOWN_COUNTRY))])
