"""A service that starts by a wrong clock frees no window, deletes nothing and refuses nothing for good."""

import logging
import sqlite3
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY, HOUR, MINUTE, SECOND, from_text, to_text
from recsys.user.state import Delivery
from serving.settings import Settings
from serving.stores.sqlite.store import SqliteStore

from .conftest import Clocks, Open

NOON = from_text("2026-11-20T12:00:00Z")
RISKY = [f"v{n}" for n in range(9, 120, 10)]
CALM = [f"v{n}" for n in range(120) if n % 10 != 9]


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/feed", json={"user_id": "u0", "size": 10, **body})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def too_much(clocks: Clocks, event_id: str = "e1", at: int | None = None) -> dict[str, Any]:
    when = to_text(clocks.wall if at is None else at)
    return {"events": [{"event_id": event_id, "user_id": "u0", "kind": "too_much", "item_id": "v9", "at": when}]}


def deliveries(settings: Settings) -> tuple[Delivery, ...]:
    store = SqliteStore(settings.state_file)
    delivered = store.users.deliveries("u0", 0)
    store.close()
    return delivered


def n_risky(settings: Settings) -> int:
    return sum(delivery.tier == 2 for delivery in deliveries(settings))


def committed_at(settings: Settings) -> int:
    with sqlite3.connect(settings.state_file) as connection:
        at: int = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
    connection.close()
    return at


def ask_for_risk(client: TestClient, n: int) -> dict[str, Any]:
    """The n-th page of 20, offered three R2 videos of two families that were on no other page."""
    return ask(client, size=20, candidate_ids=RISKY[3 * n : 3 * n + 3] + CALM[25 * n : 25 * n + 25])


def n_risky_of(page: dict[str, Any]) -> int:
    return sum(item["tier"] == "R2" for item in page["items"])


@pytest.fixture
def full(start: Open, clocks: Clocks, settings: Settings) -> None:
    """An adult whose session holds as much R2 as it may, left by a service that stopped."""
    with start() as client:
        for item_id in RISKY[::2]:
            assert client.patch(f"/v1/items/{item_id}", json={"risk_family": "body"}).status_code == 200
        assert sum(n_risky_of(ask_for_risk(client, n)) for n in range(3)) == 3
        assert n_risky_of(ask_for_risk(client, 3)) == 0
        like = {"event_id": "e0", "user_id": "u0", "kind": "like", "item_id": "v1", "at": to_text(NOON)}
        assert client.post("/v1/events", json={"events": [like]}).json()["accepted"] == 1
        clocks.wait(SECOND)


@pytest.mark.usefixtures("full")
def test_attack_06_three_seconds_of_a_service_started_nine_days_ahead_free_nothing_and_delete_nothing(
    start: Open, clocks: Clocks, settings: Settings
) -> None:
    before, at = deliveries(settings), committed_at(settings)
    clocks.wall += 9 * DAY
    with start() as client:
        for _ in range(3):
            clocks.wait(SECOND)
            assert ask_for_risk(client, 3)["degraded"] == ["ledger"]
        assert client.patch("/v1/items/v1", json={"risk_tier": "R2", "risk_family": "despair"}).status_code == 200
        assert client.put("/v1/users/u0/controls", json={"calm_mode": False}).status_code == 200
    assert (deliveries(settings), committed_at(settings)) == (before, at)
    clocks.wall -= 9 * DAY
    with start() as client:
        clocks.wait(MINUTE)
        page = ask_for_risk(client, 3)
        assert page["degraded"] == [] and len(page["items"]) > 0
    assert n_risky(settings) == 3  # one session


def test_what_was_raised_after_delivery_counts_after_a_start_by_a_wrong_clock(start: Open, clocks: Clocks) -> None:
    with start() as client:
        shown = [item["item_id"] for item in ask(client, candidate_ids=CALM)["items"]]
    clocks.wall += 9 * DAY
    with start() as client:
        ask(client)
        for item_id in shown[:6]:
            assert client.patch(f"/v1/items/{item_id}", json={"risk_tier": "R2"}).status_code == 200
    clocks.wall -= 9 * DAY
    with start() as client:
        clocks.wait(MINUTE)
        assert not any(item["tier"] == "R2" for item in ask(client, size=20)["items"])
        counted = client.get("/v1/users/u0/exposure").json()["counters"]["R2"]
        assert counted["rolling_24h"]["used"] == 6


