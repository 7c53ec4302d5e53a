"""A server clock that is suddenly set forward or back frees no window until an operator says that it is right."""

import hashlib
import logging
from typing import Any

import hypothesis
import pytest
from fastapi.testclient import TestClient
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from recsys.clock import DAY, HOUR, MINUTE, SECOND, Millis, from_text, now
from recsys.errors import StoreError
from recsys.stores.memory import MemoryStore
from serving.clock_guard import ClockReading, GuardedClock, since_boot

from .conftest import Clocks, Open

NOON = from_text("2026-11-20T12:00:00Z")
AT = "2026-11-20T11:00:00Z"


def guard(clocks: Clocks, store: MemoryStore) -> GuardedClock:
    return GuardedClock(lambda: clocks.wall, lambda: store.users, lambda: clocks.elapsed)


def committed(at: Millis) -> MemoryStore:
    store = MemoryStore()
    store.users.commit_time(at)
    return store


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/feed", json={"user_id": "u0", "size": 5, **body})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def delivered(client: TestClient) -> int:
    found: int = client.get("/v1/users/u0/exposure").json()["deliveries"]
    return found


def test_attack_06_a_jump_of_the_servers_clock_means_the_safe_feed(
    start: Open, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    with start() as client:
        assert ask(client)["degraded"] == []
        clocks.wait(MINUTE)
        clocks.wall += HOUR + SECOND
        page = ask(client)
        assert page["degraded"] == ["ledger"] and page["items"] and page["request_id"]
        assert {item["tier"] for item in page["items"]} == {"R0"}
        assert page["served_at"] == "2026-11-20T12:00:00.000Z"  # the last committed time
        assert client.get("/v1/feed/u0").json()["degraded"] == ["ledger"]
        assert delivered(client) == 5
        assert "3661 s ahead" in client.get("/health/ready").json()["clock"]
        assert (
            len([r for r in caplog.records if "the clock is not believed" in r.message and r.levelno == logging.ERROR])
            == 1
        )


def test_an_operator_confirms_and_pages_are_made_again(start: Open, clocks: Clocks) -> None:
    with start() as client:
        ask(client)
        clocks.wall += 26 * HOUR
        assert ask(client)["degraded"] == ["ledger"]
        confirmed = client.post("/v1/operator/confirm-clock").json()
        assert confirmed["was_ahead_s"] == 26 * 3_600 and confirmed["at"] == "2026-11-21T14:00:00.000Z"
        assert ask(client)["degraded"] == []
        assert client.post("/v1/operator/confirm-clock").json()["was_ahead_s"] == 0
        assert client.get("/health/ready").json()["clock"] == "steady"


def test_only_who_has_the_service_key_confirms(start: Open, clocks: Clocks) -> None:
    with start(keys=(hashlib.sha256(b"key").hexdigest(),)) as client:
        clocks.wall += 2 * HOUR
        assert client.post("/v1/operator/confirm-clock").status_code == 401
        assert client.post("/v1/feed", json={"user_id": "u0"}, headers={"X-API-Key": "key"}).json()["degraded"]
        assert client.post("/v1/operator/confirm-clock", headers={"X-API-Key": "key"}).status_code == 200


def test_a_clock_that_is_put_right_needs_no_confirmation(start: Open, clocks: Clocks) -> None:
    with start() as client:
        clocks.wall += 2 * DAY
        assert ask(client)["degraded"] == ["ledger"]
        clocks.wall -= 2 * DAY
        assert ask(client)["degraded"] == []


def test_meanwhile_events_wait_and_takedowns_and_settings_hold(start: Open, clocks: Clocks) -> None:
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
        (reason,) = loop["reasons"]
        assert (reason["signal"], reason["at"]) == ("calm_mode", "2026-11-20T12:00:00.000Z")
        assert ask(client)["degraded"] == ["ledger"]  # what was written meanwhile confirms nothing
        clocks.wall -= 30 * DAY
        assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
        assert ask(client)["safety"]["loop_level"] == 1


@pytest.mark.parametrize(
    ("ahead", "stands_at"),
    [
        (HOUR, HOUR), (HOUR + 1, None), (SECOND, SECOND), (-10 * SECOND, 0), (-10 * SECOND - 1, None), (-2 * DAY, None),
    ],
)  # fmt: skip
def test_more_than_an_hour_ahead_or_ten_seconds_behind_is_not_believed(
    ahead: Millis, stands_at: Millis | None, clocks: Clocks
) -> None:
    clock = guard(clocks, MemoryStore())
    clock.beat()
    clocks.wall += ahead
    reading = clock.read()
    assert reading.is_believed is (stands_at is not None)
    assert reading.ahead_ms == (0 if stands_at is not None else ahead)
    assert reading.at == NOON + (stands_at or 0) == clock()


def test_how_far_behind_is_a_setting(clocks: Clocks) -> None:
    store = committed(NOON)
    clock = GuardedClock(lambda: clocks.wall, lambda: store.users, max_behind_ms=2 * SECOND)
    clocks.wall -= 2 * SECOND
    assert clock.read().is_believed
    clocks.wall -= 1
    assert clock.read().ahead_ms == -2 * SECOND - 1


def test_neither_a_quiet_month_nor_a_slow_drift_is_a_jump(clocks: Clocks) -> None:
    clock = guard(clocks, committed(NOON))
    assert clock.read().is_believed
    clocks.wait(30 * DAY)
    assert clock.read().is_believed
    for _ in range(24 * 365):  # a second an hour, for a year: 2.4 hours in all
        clocks.wait(HOUR)
        clocks.wall += SECOND
        assert clock.read().is_believed


def test_many_steps_of_less_than_an_hour_are_a_jump(clocks: Clocks) -> None:
    store = MemoryStore()
    clock = guard(clocks, store)
    for _ in range(10):
        clock.beat()  # what it commits itself confirms nothing
        clocks.wall += 59 * MINUTE
    assert not clock.read().is_believed and store.committed_at() <= NOON + HOUR


def test_another_process_that_works_by_this_time_confirms(clocks: Clocks) -> None:
    store = MemoryStore()
    first, second = guard(clocks, store), guard(clocks, store)
    first.beat()
    second.beat()
    clocks.wall += DAY
    assert first.read().ahead_ms == second.read().ahead_ms == DAY
    second.confirm("local")
    assert first.read().is_believed
    clocks.wall += DAY
    assert first.read().ahead_ms == DAY


def test_without_a_store_a_jump_is_a_jump(clocks: Clocks) -> None:
    def unreachable() -> Any:
        raise StoreError("no disk")

    clock = GuardedClock(lambda: clocks.wall, unreachable, lambda: clocks.elapsed)
    assert clock.read().is_believed
    clocks.wait(MINUTE)
    clocks.wall += DAY
    assert clock.read() == ClockReading(NOON + MINUTE, DAY)
    with pytest.raises(StoreError):
        clock.confirm("local")
    assert not clock.read().is_believed


def test_nothing_is_committed_while_the_clock_is_not_believed(clocks: Clocks) -> None:
    store = committed(NOON)
    clock = guard(clocks, store)
    for wrong in (9 * DAY, -9 * DAY):
        clocks.wall = NOON + wrong
        clock.beat()
        assert store.committed_at() == NOON
    clocks.wall = NOON + MINUTE
    clock.beat()
    assert store.committed_at() == NOON + MINUTE


def test_a_page_that_was_being_made_does_not_undo_that_the_time_was_set_back(clocks: Clocks) -> None:
    store = committed(NOON + 9 * DAY)
    clock = guard(clocks, store)
    being_made = clock.read().at
    assert being_made == NOON + 9 * DAY
    clock.confirm("local")
    assert store.committed_at() == NOON
    store.users.erase("somebody", being_made, None)
    clocks.wait(SECOND)
    assert clock.read() == ClockReading(NOON + SECOND, 0) and store.committed_at() == NOON + SECOND


class TwoClocks(RuleBasedStateMachine):
    """Whatever a wall clock does, two processes together free hardly more than the machine ran."""

    def __init__(self) -> None:
        super().__init__()
        self.clocks, self.store = Clocks(), MemoryStore()
        self.guards = [guard(self.clocks, self.store) for _ in range(2)]
        for clock in self.guards:
            clock.beat()
        self.ran: Millis = 0

    @rule(ms=st.integers(0, 2 * DAY))
    def wait(self, ms: Millis) -> None:
        self.clocks.wait(ms)
        self.ran += ms

    @rule(ms=st.sampled_from([-DAY, -HOUR, -11 * SECOND, -9 * SECOND, 59 * MINUTE, HOUR, 2 * HOUR, 9 * DAY]))
    def set_wall(self, ms: Millis) -> None:
        self.clocks.wall += ms

    @rule(which=st.integers(0, 1))
    def beat(self, which: int) -> None:
        self.guards[which].beat()

    @rule(which=st.integers(0, 1))
    def write(self, which: int) -> None:
        self.store.users.erase("somebody", self.guards[which](), None)

    @invariant()
    def is_bounded(self) -> None:
        latest = NOON + self.ran + 3 * HOUR  # an hour for each, and what both may drift
        before = self.store.committed_at()
        for clock in self.guards:
            reading = clock.read()
            assert before <= reading.at <= latest
            assert reading.is_believed or reading.at == before


def test_no_steps_of_the_wall_clock_free_more_than_the_machine_ran() -> None:
    run_state_machine_as_test(TwoClocks, settings=hypothesis.settings(max_examples=60, deadline=None))


def test_the_real_clocks_agree() -> None:
    store = MemoryStore()
    clock = GuardedClock(now, lambda: store.users)
    assert clock.read().is_believed and abs(clock() - now()) < SECOND
    assert since_boot() <= since_boot()


def test_a_clock_that_is_passed_in_is_its_own_measure(clocks: Clocks) -> None:
    store = MemoryStore()
    clock = GuardedClock(lambda: clocks.wall, lambda: store.users)
    clock.beat()
    clocks.wall += 30 * DAY
    assert clock.read().is_believed
