"""
The signed split of KuaiRand used by SIGformer (SIGIR 2024): `train.txt`, `valid.txt`, `test.txt` with one
`user item label` per line, label 1 positive, 0 an observed negative.

A positive becomes `complete`, a negative `not_interested`. The set publishes no times, creators, countries or
titles; `common` says what stands in for them. The part of each event is in `events.variant`.
"""

from pathlib import Path

import polars as pl

from recsys.errors import DataError
from training.importers.common import (
    CUTOFFS,
    DAY_ZERO,
    PARTS,
    ImportReport,
    find,
    finish,
    need,
    scan_text,
    solo_creators,
    times_of_part,
    untitled,
)


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads `train.txt` and those of `valid.txt` and `test.txt` that are there, plain or `.gz`.

    Raises:  DataError for a missing train file or lines of another layout.
    """
    need(source, "train.txt")
    notices: list[str] = []
    parts = [_part(files[0], part, notices) for part in PARTS if (files := find(source, f"{part}.txt"))]
    notices.extend(
        f"{part}.txt is not there; its events are missing" for part in PARTS if not find(source, f"{part}.txt")
    )
    events = pl.concat(parts)
    ids = pl.col("item_id").unique()
    items = (
        events.lazy()
        .select(ids)
        .sort(pl.col("item_id").cast(pl.Int64, strict=False), "item_id")
        .select("item_id", creator_id="item_id", published_at=pl.lit(DAY_ZERO), title=untitled())
    )
    users = (
        events.lazy().select(pl.col("user_id").unique()).sort(pl.col("user_id").cast(pl.Int64, strict=False), "user_id")
    )
    return finish(
        folder,
        creators=solo_creators(items),
        items=items,
        users=users,
        events=events.lazy(),
        notices=notices,
        cutoffs=CUTOFFS,
    )


def _part(path: Path, part: str, notices: list[str]) -> pl.DataFrame:
    columns = ["user_id", "item_id", "label"]
    raw = scan_text(path, columns, notices=notices, separator=" ", header=False, quote=None).collect()
    label = raw["label"].cast(pl.Float64, strict=False)
    wrong = raw.filter(~label.is_in([0.0, 1.0]).fill_null(False))
    if wrong.height:
        raise DataError(f"{path.name}: found label {wrong['label'][0]!r}, expected 0 or 1")
    return raw.with_row_index("row").select(
        "user_id",
        "item_id",
        event_id=pl.format(part + "-{}", "row"),
        kind=pl.when(label > 0).then(pl.lit("complete")).otherwise(pl.lit("not_interested")),
        at=times_of_part(part, raw.height),
        variant=pl.lit(part),
    )
