"""A server clock that is suddenly set forward frees no window: safe feed until an operator says that it is right."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY, HOUR, MINUTE, SECOND, Millis, from_text, now
from recsys.errors import StoreError
from recsys.stores.memory import MemoryStore
from serving.app import create_app
from serving.clock_guard import GuardedClock, since_boot
from serving.run import open_engine
from serving.settings import Settings

NOON = from_text("2026-11-20T12:00:00Z")
AT = "2026-11-20T11:00:00Z"


@dataclass
class Clocks:
    """The wall clock, which can be set, and the one that only counts on."""

    wall: Millis = NOON
    elapsed: Millis = 5_000

    def wait(self, ms: Millis) -> None:
        self.wall += ms
        self.elapsed += ms


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def start(settings: Settings, local: Callable[..., TestClient], clocks: Clocks) -> Callable[..., Any]:
    @contextmanager
    def do(**changed: Any) -> Iterator[TestClient]:
        chosen = replace(settings, **changed)

        def wall() -> Millis:
            return clocks.wall

        with open_engine(chosen, clock=wall) as engine:
            app = create_app(engine, settings=chosen, clock=wall, elapsed=lambda: clocks.elapsed)
            with local(app) as client:
                yield client

    return do


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/feed", json={"user_id": "u0", "size": 5, **body})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def delivered(client: TestClient) -> int:
    found: int = client.get("/v1/users/u0/exposure").json()["deliveries"]
    return found


def test_attack_06_a_jump_of_the_servers_clock_means_the_safe_feed(
    start: Any, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    with start() as client:
        assert ask(client)["degraded"] == []
        clocks.wait(MINUTE)
        clocks.wall += HOUR + SECOND
        page = ask(client)
        assert page["degraded"] == ["ledger"] and page["items"] and page["request_id"]
        assert {item["tier"] for item in page["items"]} == {"R0"}
        assert page["served_at"] == "2026-11-20T12:01:00.000Z"  # the time without the jump
        assert client.get("/v1/feed/u0").json()["degraded"] == ["ledger"]
        assert delivered(client) == 5
        assert "3601 s ahead" in client.get("/health/ready").json()["clock"]
        assert len([r for r in caplog.records if "the clock jumped" in r.message and r.levelno == logging.ERROR]) == 1


def test_an_operator_confirms_and_pages_are_made_again(start: Any, clocks: Clocks) -> None:
    with start() as client:
        ask(client)
        clocks.wall += 26 * HOUR
        assert ask(client)["degraded"] == ["ledger"]
        confirmed = client.post("/v1/operator/confirm-clock").json()
        assert confirmed["was_ahead_s"] == 26 * 3_600 and confirmed["at"] == "2026-11-21T14:00:00.000Z"
        assert ask(client)["degraded"] == []
        assert client.post("/v1/operator/confirm-clock").json()["was_ahead_s"] == 0
        assert client.get("/health/ready").json()["clock"] == "steady"


def test_only_who_has_the_service_key_confirms(start: Any, clocks: Clocks) -> None:
    with start(keys=(hashlib.sha256(b"key").hexdigest(),)) as client:
        clocks.wall += 2 * HOUR
        assert client.post("/v1/operator/confirm-clock").status_code == 401
        assert client.post("/v1/feed", json={"user_id": "u0"}, headers={"X-API-Key": "key"}).json()["degraded"]
        assert client.post("/v1/operator/confirm-clock", headers={"X-API-Key": "key"}).status_code == 200


def test_a_clock_that_is_put_right_needs_no_confirmation(start: Any, clocks: Clocks) -> None:
    with start() as client:
        clocks.wall += 2 * DAY
        assert ask(client)["degraded"] == ["ledger"]
        clocks.wall -= 2 * DAY
        assert ask(client)["degraded"] == []


def test_meanwhile_events_wait_and_takedowns_and_settings_hold(start: Any, clocks: Clocks) -> None:
    with start() as client:
        gone = ask(client)["items"][0]["item_id"]
        clocks.wall += 30 * DAY
        event = {"event_id": "e1", "user_id": "u0", "kind": "like", "item_id": "v1", "at": AT}
        waiting = client.post("/v1/events", json={"events": [event]})
        assert waiting.status_code == 503 and waiting.headers["retry-after"]
        assert client.delete(f"/v1/items/{gone}").status_code == 200
        safe = ask(client, size=5)["items"][0]["item_id"]
        assert client.delete(f"/v1/items/{safe}").status_code == 200
        assert safe not in [item["item_id"] for item in ask(client, size=5)["items"]]  # it binds the safe feed too
        assert client.put("/v1/users/u0/controls", json={"calm_mode": True}).status_code == 200
        loop = client.get("/v1/users/u0/exposure").json()["loop"]
        assert loop["reasons"] == [{"signal": "h", "at": "2026-11-20T12:00:00.000Z"}]
        assert ask(client)["degraded"] == ["ledger"]  # what was written meanwhile confirms nothing
        clocks.wall -= 30 * DAY
        assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
        assert ask(client)["safety"]["loop_level"] == 1


def test_a_restart_after_a_long_time_is_no_jump(start: Any, clocks: Clocks) -> None:
    with start() as client:
        ask(client)
    clocks.wall += 9 * DAY
    clocks.elapsed = 0  # the machine started again as well
    with start() as client:
        assert ask(client)["degraded"] == []


def test_a_restart_confirms(start: Any, clocks: Clocks) -> None:
    with start() as client:
        ask(client)
        clocks.wall += 2 * HOUR
        assert ask(client)["degraded"] == ["ledger"]
    with start() as client:
        assert ask(client)["degraded"] == []


@pytest.mark.parametrize(("ahead", "is_believed"), [(HOUR, True), (HOUR + 1, False), (-2 * DAY, True), (SECOND, True)])
def test_more_than_an_hour_ahead_is_a_jump(ahead: Millis, is_believed: bool, clocks: Clocks) -> None:
    clock = GuardedClock(lambda: clocks.wall, lambda: NOON, lambda: clocks.elapsed)
    clocks.wall += ahead
    found = clock.read()
    assert (found.ahead_ms == 0) is is_believed
    assert found.at == (NOON + ahead if is_believed else NOON) == clock()


def test_neither_a_quiet_month_nor_a_slow_drift_is_a_jump(clocks: Clocks) -> None:
    clock = GuardedClock(lambda: clocks.wall, lambda: NOON, lambda: clocks.elapsed)
    clocks.wait(30 * DAY)
    assert clock.read().ahead_ms == 0
    for _ in range(24 * 365):  # a second an hour, for a year: 2.4 hours in all
        clocks.wait(HOUR)
        clocks.wall += SECOND
        assert clock.read().ahead_ms == 0


def test_another_process_that_works_by_this_time_confirms(clocks: Clocks) -> None:
    store = MemoryStore()
    clock = GuardedClock(lambda: clocks.wall, store.committed_at, lambda: clocks.elapsed)
    clocks.wall += DAY
    assert clock.read().ahead_ms == DAY
    store.users.erase("somebody", clocks.wall - MINUTE, None)  # written by a service that was started since
    assert clock.read().ahead_ms == 0
    clocks.wall += DAY
    assert clock.read().ahead_ms == DAY


def test_without_a_store_a_jump_is_a_jump(clocks: Clocks) -> None:
    def unreachable() -> Millis:
        raise StoreError("no disk")

    clock = GuardedClock(lambda: clocks.wall, unreachable, lambda: clocks.elapsed)
    clocks.wall += DAY
    assert clock.read().ahead_ms == DAY


def test_a_jump_lets_nothing_expire_early(clocks: Clocks) -> None:
    store = MemoryStore()
    store.users.erase("somebody", NOON, None)
    clock = GuardedClock(lambda: clocks.wall, store.committed_at, lambda: clocks.elapsed)
    clocks.wall += 400 * DAY
    assert not any(store.prune(clock()).values()) and store.cutoffs.forgotten().before


def test_the_real_clocks_agree() -> None:
    clock = GuardedClock(now, lambda: 0)
    assert clock.read().ahead_ms == 0 and abs(clock() - now()) < SECOND
    assert since_boot() <= since_boot()


def test_a_clock_that_is_passed_in_is_its_own_measure(clocks: Clocks) -> None:
    clock = GuardedClock(lambda: clocks.wall, lambda: 0)
    clocks.wall += 30 * DAY
    assert clock.read().ahead_ms == 0
