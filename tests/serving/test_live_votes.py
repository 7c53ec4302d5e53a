"""What people act on reaches trending over HTTP, and a restart on the same state file reads it again."""

from typing import Any

from fastapi.testclient import TestClient

from recsys.services.live_votes import VoteCount
from serving.upkeep import count_votes
from tests.serving.conftest import Open


def _count(client: TestClient) -> None:
    """What upkeep does every minute."""
    deps: Any = client.app.state.deps
    count_votes(VoteCount(), deps.models, deps.clock)


def _first(client: TestClient) -> Any:
    return client.get("/v1/trending?size=1").json()["items"][0]["item_id"]


def test_a_restart_keeps_what_trends(open_service: Open) -> None:
    liked = "v1"  # of those that nobody in the training data liked
    with open_service() as client:
        before = _first(client)
        for n in range(200):
            event = {"event_id": "e", "user_id": f"p{n}", "kind": "like", "item_id": liked}
            assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
        assert _first(client) == before != liked
        _count(client)
        assert _first(client) == liked
    with open_service() as client:
        _count(client)
        assert _first(client) == liked
        for n in range(200):
            assert client.delete(f"/v1/users/p{n}").status_code == 200
        _count(client)
        assert _first(client) == before
