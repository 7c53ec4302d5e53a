"""What is not of one person arrives once, whatever ends between two steps, and whoever moves it."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from recsys.errors import StoreError
from serving.stores.redis import outbox
from serving.stores.redis.outbox import Mover
from serving.stores.redis.servers import Servers
from serving.stores.redis.sink import Sink, SinkError


def pages(store, make, n):
    for number in range(n):
        assert store.users.write_if(f"u{number}", make.state(1), 0, make.page(f"u{number}", f"r{number}", number))
        store.events.append([make.event("e", f"u{number}")], 1)


def raises(_):
    raise SinkError("no space left")


def hangs(go_on):
    go_on.wait(20.0)
    raise SinkError("no space left")


def wait_until(is_so):
    end = time.monotonic() + 10.0
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def check(store, n):
    assert store.exposure.totals() == {"c": n}
    assert sorted(answer.request_id for answer in store.decisions.since(0)) == sorted(f"r{k}" for k in range(n))
    assert len(list(store.events.received_since(0))) == n and store.events.last_seq() == n


@pytest.mark.parametrize("function", ["gather", "done"])
def test_an_end_between_two_steps_neither_loses_nor_doubles(server, open_store, make, monkeypatch, function):
    store = open_store(server)
    pages(store, make, 10)
    ask, write = Servers.ask_all, Servers.write

    def dies(command):
        if str(command[1]).endswith(function):
            raise StoreError("the process ends here")

    def ask_all(self, commands, **more):
        for some in commands.values():
            for command in some:
                dies(command)
        return ask(self, commands, **more)

    def write_one(self, tag, *commands):
        for command in commands:
            dies(command)
        return write(self, tag, *commands)

    monkeypatch.setattr(Servers, "ask_all", ask_all)
    monkeypatch.setattr(Servers, "write", write_one)
    with pytest.raises(StoreError, match="the process ends here"):
        store.decisions.newest(9)
    monkeypatch.undo()
    check(open_store(server), 10)


def test_many_movers_at_once_move_each_entry_once(server, open_store, make):
    stores = [open_store(server) for _ in range(4)]
    pages(stores[0], make, 60)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda store: store.exposure.totals(), stores))
    for store in stores:
        check(store, 60)


def test_records_wait_on_the_server_while_the_sink_is_full(server, open_store, make, monkeypatch):
    store = open_store(server)
    pages(store, make, 3)
    monkeypatch.setattr(Sink, "_append_to", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(StoreError, match="decision records cannot be written"):
        store.decisions.newest(10)
    assert store.users.write_if("v", make.state(1), 0, make.page("v", "r3", 1)), "a page needs no sink"
    assert store.exposure.totals() == {"c": 4}, "nor do counts"
    monkeypatch.undo()
    assert {answer.request_id for answer in store.decisions.newest(10)} == {"r0", "r1", "r2", "r3"}


@pytest.mark.parametrize("append", [raises, hangs])
def test_counts_go_on_behind_many_records_that_no_sink_takes(server, open_store, make, monkeypatch, append):
    store = open_store(server)
    monkeypatch.setattr(outbox, "_AT_ONCE", 2)
    go_on = Event()
    monkeypatch.setattr(Sink, "append", lambda *_: append(go_on))
    pages(store, make, 300)
    try:
        assert store.exposure.totals() == {"c": 300}
        assert store.events.last_seq() == 300 == len(list(store.events.received_since(0)))
        store.users.erase("u7", 1, None)
        assert len(store.audit.page(0, 0, 10)) == 1
    finally:
        go_on.set()
    monkeypatch.undo()
    wait_until(lambda: len(store.decisions.newest(400)) == 299)
    assert store.exposure.totals() == {"c": 300} and store.events.last_seq() == 300


def test_a_sink_that_fails_keeps_no_log_of_a_server_from_being_rewritten():
    done = Event()
    mover = Mover(lambda: raises(done), done.set)
    assert done.wait(5.0)
    mover.close()


def test_an_answer_waits_for_its_record_to_be_moved_before_it_expires(server, open_store, make, monkeypatch):
    store = open_store(server)
    monkeypatch.setattr(Sink, "append", lambda *_: (_ for _ in ()).throw(StoreError("no sink")))
    pages(store, make, 1)
    with server.client as client:
        [key] = [key for key in client.scan_iter() if b":a:" in key]
        assert client.ttl(key) == -1
        monkeypatch.undo()
        store.decisions.newest(1)
        assert 0 < client.ttl(key) <= 86_400


def test_a_torn_end_of_a_file_is_passed_over(server, open_store, make, tmp_path):
    store = open_store(server)
    pages(store, make, 2)
    assert len(store.decisions.newest(9)) == 2
    [index] = (tmp_path / "records").rglob("*.index")
    with index.open("ab") as file:
        file.write(b"half a line")
    assert len(open_store(server).decisions.newest(9)) == 2
