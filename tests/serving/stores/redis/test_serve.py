"""
Two services on one server of Redis, each with the same people: killed again and again, and their server too, they lose
nothing that was acknowledged and break no cap. While the server stands still, pages are the safe feed, in time.
"""

import signal
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from threading import Event, Thread

import numpy as np
import pytest

from recsys.clock import SECOND, now
from serving.run import run_in_thread
from serving.settings import Settings
from serving.stores.open import open_store, state_of
from tests.serving.process import ask, free_port, life
from tests.serving.test_kill import N_CLIENTS, PEOPLE, Told, broken_limits, put_people, r2_of, send_until


def check_state(address, pages, events, r2):
    """Every acknowledged event and page is there, and what was delivered keeps the caps, whoever was told."""
    with closing(open_store(state_of(address))) as store:
        stores = store.stores
        item_ids = {row.item_no: row.fields["item_id"] for row in stores.catalogue.since(0).rows}
        for user_id in PEOPLE:
            logged = {(user_id, entry.event.event_id) for entry in stores.events.since(user_id, 0)}
            assert {event for event in events if event[0] == user_id} <= logged
            delivered = [item_ids[d.item_no] for d in stores.users.deliveries(user_id, 0) if not d.is_open]
            acknowledged = [item_id for (user, _), page in pages.items() if user == user_id for item_id in page]
            assert len(acknowledged) == len(set(acknowledged)), "a page was shown twice under two names"
            assert set(acknowledged) <= set(delivered)
            assert not broken_limits([item_id in r2 for item_id in delivered])
            assert stores.users.read(user_id).state.safety.ledger.n_delivered == len(delivered)
        records = {record.request_id for record in stores.decisions.since(0)}
        assert {request for _, request in pages} <= records, "every page has its record"


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_services_and_their_server_killed_under_load_lose_nothing_and_break_no_cap(
    tiny_folder, server, tmp_path, is_soak
):
    address, rng = server.address(tmp_path / "records"), np.random.default_rng(3)
    ports, is_over, told = (free_port(), free_port()), Event(), [Told() for _ in range(N_CLIENTS)]
    clients = [
        Thread(target=send_until, args=(is_over, ports[n % 2], n, told[n]), daemon=True) for n in range(N_CLIENTS)
    ]
    with life(tiny_folder, address, ports[1]):
        for n in range(20 if is_soak else 1):
            with life(tiny_folder, address, ports[0]):
                if n == 0:
                    put_people(ports[0])
                    for client in clients:
                        client.start()
                for _ in range(2):
                    time.sleep(float(rng.uniform(0.5, 1.0)))
                    server.kill()
                    time.sleep(float(rng.uniform(0.0, 0.3)))
                    server.start()
                time.sleep(float(rng.uniform(0.5, 1.0)))
        with life(tiny_folder, address, ports[0]):
            time.sleep(1.0)
            is_over.set()
            for client in clients:
                client.join()
    pages = {key: items for one in told for key, items in one.pages.items()}
    print(f"{len(pages)} pages, {sum(len(one.events) for one in told)} events")
    assert len(pages) > 20
    assert {"cap:R2", "gap:R2"} & {reason for one in told for reason in one.lost}, "no cap was reached"
    check_state(address, pages, {event for one in told for event in one.events}, r2_of(tiny_folder))


@pytest.fixture
def settings(tiny_folder, server, tmp_path):
    return Settings(artifact=tiny_folder, state=state_of(server.address(tmp_path / "records")), port=0)


def page(url, user_id, request_id):
    body = {"user_id": user_id, "size": 20, "request_id": request_id}
    status, answer = ask(int(url.rpartition(":")[2]), "POST", "/v1/feed", body)
    assert status == 200
    return answer


def test_a_server_that_stands_still_makes_safe_pages_in_time_and_comes_back_by_itself(settings, server):
    with run_in_thread(settings) as url:
        assert page(url, "u", "first")["degraded"] == []
        server.signal(signal.SIGSTOP)
        took = []
        for n in range(5):
            began = time.monotonic()
            assert page(url, "u", f"still-{n}")["degraded"] != []
            took.append(time.monotonic() - began)
        server.signal(signal.SIGCONT)
        assert max(took) < settings.deadline_ms / SECOND + 0.5
        assert page(url, "u", "later")["degraded"] == []


def test_clocks_that_differ_by_5_s_serve_one_person_without_repeats(settings):
    clocks = (now, lambda: now() + 5 * SECOND)
    with ExitStack() as stack:
        urls = [stack.enter_context(run_in_thread(settings, clock=clock)) for clock in clocks]
        pages = [page(urls[n % 2], "u", f"r{n}") for n in range(6)]
        shown = [item["item_id"] for one in pages for item in one["items"]]
        assert not any(one["degraded"] for one in pages) and len(shown) == len(set(shown)) > 0


def test_a_takedown_on_one_service_binds_the_next_page_of_the_other(settings):
    with ExitStack() as stack:
        urls = [stack.enter_context(run_in_thread(replace(settings))) for _ in range(2)]
        first = page(urls[1], "v", "r0")["items"][0]["item_id"]
        port = int(urls[0].rpartition(":")[2])
        assert ask(port, "DELETE", f"/v1/items/{first}")[0] == 200
        for n in range(3):
            assert first not in [item["item_id"] for item in page(urls[1], f"w{n}", f"w{n}")["items"]]
