"""Every accepted event is sent onwards at least once, in order, by one service at a time."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from recsys.clock import DAY, MINUTE
from recsys.errors import StoreError
from recsys.stores.protocols import Logged
from recsys.types import Event
from serving.metrics import Metrics
from serving.onward.pump import BATCH, LEASE_MS, Pump, pumping
from serving.stores.sqlite.store import SqliteStore
from tests.servers.redis import PASSWORD, need_redis, redis_server
from tests.serving.conftest import NOON, StillClock
from tests.serving.process import ask, free_port, life


class Receiver:
    """A sink that notes what it gets, and fails when it is told to: after it took a part, as a broker may."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.fails_after: int | None = None

    def send(self, events: Sequence[Logged]) -> None:
        taken = events if self.fails_after is None else events[: self.fails_after]
        self.got += [entry.event.event_id for entry in taken]
        if self.fails_after is not None:
            raise StoreError("gone")

    def close(self) -> None: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "state.db")
    yield opened
    opened.close()


def pump_of(store: SqliteStore, receiver: Receiver, clock: StillClock, metrics: Metrics | None = None) -> Pump:
    return Pump(
        events=store.events, controllers=store.controllers, sink=receiver, clock=clock, metrics=metrics or Metrics()
    )


def put(store: SqliteStore, *numbers: int) -> list[str]:
    events = [Event(event_id=f"e{n}", user_id=f"u{n % 7}", kind="like", at=NOON, item_id="v1") for n in numbers]
    store.events.append(events, NOON)
    return [event.event_id for event in events]


def test_everything_is_sent_once_where_nothing_fails(store: SqliteStore) -> None:
    receiver, ids = Receiver(), put(store, *range(2 * BATCH + 5))
    pump = pump_of(store, receiver, StillClock())
    assert [pump.turn() for _ in range(4)] == [BATCH, BATCH, 5, 0]
    ids += put(store, 9_000)
    assert pump.turn() == 1
    assert receiver.got == ids


def test_a_batch_that_failed_is_sent_again_whole(store: SqliteStore) -> None:
    receiver, ids, metrics, clock = Receiver(), put(store, *range(10)), Metrics(), StillClock()
    pump, age = pump_of(store, receiver, clock, metrics), "sanad_events_onward_age_seconds"
    receiver.fails_after = 4
    clock.at = NOON + MINUTE
    with pytest.raises(StoreError):
        pump.turn()
    assert metrics.registry.get_sample_value(age) == 60
    receiver.fails_after = None
    assert pump.turn() == 10
    assert receiver.got == ids[:4] + ids
    assert metrics.registry.get_sample_value(age) == 0
    assert metrics.registry.get_sample_value("sanad_events_onward_total") == 10


def test_another_service_goes_on_when_the_first_is_gone_and_not_before(store: SqliteStore) -> None:
    clock, first, second = StillClock(), Receiver(), Receiver()
    put(store, 0)
    ahead, behind = pump_of(store, first, clock), pump_of(store, second, clock)
    assert (ahead.turn(), behind.turn()) == (1, 0)
    ids = put(store, 1, 2)
    assert behind.turn() == 0, "the first one holds the place"
    clock.at += LEASE_MS
    assert behind.turn() == 2
    assert second.got == ids
    put(store, 3)
    assert (ahead.turn(), behind.turn()) == (0, 1)


def test_a_service_that_stops_lets_another_go_on_at_once(store: SqliteStore) -> None:
    receiver, clock = Receiver(), StillClock()
    ids, pump = put(store, 0), pump_of(store, receiver, clock)
    assert pump.turn() == 1
    pump.release()
    put(store, 1)
    assert pump_of(store, receiver, clock).turn() == 1
    assert receiver.got == [*ids, "e1"]


def test_a_service_that_cannot_send_lets_another_one_try(store: SqliteStore) -> None:
    """And its own metric says that nothing waits with it."""
    metrics, cut_off, well = Metrics(), Receiver(), Receiver()
    cut_off.fails_after = 0
    ids = put(store, 0)
    first = pump_of(store, cut_off, StillClock(), metrics)
    with pumping(first), pumping(pump_of(store, well, StillClock())):
        until = time.monotonic() + 30
        while well.got != ids and time.monotonic() < until:
            time.sleep(0.05)
    assert well.got == ids and cut_off.got == []


def test_nobody_waits_for_a_lease_of_a_clock_that_ran_far_ahead(store: SqliteStore) -> None:
    ahead, right = StillClock(), StillClock()
    ahead.at = NOON + 365 * DAY
    put(store, 0)
    assert pump_of(store, Receiver(), ahead).turn() == 1
    put(store, 1)
    assert pump_of(store, Receiver(), right).turn() == 1


def test_an_idle_holder_writes_seldom(store: SqliteStore) -> None:
    clock = StillClock()
    pump = pump_of(store, Receiver(), clock)
    pump.turn()
    written = store.controllers.read("events onwards")
    pump.turn()
    assert store.controllers.read("events onwards") == written
    clock.at += LEASE_MS // 2
    pump.turn()
    assert store.controllers.read("events onwards") != written, "and keeps its place"


def test_what_fails_beside_requests_ends_nothing(store: SqliteStore) -> None:
    class Broken(Receiver):
        def send(self, events: Sequence[Logged]) -> None:
            super().send(events)
            if len(self.got) == 1:
                raise RuntimeError

    receiver = Broken()
    put(store, 0)
    with pumping(pump_of(store, receiver, StillClock())):
        until = time.monotonic() + 20
        while len(receiver.got) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    assert receiver.got == ["e0", "e0"]


@pytest.mark.slow
def test_killed_services_lose_no_event_on_the_way(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_redis()
    accepted: set[str] = set()
    with redis_server(tmp_path / "redis") as server:
        monkeypatch.setenv("SANAD_EVENTS_ONWARD", f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0/events")
        for n in range(3):
            port = free_port()
            with life(tiny_folder, tmp_path / "state.db", port):
                for k in range(20):
                    event = {"event_id": f"e{n}-{k}", "user_id": "u", "kind": "follow", "creator_id": f"c{k}"}
                    if ask(port, "POST", "/v1/events", {"events": [event]})[0] == 200:
                        accepted.add(event["event_id"])
                until = time.monotonic() + 60
                while n == 2 and accepted - sent_to(server.client) and time.monotonic() < until:
                    time.sleep(0.2)
        assert len(accepted) > 50
        assert accepted <= sent_to(server.client)


def sent_to(client: object) -> set[str]:
    with client:
        return {json.loads(fields[b"event"])["event_id"] for _, fields in client.xrange("events")}
