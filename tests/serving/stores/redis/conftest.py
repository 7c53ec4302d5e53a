"""Servers, states on them, and short ways to make what they hold."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from recsys.stores.protocols import DecisionRecord, ExposureCount, StoredAnswer
from recsys.types import Event
from recsys.user.state import Delivery, Ledger, SafetyState, UserState
from serving.stores.redis.address import read_address
from serving.stores.redis.store import RedisStore
from tests.servers.redis import RedisServer, need_redis, redis_server

NOW = 1_780_000_000_000
Open = Callable[..., RedisStore]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    need_redis()
    with redis_server(tmp_path / "redis") as started:
        yield started


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    """Opens a state on a server: always the same one of a test. All are closed at its end."""
    opened: list[RedisStore] = []
    name = uuid4().hex

    def open_one(server: RedisServer, more: str = "") -> RedisStore:
        opened.append(RedisStore(read_address(server.address(tmp_path / "records", f"&name={name}{more}"))))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


class Make:
    """Values that stores hold."""

    @staticmethod
    def state(n: int) -> UserState:
        return UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))

    @staticmethod
    def page(user_id: str, request_id: str, *items: int, answer: bytes = b"page") -> DecisionRecord:
        delivered = (Delivery(at=NOW, item_no=n, creator_no=7, tier=2, family=1, topics=5) for n in items)
        count = ExposureCount(
            creator_id="c", day=20_000, country="MA", region="MA-06", attribution="merit", is_local=True, n=1
        )
        return DecisionRecord(
            answer=StoredAnswer(
                request_id=request_id, user_id=user_id, at=NOW, body_hash="hash", answer=answer, decision=b"why"
            ),
            deliveries=tuple(delivered),
            exposure=(count,),
        )

    @staticmethod
    def event(event_id: str, user_id: str = "u") -> Event:
        return Event(event_id=event_id, user_id=user_id, kind="like", at=NOW, item_id="v1", watch_s=1.5, position=3)


@pytest.fixture
def make() -> type[Make]:
    return Make
