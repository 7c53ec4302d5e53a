"""
The signed split of KuaiRand used by SIGformer (SIGIR 2024): `train.txt`, `valid.txt`, `test.txt` with one
`user item label` per line, label 1 positive, 0 an observed negative.

A positive becomes `complete`, a negative `not_interested`. The set publishes no times, creators, countries or
titles; `common` says what stands in for them. The part of each event is in `events.variant`.
"""

from pathlib import Path

import polars as pl

from training.importers.common import CUTOFFS, DAY_ZERO, PARTS, ImportReport, find, finish, need, times_of_part
from training.importers.fields import Field, id_of
from training.importers.published import ROW, open_table


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads `train.txt` and those of `valid.txt` and `test.txt` that are there, plain or `.gz`.

    Raises:  DataError for a missing train file or lines of another layout.
    """
    need(source, "train.txt")
    files = {part: find(source, f"{part}.txt") for part in PARTS}
    notices = [f"{part}.txt is not there; its events are missing" for part, paths in files.items() if not paths]
    events = pl.concat(_part(paths[0], part) for part, paths in files.items() if paths).lazy()
    items = events.select(pl.col("item_id").unique()).with_columns(published_at=pl.lit(DAY_ZERO))
    ordered = items.sort(pl.col("item_id").cast(pl.Int64, strict=False), "item_id")
    return finish(folder, events=events, items=ordered, notices=notices, cutoffs=CUTOFFS)


def _part(path: Path, part: str) -> pl.DataFrame:
    table = open_table(path, separator=" ", quote=None, names=("user_id", "item_id", "label"))
    rows = table.read({"user_id": id_of("user_id"), "item_id": id_of("item_id"), "kind": _label()}).collect()
    return rows.select(
        "user_id",
        "item_id",
        "kind",
        event_id=pl.format(part + "-{}", ROW),
        at=times_of_part(part, rows.height),
        variant=pl.lit(part),
    )


def _label() -> Field:
    def convert(raw: pl.Expr, _: pl.DataType) -> pl.Expr:
        label = raw.cast(pl.Float64, strict=False)
        return pl.when(label == 1).then(pl.lit("complete")).when(label == 0).then(pl.lit("not_interested"))

    return Field(column="label", convert=convert, expected="the label 0 or 1")
