"""What happens to a server while it is used: each fault gets a sentence, and nothing acknowledged is lost."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread

import pytest

from recsys.errors import StoreError
from recsys.stores.protocols import DecisionRecord
from recsys.user.state import UserState
from serving.deadline import DEADLINE, Deadline
from serving.stores.redis.servers import Servers
from serving.stores.redis.store import RedisStore
from tests.servers.redis import RedisServer, redis_server
from tests.serving.stores.redis.load import Writers, write


@contextmanager
def deadline(seconds):
    token = DEADLINE.set(Deadline(time.perf_counter(), seconds))
    try:
        yield
    finally:
        DEADLINE.reset(token)


def test_a_full_memory_takes_no_page_and_still_erases(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with server.client as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="the server's memory is full"):
            write(store, make, "u", 2)
        with pytest.raises(StoreError, match="the server's memory is full"):
            store.events.append([make.event("e")], 1)
        assert store.users.read("u").state == make.state(1)
        assert store.decisions.of_request("u-1") is not None, "what waits goes out, which makes room"
        assert store.users.erase("u", 1, None) == {"users": 1, "deliveries": 1, "decisions": 1, "events": 0}
        client.config_set("maxmemory", 0)
    assert write(store, make, "u", 3)


def test_a_server_that_stands_still_costs_a_page_no_more_than_its_deadline(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1)
    server.signal(signal.SIGSTOP)
    try:
        waits = []
        for _ in range(3):
            began = time.perf_counter()
            with deadline(0.5), pytest.raises(StoreError, match="did not answer in time"):
                store.users.read("u")
            waits.append(time.perf_counter() - began)
    finally:
        server.signal(signal.SIGCONT)
    assert max(waits) < 0.6 and waits[-1] < 0.4, "who comes later waits less"
    assert store.users.read("u").state == make.state(1)
    assert write(store, make, "u", 2), "without a new start"


def test_what_was_sent_while_it_stood_still_is_written_once(server, open_store, make):
    store = open_store(server)
    server.signal(signal.SIGSTOP)
    Thread(target=lambda: (time.sleep(0.3), server.signal(signal.SIGCONT))).start()
    assert write(store, make, "u", 1)
    assert [d.item_no for d in store.users.deliveries("u", 0)] == [1]


def test_a_demoted_server_is_read_only_in_a_sentence(server, open_store, make, tmp_path):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with redis_server(tmp_path / "other") as other, server.client as client:
        client.replicaof("127.0.0.1", other.port)
        with pytest.raises(StoreError, match=r"read-only replica|cannot be reached|reading its files"):
            write(store, make, "v", 1)


@pytest.mark.slow
@pytest.mark.soak
def test_a_server_killed_under_load_loses_nothing_and_is_found_again(server, open_store, make, is_soak):
    stores = [open_store(server) for _ in range(3)]
    with Writers(stores, make) as writers:
        for _ in range(20 if is_soak else 2):
            time.sleep(0.4)
            server.kill()
            time.sleep(0.1)
            server.start()
        time.sleep(0.5)
    assert min(len(told) for told in writers.pages.values()) > 20
    assert writers.lost(stores[0]) == (0, 0)
    for user_id, told in writers.pages.items():
        delivered = [d.item_no for d in stores[0].users.deliveries(user_id, 0)]
        assert len(delivered) == len(set(delivered)), "sent again after its answer was lost, it is written once"
        assert stores[0].exposure.totals()["c"] >= len(told)


def test_states_that_lost_their_key_are_damage_and_no_fresh_start(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with server.client as client:
        [key] = [key for key in client.scan_iter() if b":k:" in key]
        client.delete(key)
    with pytest.raises(StoreError, match="damaged, or its key is missing"):
        store.users.read("u")


def test_types_of_what_is_given(server: RedisServer, open_store, make):
    store: RedisStore = open_store(server)
    record: DecisionRecord = make.page("ü\0🙂", "r\n", 1)
    assert store.users.write_if("ü\0🙂", UserState(), 0, record)
    assert store.users.read("ü\0🙂", "r\n").answer == record.answer


def test_a_new_start_costs_one_connection_and_not_each_that_was_open(server, open_store, make, monkeypatch):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with server.client as client:
        client.execute_command("CLIENT", "PAUSE", 300)
        with ThreadPoolExecutor(80) as pool:
            list(pool.map(store.users.read, ["u"] * 80))
        assert client.info("clients")["connected_clients"] > 20
    server.kill()
    server.start()
    maps, read_map = [], Servers._read_map
    monkeypatch.setattr(Servers, "_read_map", lambda self: (maps.append(self), read_map(self)))
    assert store.users.read("u").state == make.state(1)
    assert len(maps) <= 3, "how often it was sent again"


def test_a_server_that_comes_back_without_its_log_puts_its_people_in_doubt(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with server.client as client:
        client.save()
    assert write(store, make, "u", 2)
    server.kill()
    server.settings = ("--appendonly no",)
    server.start()
    with pytest.raises(StoreError, match="pages are from the safe feed until"):
        write(store, make, "u", 3)


def test_a_server_with_all_its_connections_in_use_says_so(server, open_store, make):
    with server.client as client:
        client.config_set("maxclients", 1)
        with pytest.raises(StoreError, match="raise its maxclients"):
            open_store(server)


def test_a_user_who_may_not_do_all_is_told_what(server, open_store, make):
    store = open_store(server)
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "default", "-fcall")
        with pytest.raises(StoreError, match=r"'fcall' command.*docs/running.md"):
            store.users.read("u")


def test_a_server_that_is_emptied_frees_no_cap_of_a_running_service(server, open_store, make):
    store = open_store(server)
    assert write(store, make, "u", 1)
    with server.client as client:
        client.flushall()
    with pytest.raises(StoreError, match="emptied under the running service"):
        write(store, make, "u", 2)
