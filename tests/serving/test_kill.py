"""
`sanad serve` killed again and again while several clients send pages and events: what it acknowledged is there.

Each client notes what it was told, as a platform would; the file is then counted from outside, by the labels of the
data. A kill is no power cut: see tests/serving/test_crash.py for what is flushed.
"""

import http.client
import itertools
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.clock import Millis
from serving.stores.open import State, open_store, state_of
from tests.servers.postgres import running
from tests.serving.process import Life, ask, free_port, life

PEOPLE = [f"adult-{n}" for n in range(60)]
N_CLIENTS = 4
N_EVENTS = 5
SIZE = 20
NO_STORE = "The state cannot be written or read now; nothing of this request was stored. Try again later."
READY_S = 5.0
"""Of processor; on the clock it is as much on a machine that is not busy."""
MOST_R2 = {"session": 3, "last_20": 2, "gap": 6}
"""The market's limits for adults, from policies/morocco.yaml."""


@dataclass(slots=True)
class Told:
    """What one client was told: items by user and request, events by user, and why candidates were lost."""

    pages: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    events: set[tuple[str, str]] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


def put_people(port: int) -> None:
    adult = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["ary", "fr"]}
    for user_id in PEOPLE:
        assert ask(port, "PUT", f"/v1/users/{user_id}", adult)[0] == 200


def send_until(is_over: Event, port: int, client: int, told: Told) -> None:
    """Pages and events of people, of some more often, without a pause; what gets no answer is sent again."""
    rng = np.random.default_rng(client)
    for n in itertools.count():
        user_id, request_id = PEOPLE[int(len(PEOPLE) * rng.random() ** 3)], f"client-{client}-{n}"
        page = insist(is_over, port, "/v1/feed", {"user_id": user_id, "size": SIZE, "request_id": request_id}, told)
        if page is None:
            return
        if page["degraded"]:
            continue  # nothing was reserved
        item_ids = tuple(item["item_id"] for item in page["items"])
        told.pages[user_id, request_id] = item_ids
        told.lost |= {*page["shortfall"]["because"]}
        events = [
            {"event_id": f"{request_id}-{k}", "user_id": user_id, "kind": "complete", "item_id": item_id}
            for k, item_id in enumerate(item_ids[:N_EVENTS])
        ]
        answer = insist(is_over, port, "/v1/events", {"events": events}, told) if events else None
        if answer is not None:
            assert answer["accepted"] + answer["duplicates"] == len(events)
            told.events |= {(user_id, event["event_id"]) for event in events}


def insist(is_over: Event, port: int, path: str, body: Mapping[str, Any], told: Told) -> Any:
    """The first answer to a request; None where the test ends before one comes."""
    while not is_over.is_set():
        try:
            status, answer = ask(port, "POST", path, body)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
            continue
        if status == 200:
            return answer
        told.refused.append(answer["detail"])
    return None


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_killed_under_load_it_loses_nothing_breaks_no_cap_and_is_back_in_seconds(
    tiny_folder: Path, tmp_path: Path, is_soak: bool
) -> None:
    check_lives(tiny_folder, tmp_path / "state.db", 20 if is_soak else 3)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_on_postgres_it_survives_kills_of_itself_and_of_the_server(tiny_folder: Path, is_soak: bool) -> None:
    with running() as server:
        state = state_of(server.url(server.new_database()))
        kills = itertools.count()

        def happens() -> None:
            """The server dies, or stands still for longer than any page waits, or nothing happens to it."""
            n = next(kills)
            if n % 3 == 0:
                server.kill()
                server.start()
            elif n % 3 == 1:
                server.pause()
                time.sleep(5.0 if is_soak else 2.0)
                server.go_on()

        check_lives(tiny_folder, state, 20 if is_soak else 2, happens, {NO_STORE})


