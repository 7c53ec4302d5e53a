"""A small dataset folder in CSV, whose files a test replaces by its own bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

CREATORS = "creator_id,country\nc1,MA\n"
ITEMS = "item_id,creator_id,published_at,title,risk_tier\nv1,c1,2026-01-01T00:00:00Z,one,R0\n"
USERS = "user_id,country\nu1,MA\nu2,\n"
EVENTS = "event_id,user_id,kind,at,item_id\ne1,u1,view,2026-01-02T00:00:01Z,v1\ne2,u2,view,2026-01-02T00:00:02Z,v1\n"
Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """files(events={"events.tsv": b"..."}) -> the folder."""

    def write(**replaced: dict[str, bytes]) -> Path:
        folder = tmp_path / "data"
        for table, text in (("creators", CREATORS), ("items", ITEMS), ("users", USERS), ("events", EVENTS)):
            for name, content in replaced.get(table, {f"{table}.csv": text.encode()}).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return folder

    return write
