"""`sanad recommend` gives the pages that a feed would, whichever process makes them."""

from collections.abc import Iterator

import msgspec
import pytest

from recsys.clock import from_text
from recsys.feed.engine import Engine, feed
from recsys.messages import FeedRequest, FeedResponse
from recsys.models.artifact import Artifact
from recsys.progress import quiet
from serving.commands import batch
from serving.commands.engines import in_memory
from serving.settings import Settings

AT = from_text("2026-11-20T18:30:00Z")


@pytest.fixture
def engine(tiny: Artifact, tiny_folder: object) -> Iterator[Engine]:
    with in_memory(tiny, Settings(artifact=tiny_folder), AT) as opened:
        yield opened


def test_rows_are_those_of_the_feed(engine: Engine, tiny: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [*batch.known_ids(tiny)[:40], "a stranger"]
    monkeypatch.setattr(batch, "_PEOPLE_PER_CHUNK", 3)
    found = list(batch.rows(engine, ids, 10, AT, quiet))
    expected = []
    for user_id in ids:
        request = FeedRequest(user_id=user_id, size=10, request_id=f"recommend {user_id}", dry_run=True)
        page = msgspec.json.decode(feed(engine, request, AT).answer, type=FeedResponse)
        expected += [
            {"user_id": user_id, "position": item.position, "item_id": item.item_id, "score": item.score,
             "tier": item.tier, "propensity": item.propensity}
            for item in page.items
        ]  # fmt: skip
    assert found == expected and len(found) > 300
