"""Where a row of a table stands, as its owner counts: the file, and of text the line on which the row begins."""

from collections.abc import Iterable, Sequence

import polars as pl

from recsys.data.raw import Raw


def places(files: Sequence[Raw], rows: Iterable[int]) -> dict[int, str]:
    """Numbers of rows of the whole table, from 1 -> `line 3 of events.csv`, or `row 2 of events/0.parquet`."""
    wanted = sorted(set(rows))
    found: dict[int, str] = {}
    offset = 0
    for file in files:
        if not wanted or wanted[-1] <= offset:
            break
        size = wanted[-1] if file is files[-1] else file.frame.select(pl.len()).collect(engine="streaming").item()
        inside = [row - offset for row in wanted if offset < row <= offset + size]
        if inside:
            lines = file.lines_of(inside)
            unit = "row" if lines is None else "line"
            numbers = inside if lines is None else lines
            pairs = zip(inside, numbers, strict=False)
            found |= {row + offset: f"{unit} {number:,} of {file.name}" for row, number in pairs}
        offset += size
    return found
