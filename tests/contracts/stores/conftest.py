"""Every store on which the contracts are tried, and short ways to make what they hold."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from recsys.clock import DAY
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import DecisionRecord, ExposureCount, ItemChange, StoredAnswer
from recsys.types import Event
from recsys.user.state import Delivery, Ledger, SafetyState, UserState
from serving.stores.open import Store
from serving.stores.postgres.store import PostgresStore
from serving.stores.redis.address import read_address
from serving.stores.redis.store import RedisStore
from serving.stores.sqlite.store import SqliteStore
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer, need_redis, redis_cluster, redis_server

NOW = 1_780_000_000_000
Opened = AbstractContextManager[Store]
_EMPTY = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
            AND relname <> 'meta' AND relnamespace IN ('sanad'::regnamespace, 'sanad_keys'::regnamespace)
        LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
        UPDATE sanad.meta SET revision = 0, newest_raise = 0, last_no = 0, events_since = 0, decisions_since = 0,
            deliveries_since = 0;
    END $$
"""  # ten times faster than to make the tables again


@pytest.fixture(scope="session")
def redis_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers[0]


@contextmanager
def in_memory(request: pytest.FixtureRequest) -> Iterator[Store]:
    yield MemoryStore()


@contextmanager
def in_file(request: pytest.FixtureRequest) -> Iterator[Store]:
    folder: Path = request.getfixturevalue("tmp_path")
    with closing(SqliteStore(folder / "state.db")) as store:
        yield store


def on_redis(server: str, request: pytest.FixtureRequest) -> Opened:
    started: RedisServer = request.getfixturevalue(server)
    folder: Path = request.getfixturevalue("tmp_path")
    return closing(RedisStore(read_address(started.address(folder, f"&name={uuid4().hex}"))))


@contextmanager
def on_postgres(request: pytest.FixtureRequest) -> Iterator[Store]:
    server: Postgres = request.getfixturevalue("postgres")
    with closing(PostgresStore(server.url(), "postgres")) as store:
        yield store
    server.sql(_EMPTY)


BACKENDS: dict[str, Callable[[pytest.FixtureRequest], Opened]] = {
    "memory": in_memory,
    "sqlite": in_file,
    "postgres": on_postgres,
    "redis": partial(on_redis, "redis_one"),
    "redis cluster": partial(on_redis, "redis_many"),
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each kind; its server, where it needs one, is started once and asked for by name."""
    with BACKENDS[request.param](request) as made:
        yield made


class Make:
    """Values that stores hold, at `NOW` unless told otherwise."""

    @staticmethod
    def state(n: int) -> UserState:
        return UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))

    @staticmethod
    def delivery(item_no: int, at: int = NOW) -> Delivery:
        return Delivery(at=at, item_no=item_no, creator_no=7, tier=2, family=1, topics=5)

    @staticmethod
    def page(user_id: str, request_id: str, *items: int, at: int = NOW, answer: bytes = b"page") -> DecisionRecord:
        return DecisionRecord(
            answer=StoredAnswer(
                request_id=request_id, user_id=user_id, at=at, body_hash="hash", answer=answer, decision=b"why"
            ),
            deliveries=tuple(Make.delivery(item, at) for item in items),
        )

    @staticmethod
    def event(event_id: str, user_id: str = "u", kind: str = "like") -> Event:
        return Event(event_id=event_id, user_id=user_id, kind=kind, at=NOW, item_id="v1", watch_s=1.5, position=3)

    @staticmethod
    def change(item_id: str, tier: str | None = "R0", *, edited: bool = True, **more: object) -> ItemChange:
        fields = {"item_id": item_id, "risk_tier": tier, "topics": ["S3"], **more}
        return ItemChange(fields=fields, is_edited=edited)

    @staticmethod
    def put(store: Store, *changes: ItemChange) -> int:
        return store.catalogue.put(changes, NOW)

    @staticmethod
    def count(creator_id: str, n: int = 1, **more: object) -> ExposureCount:
        usual = {"day": NOW // DAY, "country": "MA", "region": "MA-06", "attribution": "merit", "is_local": True}
        return ExposureCount(creator_id=creator_id, n=n, **(usual | more))

    @staticmethod
    def commit_counts(store: Store, *counts: ExposureCount, user_id: str = "u") -> bool:
        version = store.users.read(user_id).version
        answer = Make.page(user_id, f"r{version}").answer
        page = DecisionRecord(answer=answer, deliveries=(), exposure=counts)
        return store.users.write_if(user_id, UserState(), version, page)


@pytest.fixture
def make() -> type[Make]:
    return Make
