"""
`sanad import table`: any table of interactions, one row for what one person did with one item.

With a rating, a row from `threshold` on is a `like`, up to `dislike` it is `not_interested`, and between them a `view`
of an unknown length; the rating itself is in `events.value`. With a column of events, its words are those of the data
contract or are mapped to them. With neither, every row is a `like`. Without times, events get a random order over ten
days, so that the last days are a random holdout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from recsys.data.files import columns_of, data_files
from recsys.errors import ConfigError, DataError
from recsys.vocabulary import ITEM_EVENTS
from training.importers.common import ImportReport, finish, note_unused_columns, times_of_log
from training.importers.fields import Field, id_of, instant, language, name_as_id, number, text
from training.importers.published import ROW, PublishedTable, open_table

N_DAYS_WITHOUT_TIMES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """
    The columns of a table of interactions, as the file calls them, and what they mean.

    `kinds` maps words of `event` to event kinds; rows without rating and event are of the kind `otherwise`. `title` to
    `published` describe the item, and stand in the tables of items when there are some, beside `item`.
    """

    user: str
    item: str
    rating: str | None = None
    threshold: float | None = None
    dislike: float | None = None
    event: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None
    title: str | None = None
    texts: tuple[str, ...] = ()
    language: str | None = None
    creator: str | None = None
    published: str | None = None
    otherwise: str = "like"

    @property
    def of_events(self) -> tuple[str, ...]:
        """The columns that say who did what, and when."""
        return tuple(name for name in (self.user, self.item, self.rating, self.event, self.at) if name)


def run(
    source: Path,
    folder: Path,
    columns: TableColumns,
    *,
    items: Path | None = None,
    names: tuple[str, ...] | None = None,
) -> ImportReport:
    """
    Reads the table `source`, a file or a folder of parts, and the file of `items`; writes the dataset into `folder`.

    `names` are the columns of a table without a header.
    Raises:  ConfigError for options that contradict each other, DataError for what cannot be read.
    """
    _check(columns)
    logs = [
        open_table(path, separator=None, names=names, wanted=columns.of_events, given=given)
        for path, given in _parts(source)
    ]
    about = [columns.item, *(field.column for field in _item_fields(columns).values())]
    goods = [open_table(items, separator=None, wanted=about)] if items else []
    return import_tables(folder, columns, logs, goods, notices=[])


def import_tables(
    folder: Path,
    columns: TableColumns,
    logs: Sequence[PublishedTable],
    items: Sequence[PublishedTable],
    *,
    notices: list[str],
    users: pl.LazyFrame | None = None,
    users_name: str = "",
) -> ImportReport:
    """
    Writes the dataset of tables of interactions, of items (none: the interactions name them) and of users.

    Raises:  DataError as `events_of` and `finish`.
    """
    parts = [events_of(table, columns).with_columns(part=pl.lit(n)) for n, table in enumerate(logs)]
    events = pl.concat(parts).with_columns(event_id=pl.format("{}-{}", "part", ROW)).drop("part", ROW)
    about = _item_fields(columns)
    described = [columns.item, *(field.column for field in about.values())]
    for table in logs:
        note_unused_columns(table, [*columns.of_events, *([] if items else described)], notices)
    for table in items:
        note_unused_columns(table, described, notices)
    return finish(
        folder,
        events=events if columns.at else with_times(events, notices),
        items=_items(columns, list(items) or logs, about, is_own=bool(items)),
        users=users,
        notices=notices,
        items_name=items[0].path.name if items else "",
        users_name=users_name,
    )


def events_of(table: PublishedTable, columns: TableColumns) -> pl.LazyFrame:
    """
    `ROW`, user_id, item_id, kind, and where the table has them at and value.

    Raises:  DataError for missing columns and for the first value of each column that cannot be read.
    """
    fields: dict[str, Field] = {"user_id": id_of(columns.user), "item_id": id_of(columns.item)}
    if columns.at:
        fields["at"] = instant(columns.at)
    if columns.rating:
        fields |= {"rating": number(columns.rating), "value": text(columns.rating)}
    if columns.event:
        fields["kind"] = word(table, columns.event, {kind: kind for kind in ITEM_EVENTS} | dict(columns.kinds))
    rows = table.read(fields)
    if columns.event:
        return rows
    if columns.rating and columns.threshold is not None:
        return rows.with_columns(kind=kind_of_rating(columns.threshold, columns.dislike)).drop("rating")
    return rows.with_columns(kind=pl.lit(columns.otherwise))


def kind_of_rating(threshold: float, dislike: float | None) -> pl.Expr:
    """The kind of event that a number in the column `rating` means."""
    is_dislike = pl.lit(False) if dislike is None else pl.col("rating") <= dislike
    is_like = pl.col("rating") >= threshold
    return (
        pl.when(is_like).then(pl.lit("like")).when(is_dislike).then(pl.lit("not_interested")).otherwise(pl.lit("view"))
    )


def word(table: PublishedTable, column: str, kinds: Mapping[str, str]) -> Field:
    """A word for an event kind. Raises DataError naming every word in the table that `kinds` does not have."""
    words = table.read({"word": text(column)}).select(pl.col("word").unique().sort().drop_nulls()).collect()["word"]
    unknown = [repr(value) for value in words if value not in kinds]
    if unknown:
        raise DataError(
            f"{table.path.name}: column {column!r} holds {', '.join(unknown[:20])}, expected {', '.join(ITEM_EVENTS)}; "
            "say what a word means with --kind WORD=KIND"
        )
    expected = f"one of {', '.join(kinds)}"
    return Field(column=column, convert=lambda raw, _: raw.replace_strict(kinds, default=None), expected=expected)


def _check(columns: TableColumns) -> None:
    if columns.user == columns.item:
        raise ConfigError(f"found {columns.user!r} as --user and as --item, expected two columns; correct one")
    if columns.rating and columns.event:
        raise ConfigError("found --rating and --event, expected one of them; a row is one event")
    if columns.rating and columns.threshold is None:
        raise ConfigError("found --rating without --threshold, expected the rating from which somebody likes an item")
    if columns.threshold is not None and not columns.rating:
        raise ConfigError("found --threshold without --rating, expected the column that it is compared with")
    if columns.dislike is not None and (columns.threshold is None or columns.dislike >= columns.threshold):
        raise ConfigError(f"found --dislike {columns.dislike:g}, expected a number below --threshold; correct it")
    wrong = [kind for kind in columns.kinds.values() if kind not in ITEM_EVENTS]
    if wrong:
        raise ConfigError(f"--kind: found {wrong[0]!r}, expected one of {', '.join(ITEM_EVENTS)}")


def _parts(source: Path) -> list[tuple[Path, dict[str, str | None]]]:
    """The file, or the files of a folder and of the folders in it, with the columns that those folders name."""
    if source.is_file():
        return [(source, {})]
    paths = [path for path in data_files(source) if path.stat().st_size]  # Spark leaves empty parts
    if not paths:
        raise DataError(f"found no file in {source}, expected a table of interactions; correct SRC")
    return [(path, columns_of(path.relative_to(source))) for path in paths]


def with_times(events: pl.LazyFrame, notices: list[str]) -> pl.LazyFrame:
    """The events of a log without times in a random order; says so in a notice."""
    rows = events.collect(engine="streaming")
    notices.append(
        f"there are no times (--at): events got a random order over {N_DAYS_WITHOUT_TIMES} days, so the last days are "
        "a random part of them and nothing else may be read from times"
    )
    return rows.with_columns(times_of_log(N_DAYS_WITHOUT_TIMES, rows.height)).lazy()


def _item_fields(columns: TableColumns) -> dict[str, Field]:
    """The fields that describe an item, by their name in the data contract; of several texts `text_0`, `text_1`."""
    named = {
        "title": columns.title and text(columns.title),
        "language": columns.language and language(columns.language),
        "creator_id": columns.creator and name_as_id(columns.creator),
        "published_at": columns.published and instant(columns.published, is_required=False),
    }
    texts = {f"text_{number}": text(column) for number, column in enumerate(columns.texts)}
    return {name: value for name, value in named.items() if value} | texts


def _items(
    columns: TableColumns, tables: Sequence[PublishedTable], about: Mapping[str, Field], *, is_own: bool
) -> pl.LazyFrame | None:
    """The items with what is said of them: in their own tables, or in the rows of their events, the first of each."""
    if not is_own and not about:
        return None
    fields = {"item_id": id_of(columns.item), **about}
    rows = pl.concat(table.read(fields).drop(ROW) for table in tables)
    if not is_own:
        first = [pl.col(name).drop_nulls().first() for name in about]
        rows = rows.group_by("item_id", maintain_order=True).agg(first)
    texts = [f"text_{number}" for number in range(len(columns.texts))]
    if not texts:
        return rows
    joined = pl.concat_str(texts, separator=" ", ignore_nulls=True).str.replace_all(r"\s+", " ").str.strip_chars()
    return rows.with_columns(text=pl.when(joined != "").then(joined)).drop(texts)
