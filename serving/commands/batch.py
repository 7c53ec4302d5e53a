"""Pages for many people at once, as rows of a file. Reserves nothing."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import polars as pl
import typer

from recsys.clock import Millis
from recsys.errors import ConfigError, DataError
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse
from recsys.models.artifact import Artifact
from recsys.progress import Progress

_SCHEMA: Final = {
    "user_id": pl.String, "position": pl.Int64, "item_id": pl.String, "score": pl.Float64, "tier": pl.String,
    "propensity": pl.Float64,
}  # fmt: skip
_PART: Final = 100_000  # rows of a Parquet row group


def check_name(out: Path | None) -> None:
    """Raises ConfigError when a file's name does not say its format."""
    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"found --out {out}, expected a name that ends in .jsonl or .parquet")


def read_ids(path: Path) -> list[str]:
    """Ids, one per line, each once. Raises DataError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"found {path}, which cannot be read ({error}); expected an id per line in UTF-8") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def known_ids(artifact: Artifact) -> list[str]:
    """Everybody in the users table, then whoever only has a history."""
    return list(dict.fromkeys([*artifact.users["user_id"].to_list(), *artifact.histories]))


def rows(engine: Engine, ids: Sequence[str], size: int, at: Millis, on_progress: Progress) -> Iterator[dict[str, Any]]:
    """One row per person and position. The request's id is made from the person's, so the same run gives the same."""
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


def write(found: Iterable[dict[str, Any]], out: Path | None) -> int:
    """Writes the rows, whole or not at all; how many."""
    if out is None:
        return _lines(found, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _beside(out) as path:
        if out.suffix == ".parquet":
            return _parquet(found, path)
        with path.open("w", encoding="utf-8") as file:
            return _lines(found, file)


def _lines(found: Iterable[dict[str, Any]], file: IO[str] | None) -> int:
    n_rows = 0
    for row in found:
        typer.echo(msgspec.json.encode(row).decode(), file=file)
        n_rows += 1
    return n_rows


def _parquet(found: Iterable[dict[str, Any]], path: Path) -> int:
    left, parts = iter(found), []
    while part := list(islice(left, _PART)):
        parts.append(pl.DataFrame(part, schema=_SCHEMA))  # columns are a fraction of the rows' size
    whole = pl.concat(parts) if parts else pl.DataFrame(schema=_SCHEMA)
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
