"""One page for each of many users, as rows of a file. Nothing is reserved."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final

import msgspec
import polars as pl
import typer

from recsys.clock import Millis
from recsys.errors import ConfigError
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse
from recsys.models.artifact import Artifact
from recsys.progress import Progress

_SCHEMA: Final = {
    "user_id": pl.String, "position": pl.Int64, "item_id": pl.String, "score": pl.Float64, "tier": pl.String,
    "propensity": pl.Float64,
}  # fmt: skip
Row = Mapping[str, object]
_ROWS_PER_CHUNK: Final = 100_000


def check_name(out: Path | None) -> None:
    """Raise ConfigError when the name of a file does not say its format."""
    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"found --out {out}, expected a name that ends in .jsonl or .parquet")


def known_ids(artifact: Artifact) -> list[str]:
    """Every id of the users table, then the ids that have a history only."""
    return list(dict.fromkeys([*artifact.users["user_id"].to_list(), *artifact.histories]))


def rows(engine: Engine, ids: Sequence[str], size: int, at: Millis, on_progress: Progress) -> Iterator[Row]:
    """One row per user and position. The user id gives the request id, so a second run gives the same rows."""
    for done, user_id in enumerate(ids):
        on_progress("recommend", done, len(ids))
        request = FeedRequest(user_id=user_id, size=size, request_id=f"recommend {user_id}", dry_run=True)
        page = msgspec.json.decode(feed(engine, request, at).answer, type=FeedResponse)
        for item in page.items:
            yield {
                "user_id": user_id, "position": item.position, "item_id": item.item_id, "score": item.score,
                "tier": item.tier, "propensity": item.propensity,
            }  # fmt: skip
    on_progress("recommend", len(ids), len(ids))


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
