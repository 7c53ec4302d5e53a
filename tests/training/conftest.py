"""A dataset of two creators, three items, two people and five events, which a test writes with its own changes."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys.types import Fields

Rows = list[Fields]
Write = Callable[..., Path]


def _item(item_id: str, creator_id: str, published_at: str, risk_tier: str | None) -> Fields:
    return {
        "item_id": item_id,
        "creator_id": creator_id,
        "published_at": published_at,
        "title": f"video {item_id}",
        "risk_tier": risk_tier,
    }


def _event(number: int, user_id: str, kind: str, **rest: object) -> Fields:
    """Event n happens at second n of 2 January 2026."""
    return {
        "event_id": f"e{number}",
        "user_id": user_id,
        "kind": kind,
        "at": f"2026-01-02T00:00:0{number}Z",
        "watch_s": None,
        "watch_fraction": None,
        "item_id": None,
        "creator_id": None,
        **rest,
    }


TABLES: dict[str, Rows] = {
    "creators": [
        {"creator_id": "c1", "country": "MA", "languages": ["ary", "fr"], "verified": True, "followers": 10},
        {"creator_id": "c2", "country": "FR", "languages": None, "verified": None, "followers": None},
    ],
    "items": [
        _item("v1", "c1", "2026-01-01T00:00:00Z", "R0"),
        _item("v2", "c1", "2026-01-01T01:00:00+01:00", "R2"),
        _item("v3", "c2", "2026-01-01T00:00:00.5Z", None),
    ],
    "users": [{"user_id": "u1", "country": "MA"}, {"user_id": "u2", "country": None}],
    "events": [
        _event(1, "u1", "impression", item_id="v1"),
        _event(2, "u1", "view", item_id="v1", watch_fraction=0.5, watch_s=10.0),
        _event(3, "u1", "like", item_id="v2"),
        _event(4, "u2", "too_much", item_id="v2"),
        _event(5, "u2", "follow", creator_id="c1"),
    ],
}


def _save(path: Path, rows: Rows) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    columns = {name: [row.get(name) for row in rows] for name in names}
    frame = pl.DataFrame(columns, strict=False)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
        return
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    frame.with_columns(pl.col(name).list.join("|") for name in lists).write_csv(path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("csv", users=[...]) -> the folder of a dataset whose other tables are the small ones."""

    def do(form: str = "parquet", **changed: Rows) -> Path:
        for name, rows in {**TABLES, **changed}.items():
            _save(tmp_path / f"{name}.{form}", rows)
        return tmp_path

    return do


@pytest.fixture
def rows() -> Callable[[str], Rows]:
    """A fresh copy of the rows of one small table, to be changed and written."""
    return lambda table: [dict(row) for row in TABLES[table]]
