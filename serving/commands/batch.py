"""One page for each of many users, as rows of a file. Nothing is reserved."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Final

import msgspec
import polars as pl
import typer

from recsys.clock import Millis
from recsys.errors import ConfigError
from recsys.feed.engine import Engine
from recsys.feed.response import plain
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact
from recsys.processes import in_processes
from recsys.progress import Progress
from recsys.vocabulary import TIERS

_SCHEMA: Final = {
    "user_id": pl.String, "position": pl.Int64, "item_id": pl.String, "score": pl.Float64, "tier": pl.String,
    "propensity": pl.Float64,
}  # fmt: skip
Row = Mapping[str, object]
_ROWS_PER_CHUNK: Final = 100_000
_PEOPLE_PER_CHUNK: Final = 64


def check_name(out: Path | None) -> None:
    """Raise ConfigError when the name of a file does not say its format."""
    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"found --out {out}, expected a name that ends in .jsonl or .parquet")


def known_ids(artifact: Artifact) -> list[str]:
    """Every id of the users table, then the ids that have a history only."""
    return list(dict.fromkeys([*artifact.users["user_id"].to_list(), *artifact.histories]))


def rows(engine: Engine, ids: Sequence[str], size: int, at: Millis, on_progress: Progress) -> Iterator[Row]:
    """
    One row per user and position, as a dry run of the feed would answer. The user id gives the request id, so a second
    run gives the same rows.
    """
    if problem := engine.resources.exposure.refresh(at):
        engine.alert(problem)
    for done, pages in enumerate(in_processes(partial(_pages, engine, size, at), ids, _PEOPLE_PER_CHUNK)):
        on_progress("recommend", done * _PEOPLE_PER_CHUNK, len(ids))
        for alerts, table_rows in pages:
            for sentence in alerts:
                engine.alert(sentence)
            yield from table_rows
    on_progress("recommend", len(ids), len(ids))


def _pages(engine: Engine, size: int, at: Millis, ids: Sequence[str]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """The alerts and the rows of each person's page."""
    return [_page(engine, user_id, size, at) for user_id in ids]


def _page(engine: Engine, user_id: str, size: int, at: Millis) -> tuple[tuple[str, ...], list[Row]]:
    request = FeedRequest(user_id=user_id, size=size, request_id=f"recommend {user_id}", dry_run=True)
    plan = engine.plan(request, at)
    chosen, items = plan.selection.rows, plan.context.query.items
    numbers, columns = plan.candidates.item_nos[chosen], plan.candidates.columns
    parts = zip(
        items.item_ids.take(numbers.tolist()), columns["score"][chosen].tolist(), columns["tier"][chosen].tolist(),
        plan.selection.propensities.tolist(), strict=True,
    )  # fmt: skip
    return plan.alerts, [
        {
            "user_id": user_id, "position": position, "item_id": item_id, "score": plain(score), "tier": TIERS[tier],
            "propensity": plain(propensity),
        }
        for position, (item_id, score, tier, propensity) in enumerate(parts, 1)
    ]  # fmt: skip


def write(table_rows: Iterable[Row], out: Path | None) -> int:
    """Write all rows, or no file at all. Returns how many rows."""
    if out is None:
        return _lines(table_rows, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _beside(out) as path:
        if out.suffix == ".parquet":
            return _parquet(table_rows, path)
        with path.open("w", encoding="utf-8") as file:
            return _lines(table_rows, file)


def _lines(table_rows: Iterable[Row], file: IO[str] | None) -> int:
    n_rows = 0
    for row in table_rows:
        typer.echo(msgspec.json.encode(row).decode(), file=file)
        n_rows += 1
    return n_rows


def _parquet(table_rows: Iterable[Row], path: Path) -> int:
    remaining, chunks = iter(table_rows), []
    while chunk := list(islice(remaining, _ROWS_PER_CHUNK)):
        chunks.append(pl.DataFrame(chunk, schema=_SCHEMA))  # columns are a fraction of the rows' size
    whole = pl.concat(chunks) if chunks else pl.DataFrame(schema=_SCHEMA)
    whole.write_parquet(path)
    return len(whole)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    path = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield path
        path.replace(out)
    finally:
        path.unlink(missing_ok=True)