@pytest.mark.usefixtures("full")
def test_a_month_ahead_deletes_nothing_that_was_acknowledged(start: Open, clocks: Clocks, settings: Settings) -> None:
    clocks.wall += 31 * DAY
    with start() as client:
        ask(client)
        assert "ahead" in client.get("/health/ready").json()["clock"]
    store = SqliteStore(settings.state_file)
    assert len(store.events.since("u0", 0)) == 1 and len(store.decisions.of_user("u0")) == 4
    assert len(store.users.deliveries("u0", 0)) > 0
    store.close()


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("ahead", [HOUR + 1, 25 * HOUR, 400 * DAY])
def test_a_start_ahead_means_the_safe_feed_and_events_wait(
    start: Open, clocks: Clocks, settings: Settings, ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    at = committed_at(settings)
    clocks.wall += ahead
    with start() as client:
        page = ask(client)
        assert page["degraded"] == ["ledger"] and page["served_at"] == to_text(at)
        waiting = client.post("/v1/events", json=too_much(clocks))
        assert waiting.status_code == 503 and int(waiting.headers["retry-after"]) >= 1
        assert client.get("/v1/families/u1/together?child_id=u0").status_code == 503
    assert [r.levelname for r in caplog.records if "not believed" in r.message] == ["ERROR"]
    assert committed_at(settings) == at


@pytest.mark.usefixtures("full")
def test_nothing_up_to_either_time_is_learned_of_who_is_erased_or_reset_meanwhile(
    start: Open, clocks: Clocks, settings: Settings
) -> None:
    clocks.wall += 3 * DAY  # it may be right: then the platform logged three more days
    with start() as client:
        assert client.delete("/v1/users/u0").status_code == 200
        assert client.post("/v1/users/u1/reset").status_code == 200
    store = SqliteStore(settings.state_file)
    assert set(store.cutoffs.forgotten().before.values()) == {clocks.wall}
    store.close()
    assert committed_at(settings) == NOON + SECOND


def test_an_hour_of_downtime_is_no_jump(start: Open, clocks: Clocks) -> None:
    with start() as client:
        ask(client)
    clocks.wait(HOUR)
    with start() as client:
        assert ask(client)["degraded"] == []


def test_a_state_that_nothing_was_written_to_has_no_time_to_compare_with(start: Open, clocks: Clocks) -> None:
    clocks.wall += 900 * DAY
    with start() as client:
        assert ask(client)["degraded"] == []


@pytest.mark.usefixtures("full")
def test_a_restart_confirms_nothing_and_an_operator_does(start: Open, clocks: Clocks, settings: Settings) -> None:
    clocks.wall += 3 * DAY
    for _ in range(2):
        with start() as client:
            assert ask(client)["degraded"] == ["ledger"]
    with start() as client:
        confirmed = client.post("/v1/operator/confirm-clock").json()
        assert confirmed["at"] == to_text(clocks.wall) and confirmed["was_ahead_s"] == 3 * 24 * 3_600
        assert ask(client)["degraded"] == []
        assert client.post("/v1/events", json=too_much(clocks)).json()["accepted"] == 1
    assert committed_at(settings) == clocks.wall
    with start() as client:
        assert ask(client)["degraded"] == []


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(("away", "is_confirmed"), [(0, True), (HOUR, True), (-HOUR, True), (HOUR + 1, False)])
def test_an_instant_given_at_the_start_confirms_within_an_hour(
    start: Open, clocks: Clocks, away: int, is_confirmed: bool
) -> None:
    clocks.wall += 9 * DAY
    with start(clock_confirmed_at=clocks.wall + away) as client:
        assert (ask(client)["degraded"] == []) is is_confirmed
        assert (client.get("/health/ready").json()["clock"] == "steady") is is_confirmed


@pytest.mark.usefixtures("full")
def test_a_start_25_h_behind_refuses_no_event_for_good(start: Open, clocks: Clocks, settings: Settings) -> None:
    at, now = committed_at(settings), clocks.wall
    clocks.wall -= 25 * HOUR
    with start() as client:
        waiting = client.post("/v1/events", json=too_much(clocks, at=now))
        assert waiting.status_code == 503 and int(waiting.headers["retry-after"]) >= 1
        assert "behind" in client.get("/health/ready").json()["clock"]
        for _ in range(5):
            clocks.wait(HOUR)
            page = ask_for_risk(client, 3)
            assert page["degraded"] == [] and page["served_at"] == to_text(at)
    assert n_risky(settings) == 3 and committed_at(settings) == at  # however long it waits: one session
    clocks.wall = now + MINUTE
    with start() as client:
        assert client.post("/v1/events", json=too_much(clocks, at=now)).json()["accepted"] == 1


@pytest.mark.usefixtures("full")
def test_ten_seconds_behind_the_last_committed_time_is_now(start: Open, clocks: Clocks, settings: Settings) -> None:
    at = committed_at(settings)
    clocks.wall = at - 10 * SECOND
    with start() as client:
        assert client.post("/v1/events", json=too_much(clocks)).json()["accepted"] == 1
        assert ask(client)["served_at"] == to_text(at)
        assert client.get("/health/ready").json()["clock"] == "steady"
    with start(clock_behind_ms=9 * SECOND) as client:
        assert client.post("/v1/events", json=too_much(clocks, "e2")).status_code == 503


def test_a_confirmation_sets_the_last_committed_time_back_and_frees_nothing(
    start: Open, clocks: Clocks, settings: Settings
) -> None:
    clocks.wall += 9 * DAY  # a new state file, started by a wrong clock
    with start() as client:
        before = sum(n_risky_of(ask_for_risk(client, n)) for n in range(2))
    clocks.wall -= 9 * DAY
    with start() as client:
        assert client.post("/v1/events", json=too_much(clocks)).status_code == 503
        assert client.post("/v1/operator/confirm-clock").json()["was_ahead_s"] == -9 * 24 * 3_600
        assert committed_at(settings) == clocks.wall
        assert client.get("/health/ready").json()["clock"] == "steady"
        for n in (2, 3):
            clocks.wait(26 * HOUR)
            assert ask_for_risk(client, n)["degraded"] == []
        assert client.post("/v1/events", json=too_much(clocks)).json()["accepted"] == 1
    assert before == 2 and n_risky(settings) <= 2  # still the session of the wrong time: two of each family, once
    with start() as client:
        assert ask(client)["degraded"] == []


@pytest.mark.usefixtures("full")
def test_of_several_processes_on_a_file_one_is_confirmed_for_all(start: Open, clocks: Clocks) -> None:
    clocks.wall += 9 * DAY
    with start() as first, start() as second:
        assert [ask(client)["degraded"] for client in (first, second)] == [["ledger"]] * 2
        first.post("/v1/operator/confirm-clock")
        assert [ask(client)["degraded"] for client in (first, second)] == [[]] * 2
        clocks.wait(MINUTE)
        assert second.post("/v1/events", json=too_much(clocks)).json()["accepted"] == 1


@pytest.mark.usefixtures("full")
def test_a_process_started_by_a_wrong_clock_is_no_word_for_one_that_runs(start: Open, clocks: Clocks) -> None:
    with start() as running:
        clocks.wall += 9 * DAY
        with start() as started:
            for client in (started, running, started):
                assert ask(client)["degraded"] == ["ledger"]
        clocks.wall -= 9 * DAY
        assert ask(running)["degraded"] == []


def test_a_service_that_stops_leaves_its_time(start: Open, clocks: Clocks, settings: Settings) -> None:
    with start():
        assert committed_at(settings) == NOON
        clocks.wait(5 * HOUR)
    assert committed_at(settings) == NOON + 5 * HOUR


def test_quiet_hours_are_no_jump_because_of_the_heartbeat(
    start: Open, clocks: Clocks, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.upkeep._BEAT_INTERVAL_S", 0.01)
    with start():
        clocks.wait(7 * HOUR)
        for _ in range(500):
            if committed_at(settings) == NOON + 7 * HOUR:
                break
            time.sleep(0.01)
        assert committed_at(settings) == NOON + 7 * HOUR


@pytest.mark.usefixtures("full")
def test_a_prune_says_what_it_deleted(start: Open, clocks: Clocks, caplog: pytest.LogCaptureFixture) -> None:
    clocks.wall += 9 * DAY
    with caplog.at_level(logging.INFO, "sanad.serving"), start(clock_confirmed_at=clocks.wall):
        pass
    [line] = [r.message for r in caplog.records if r.message.startswith("pruned: ")]
    assert line == "pruned: deliveries 4"
