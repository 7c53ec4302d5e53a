"""
Validation of a whole dataset: every problem counted, the first of each kind shown, unusable rows set aside.

A row with any problem is left out of training, and so is every row that refers to it: an event of an unusable item is
an event of an unknown item. Nothing is dropped silently: counts are exact however many problems there are, and with
`rejected` the rows are written to `<rejected>/<table>.parquet` beside a `reason`.

Memory is bounded: tables are read by the streaming engine, and what is kept is one 64-bit hash per row while a key
is checked, and the numbers of the refused rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from recsys.clock import Millis
from recsys.columns import CREATORS, EVENTS, ITEMS, TABLES, USERS, Column, Table
from recsys.data.checks import (
    BIDI_MARKS,
    ROW,
    RowCheck,
    column_checks,
    duplicate_check,
    reference_check,
    subject_checks,
)
from recsys.data.places import places
from recsys.data.raw import Raw
from recsys.data.spellings import unmatched
from recsys.data.tables import Dataset, notices_of, reading, scan
from recsys.data.values import ASSUMED, ASSUMPTIONS, UNREADABLE
from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.vocabulary import TIERS
from training.report import EXAMPLES, SHOWN, Counted, Problem, Report, TableCount, shorten

MAX_BAD_SHARE: Final = 0.01
"""The share of unusable rows in any one table above which a run fails."""

_FAR_MS: Final = 253_402_300_799_999  # the end of the year 9999

_REFERENCES: Final = {
    "items": (("creator_id", CREATORS),),
    "events": (("item_id", ITEMS), ("creator_id", CREATORS)),
}
_SOFT_REFERENCES: Final = {"events": "user_id", "users": "guardian_id"}


def validate(
    folder: Path,
    *,
    at: Millis,
    rejected: Path | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    on_progress: Progress = quiet,
) -> Report:
    """
    Checks every row of every table of a folder; `at` is the present, later instants are refused.

    Raises:  DataError as `tables.scan`, when tables cannot be read at all.
    """
    return _examine(folder, at, rejected, max_bad_share, on_progress)[1]


def clean(
    folder: Path,
    *,
    at: Millis,
    rejected: Path | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    assume_tier: str | None = None,
    on_progress: Progress = quiet,
) -> tuple[Dataset, Report]:
    """
    The usable rows of a folder, for training, and the report on all rows.

    Without a single tier label training is refused unless `assume_tier` says what to take for every item; with
    labels, unlabelled items stay unlabelled and `assume_tier` is refused, for it would loosen what is unknown.
    Raises:  DataError as `tables.scan`, with `Report.failures`, or about the tiers.
    """
    dataset, report = _examine(folder, at, rejected, max_bad_share, on_progress)
    problems = [*report.failures, *_tier_problems(report, assume_tier)]
    if problems:
        raise DataError(*problems, *(p.sentence() for p in report.problems))
    return (dataset if assume_tier is None else assume(dataset, assume_tier)), report


def assume(dataset: Dataset, tier: str) -> Dataset:
    """The dataset with `tier` for every unlabelled item, and `risk_source` saying that it was assumed."""
    unlabelled = pl.col("risk_tier").is_null()
    items = dataset.items.with_columns(
        pl.col("risk_tier").fill_null(tier),
        risk_source=pl.when(unlabelled).then(pl.lit("assumed")).otherwise("risk_source"),
    )
    return replace(dataset, items=items)


def _tier_problems(report: Report, assume_tier: str | None) -> list[str]:
    n_items = report.tables["items"].n_accepted
    n_labelled = n_items - report.n_unlabelled
    if assume_tier is None:
        if n_items and not n_labelled:
            return [
                f"found no risk_tier on any of the {n_items:,} items, expected labels to train on; label the items, "
                "or train with --assume-tier R0 for an evaluation that no one is served from"
            ]
        return []
    if assume_tier not in TIERS:
        return [f"found --assume-tier {assume_tier!r}, expected one of {', '.join(TIERS)}"]
    if n_labelled:
        return [
            f"found a risk_tier on {n_labelled:,} of {n_items:,} items, expected none beside --assume-tier; leave "
            "the flag out, unlabelled items are then treated as R2"
        ]
    return []


# ---- the run ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """One table after its checks."""

    frame: pl.LazyFrame  # the accepted rows, columns of the contract
    read: pl.LazyFrame  # every row
    count: TableCount
    problems: tuple[Problem, ...]
    counted: tuple[Counted, ...]
    notices: tuple[str, ...]
    failures: tuple[str, ...]
    extra: Mapping[str, int]


def _examine(
    folder: Path, at: Millis, rejected: Path | None, max_bad_share: float, on_progress: Progress
) -> tuple[Dataset, Report]:
    scans = scan(folder)
    outcomes: dict[str, _Outcome] = {}
    for n_done, table in enumerate(TABLES):
        on_progress("validate", n_done, len(TABLES))
        with reading(table.name, scans[table.name].files):
            outcome = _check_table(table, scans[table.name].frame, outcomes, at, rejected)
            outcomes[table.name] = replace(outcome, problems=_placed(outcome.problems, scans[table.name].files))
    on_progress("validate", len(TABLES), len(TABLES))
    counts = {name: outcome.count for name, outcome in outcomes.items()}
    n_unlabelled = outcomes["items"].extra["unlabelled"]
    report = Report(
        tables=counts,
        problems=tuple(p for o in outcomes.values() for p in o.problems),
        counted=tuple(c for o in outcomes.values() for c in o.counted),
        notices=(*notices_of(scans.values()), *_notices(outcomes, n_unlabelled)),
        failures=(*_failures(counts, max_bad_share), *(f for o in outcomes.values() for f in o.failures)),
        n_unlabelled=n_unlabelled,
    )
    return Dataset(**{name: o.frame for name, o in outcomes.items()}, notices=report.notices), report


def _check_table(
    table: Table, scanned: pl.LazyFrame, before: Mapping[str, _Outcome], at: Millis, rejected: Path | None
) -> _Outcome:
    frame = scanned.with_row_index(ROW, offset=1)
    references = list(_references(table, frame, before))
    checks = [*column_checks(table, at), *_whole_table_checks(table, frame, references)]
    soft = _soft_expressions(table, references)
    marks = [check.is_bad.sum().alias(f"{n}") for n, check in enumerate(checks)]
    usable = ~pl.any_horizontal(check.is_bad for check in checks)
    totals = frame.select(
        pl.len().alias("n_read"),
        (~usable).sum().alias("n_rejected"),
        *marks,
        *((usable & is_so).sum().alias(name) for name, is_so in soft.items()),
    ).collect(engine="streaming")
    numbers: dict[str, int] = totals.row(0, named=True)
    broken = [(check, numbers[f"{n}"]) for n, check in enumerate(checks) if numbers[f"{n}"]]
    usable_rows = scanned
    if broken:
        failing = [check for check, _ in broken]
        if rejected is not None:
            _set_aside(table, frame, failing, rejected)
        bad = _unusable(frame, failing).select(ROW).collect(engine="streaming")
        usable_rows = frame.join(bad.lazy(), on=ROW, how="anti", maintain_order="left")
    verdicts = [unmatched(table.name, r.column, frame, r.unknown, r.target.name, r.read) for r in references]
    return _Outcome(
        read=scanned,
        frame=usable_rows.select(c.name for c in table.columns),
        count=TableCount(numbers["n_read"], numbers["n_rejected"]),
        problems=tuple(problem for check, _ in broken for problem in _examples(table, frame, check)),
        counted=tuple(
            Counted(table=table.name, column=c.column, kind=c.kind, expected=c.expected, n_rows=n) for c, n in broken
        ),
        notices=(*(notice for _, notice in verdicts if notice), *_assumed(table, frame, numbers)),
        failures=tuple(failure for failure, _ in verdicts if failure),
        extra={name: numbers[name] for name in soft},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reference:
    """A column of ids of another table: the distinct ones in it that no usable row there has, and all ids there."""

    column: str
    target: Table
    unknown: pl.Series
    read: pl.LazyFrame
    is_needed: bool


def _references(table: Table, frame: pl.LazyFrame, before: Mapping[str, _Outcome]) -> Iterator[_Reference]:
    hard = [(column, target, True) for column, target in _REFERENCES.get(table.name, ())]
    soft = [(column, USERS, False) for column in [_SOFT_REFERENCES.get(table.name)] if column]
    for column, target, is_needed in hard + soft:
        usable, read = (frame, frame) if target is table else (before[target.name].frame, before[target.name].read)
        unknown = _unknown(frame, column, usable, target.key)
        read = read.select(target.key)
        yield _Reference(column=column, target=target, unknown=unknown, read=read, is_needed=is_needed)


def _whole_table_checks(table: Table, frame: pl.LazyFrame, references: Sequence[_Reference]) -> Iterator[RowCheck]:
    repeated = _repeated_rows(table, frame)
    if len(repeated):
        yield duplicate_check(table.key, repeated)
    if table is EVENTS:
        yield from subject_checks()
    for reference in references:
        if reference.is_needed and len(reference.unknown):
            yield reference_check(reference.column, reference.target.name, reference.unknown)


def _repeated_rows(table: Table, frame: pl.LazyFrame) -> pl.Series:
    """Row numbers of keys that stood in an earlier row. Hashes find the suspects, the keys themselves decide."""
    hashes = frame.select(pl.col(table.key).hash()).collect(engine="streaming").to_series()
    if hashes.n_unique() == len(hashes):
        return pl.Series(ROW, [], pl.get_index_type())
    suspects = hashes.filter(hashes.is_duplicated()).unique()
    keys = frame.select(ROW, table.key).filter(
        pl.col(table.key).is_not_null() & pl.col(table.key).hash().is_in(suspects.implode())
    )
    suspected = keys.collect(engine="streaming").sort(ROW)
    return suspected.filter(~pl.col(table.key).is_first_distinct())[ROW]


def _unknown(frame: pl.LazyFrame, column: str, target: pl.LazyFrame, key: str) -> pl.Series:
    """The distinct values of a column that are no key of the target."""
    used = frame.select(pl.col(column).alias(key)).drop_nulls().unique()
    return used.join(target.select(key), on=key, how="anti").collect(engine="streaming").to_series()


def _soft_expressions(table: Table, references: Sequence[_Reference]) -> dict[str, pl.Expr]:
    """What is worth a notice but makes no row unusable: name -> expression, true where it is so."""
    soft = _assumptions(table)
    if table is ITEMS:
        has_marks = pl.col("title").str.contains(BIDI_MARKS).fill_null(False)
        soft |= {"unlabelled": pl.col("risk_tier").is_null(), "bidi": has_marks}
    for reference in references:
        if not reference.is_needed:
            is_unknown = pl.col(reference.column).is_in(reference.unknown.implode())
            soft["unknown_user"] = is_unknown.fill_null(False)
    return soft


def _assumptions(table: Table) -> dict[str, pl.Expr]:
    """By column of instants: the values that were read by an assumption."""
    return {
        ASSUMED + column.name: pl.col(ASSUMED + column.name).is_not_null() & pl.col(column.name).is_not_null()
        for column in table.columns
        if column.dtype == "time"
    }


# ---- unusable rows ----


def _set_aside(table: Table, frame: pl.LazyFrame, checks: list[RowCheck], rejected: Path) -> None:
    """Writes the unusable rows as text beside the reasons, each with its row number."""
    reasons = [
        pl.when(check.is_bad).then(pl.lit(f"{check.column}: {check.kind}, expected {check.expected}"))
        for check in checks
    ]
    rows = _unusable(frame, checks).select(
        pl.col(ROW).alias("row"),
        *(_readable(column) for column in table.columns),
        pl.concat_str(reasons, separator="; ", ignore_nulls=True).alias("reason"),
    )
    rejected.mkdir(parents=True, exist_ok=True)
    half = rejected / f".{table.name}.parquet.tmp"
    rows.sink_parquet(half)
    half.replace(rejected / f"{table.name}.parquet")


def _unusable(frame: pl.LazyFrame, checks: list[RowCheck]) -> pl.LazyFrame:
    return frame.filter(pl.any_horizontal(check.is_bad for check in checks))


def _examples(table: Table, frame: pl.LazyFrame, check: RowCheck) -> Iterator[Problem]:
    column = next(column for column in table.columns if column.name == check.column)
    shown = _readable(column).str.slice(0, SHOWN + 1).alias("value")
    first = frame.filter(check.is_bad).select(ROW, shown).head(EXAMPLES).collect(engine="streaming")
    for row, value in first.rows():
        yield Problem(
            table=table.name,
            row=row,
            column=check.column,
            kind=check.kind,
            value=shorten(value),
            expected=check.expected,
        )


def _placed(problems: Sequence[Problem], files: Sequence[Raw]) -> tuple[Problem, ...]:
    """The problems with the places of their rows, which are looked up in the files once."""
    found = places(files, [problem.row for problem in problems])
    return tuple(replace(problem, place=found.get(problem.row, "")) for problem in problems)


def _readable(column: Column) -> pl.Expr:
    """The value as text, also where it could not be read as its dtype."""
    value = pl.col(column.name)
    text = value.list.join("|") if column.dtype == "list" else value.cast(pl.String)
    if column.dtype == "time":  # as the row means it; milliseconds where no calendar goes
        near = pl.when(value.is_between(-_FAR_MS, _FAR_MS)).then(value).cast(pl.Datetime("ms"))
        text = pl.coalesce(near.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), text)
    return pl.coalesce(UNREADABLE + column.name, text).alias(column.name)


# ---- sentences ----


def _notices(outcomes: Mapping[str, _Outcome], n_unlabelled: int) -> list[str]:
    n_items = outcomes["items"].count.n_accepted
    n_bidi, n_unknown = outcomes["items"].extra["bidi"], outcomes["events"].extra["unknown_user"]
    n_guardians = outcomes["users"].extra["unknown_user"]
    sentences = {
        f"{n_unlabelled:,} of {n_items:,} items have no risk_tier: on a page each counts as R2 for adults, and minors "
        "never get it, and liking it is left out of training": n_unlabelled,
        f"{n_bidi:,} titles hold marks that turn the reading direction; they are kept as they are": n_bidi,
        f"{n_unknown:,} events are of people who are not in the table users; they are kept, of an unknown age and "
        "place": n_unknown,
        f"{n_guardians:,} people name a guardian_id that is not in the table users": n_guardians,
    }
    told = [notice for outcome in outcomes.values() for notice in outcome.notices]
    empty = [f"table {name} has no rows" for name in ("users", "events") if not outcomes[name].count.n_read]
    return [sentence for sentence, number in sentences.items() if number] + told + empty


def _assumed(table: Table, frame: pl.LazyFrame, numbers: Mapping[str, int]) -> Iterator[str]:
    """What was assumed to read instants, in sentences."""
    for column in (c.name for c in table.columns if c.dtype == "time" and numbers[ASSUMED + c.name]):
        counts = frame.group_by(ASSUMED + column).agg(pl.col(column).is_not_null().sum()).drop_nulls()
        for assumed, number in sorted(counts.collect(engine="streaming").rows()):
            yield (
                f"table {table.name}: {number:,} values of column {column!r} have {assumed}; they were read "
                f"{ASSUMPTIONS[assumed]}"
            )


def _failures(counts: Mapping[str, TableCount], max_bad_share: float) -> Iterator[str]:
    for name, count in counts.items():
        if count.bad_share > max_bad_share:
            yield (
                f"table {name}: {count.n_rejected:,} of {count.n_read:,} rows are unusable "
                f"({count.bad_share:.1%}), expected at most {max_bad_share:.1%}; repair them, see the problems"
            )
        if name in ("creators", "items") and not count.n_accepted:
            yield f"table {name} has no usable row, expected at least one: without it there is nothing to rank"