def check_lives(
    tiny_folder: Path,
    state: State,
    n_lives: int,
    happens: Callable[[], None] = lambda: None,
    may_refuse: Set[str] = frozenset(),
) -> None:
    """Lives of a service under load, each killed after `happens`; then what it acknowledged is counted."""
    port, rng = free_port(), np.random.default_rng(3)
    is_over, told = Event(), [Told() for _ in range(N_CLIENTS)]
    clients = [Thread(target=send_until, args=(is_over, port, n, told[n]), daemon=True) for n in range(N_CLIENTS)]
    starts: list[Life] = []
    for n in range(n_lives):
        with life(tiny_folder, state, port) as alive:
            if n == 0:
                put_people(port)
                for client in clients:
                    client.start()
            else:
                starts.append(alive)
            time.sleep(float(rng.uniform(0.2, 1.5)))
            happens()
            time.sleep(float(rng.uniform(0.2, 1.5)))
    with life(tiny_folder, state, port) as alive:
        starts.append(alive)
        is_over.set()
        for client in clients:
            client.join()
        pages = {key: items for one in told for key, items in one.pages.items()}
        check_replays(port, pages)
    said = [f"{start.clock_s:.1f} s on the clock, {start.cpu_s:.1f} s of processor" for start in starts]
    print(f"{len(pages)} pages, {sum(len(one.events) for one in told)} events; ready after", *said, sep="\n  ")
    assert {sentence for one in told for sentence in one.refused} <= may_refuse
    assert len(pages) > 20
    assert {"cap:R2", "gap:R2"} & {reason for one in told for reason in one.lost}, (
        "no cap was reached, so none was tested"
    )
    assert max(start.cpu_s for start in starts) < READY_S
    check_state(state, pages, {event for one in told for event in one.events}, r2_of(tiny_folder))


def check_replays(port: int, pages: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """A page that was answered before a kill is answered again, without anything that was not on it."""
    for user_id, request_id in [*pages][:: max(1, len(pages) // 20)]:
        status, page = ask(port, "POST", "/v1/feed", {"user_id": user_id, "size": SIZE, "request_id": request_id})
        assert (status, page["replayed"]) == (200, True)
        again = [item["item_id"] for item in page["items"]]
        assert again == [item_id for item_id in pages[user_id, request_id] if item_id in again]


def r2_of(artifact: Path) -> set[str]:
    """Items of R2, and those without a label, which count as R2."""
    items = pl.read_parquet(artifact / "items.parquet", columns=["item_id", "risk_tier"])
    return set(items.filter(pl.col("risk_tier").is_null() | (pl.col("risk_tier") == "R2"))["item_id"])


def check_state(
    state: State, pages: Mapping[tuple[str, str], Sequence[str]], events: set[tuple[str, str]], r2: set[str]
) -> None:
    """Every acknowledged event and page is in the state, and what was delivered keeps the caps, whoever was told."""
    opened = open_store(state)
    store = opened.stores
    item_ids = {row.item_no: row.fields["item_id"] for row in store.catalogue.since(0).rows}
    for user_id in PEOPLE:
        logged = {(user_id, entry.event.event_id) for entry in store.events.since(user_id, 0)}
        assert {event for event in events if event[0] == user_id} <= logged
        served = [d for d in store.users.deliveries(user_id, 0) if not d.is_open]
        delivered = [item_ids[delivery.item_no] for delivery in served]
        acknowledged = [item_id for (user, _), page in pages.items() if user == user_id for item_id in page]
        assert len(acknowledged) == len(set(acknowledged)), "a page was shown twice under two names"
        assert set(acknowledged) <= set(delivered)
        assert not broken_limits([item_id in r2 for item_id in delivered])
        assert store.users.read(user_id).state.safety.ledger.n_delivered == len(delivered)
    opened.close()


def broken_limits(is_r2: Sequence[bool]) -> list[str]:
    """Limits that a person's deliveries break, counted one by one: all are of one session."""
    places = [place for place, is_one in enumerate(is_r2) if is_one]
    most = max((sum(is_r2[start : start + 20]) for start in range(len(is_r2))), default=0)
    gaps = [after - before for before, after in itertools.pairwise(places)]
    found: dict[str, tuple[Millis, bool]] = {
        "session": (len(places), len(places) <= MOST_R2["session"]),
        "last_20": (most, most <= MOST_R2["last_20"]),
        "gap": (min(gaps, default=99), min(gaps, default=99) > MOST_R2["gap"]),
    }
    return [f"{name}: {count}" for name, (count, is_kept) in found.items() if not is_kept]


def test_the_recount_sees_each_limit_broken() -> None:
    free = [False] * 30
    assert broken_limits([True, *free, True, *free, True]) == []
    assert broken_limits([True, *free, True, *free, True, *free, True]) == ["session: 4"]
    assert broken_limits([True, *free[:7], True, *free[:7], True]) == ["last_20: 3"]
    assert broken_limits([True, *free[:5], True]) == ["gap: 6"]
