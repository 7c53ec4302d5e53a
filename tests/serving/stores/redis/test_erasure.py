"""
Erasure by byte search: no id or text stands anywhere, ever; and the key of whoever was erased is gone from memory at
once, and from the logs of the server when they are rewritten.
"""

import time
from pathlib import Path

from redis.exceptions import ResponseError

from recsys.user.state import UserState
from serving.stores.redis.address import read_address
from serving.stores.redis.rewrite import Rewriter
from serving.stores.redis.schema import Tags
from serving.stores.redis.servers import Servers
from serving.stores.redis.sink import Sink
from serving.stores.redis.store import RedisStore
from tests.servers.redis import redis_server

USER, REQUEST, EVENT, TEXT = "person-of-whom-nothing-stands", "request-of-theirs", "event-of-theirs", b"page-of-theirs"
PLAIN = (USER.encode(), REQUEST.encode(), EVENT.encode(), TEXT)


def files_with(folder: Path, *needles: bytes) -> set[str]:
    """Files below a folder that hold any of some bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files if any(needle in path.read_bytes() for needle in needles)}


def key_of(server, store):
    with server.client as client:
        [name] = [name for name in client.scan_iter() if b":k:" in name]
        return client.hget(name, "k")


def until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def saved(client):
    try:
        return client.save()
    except ResponseError:  # while the replica is being filled
        return False


def test_nothing_plain_stands_anywhere_and_a_destroyed_key_goes_with_the_rewrite(server, open_store, make, tmp_path):
    store = open_store(server)
    with redis_server(tmp_path / "replica", f"--replicaof 127.0.0.1 {server.port}") as replica:
        with replica.client as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
        page = make.page(USER, REQUEST, 1, 2, answer=TEXT)
        assert store.users.write_if(USER, make.state(1), 0, page)
        store.events.append([make.event(EVENT, USER)], 1)
        assert store.decisions.of_user(USER) == (page.answer,)
        key = key_of(server, store)
        with server.client as client:
            until(lambda: saved(client))  # an RDB file as a backup takes it
        logs = {name for name in files_with(tmp_path, key) if "aof" in name or name.endswith("rdb")}
        assert {"dump.rdb"} < logs and len(logs) >= 2
        assert files_with(tmp_path, *PLAIN) == set()

        assert store.users.erase(USER, 1, None) == {"users": 1, "deliveries": 2, "decisions": 1, "events": 1}
        assert store.decisions.of_user(USER) == () and store.decisions.of_request(REQUEST) is None
        with server.client as client:
            assert all(key not in (client.dump(name) or b"") for name in client.scan_iter())
            until(lambda: saved(client))
        servers = Servers(read_address(server.address(tmp_path / "records")))
        [name] = {name.split(b".")[0].strip(b"{").decode() for name in _names(server)}
        Rewriter(servers, Tags(name)).work()
        until(lambda: files_with(tmp_path, key) == set())
        assert files_with(tmp_path, *PLAIN) == set()
        servers.close()


def _names(server):
    with server.client as client:
        return list(client.scan_iter())


def test_a_log_is_rewritten_once_an_hour_and_an_erasure_in_between_stays_due(server, open_store, make):
    store: RedisStore = open_store(server)
    servers = Servers(read_address(server.address("/nowhere")))
    [name] = {name.split(b".")[0].strip(b"{").decode() for name in _names(server)}
    rewriter, soon = Rewriter(servers, Tags(name)), Rewriter(servers, Tags(name), every_s=0.0)

    def is_due():
        with server.client as client:
            return any(client.hexists(key, "shred") for key in client.scan_iter() if key.endswith(b":meta"))

    def is_rewriting():
        with server.client as client:
            return client.info("persistence")["aof_rewrite_in_progress"]

    store.users.erase("u", 1, None)
    assert is_due()
    rewriter.work()
    assert not is_due()
    until(lambda: not is_rewriting())
    store.users.erase("v", 1, None)
    rewriter.work()
    assert is_due()
    soon.work()
    assert not is_due()
    servers.close()


def test_an_erasure_does_not_wait_for_the_sink(server, open_store, make, monkeypatch):
    store, of_then = open_store(server), []
    assert store.users.write_if("u", make.state(1), 0, make.page("u", "r", 1))

    def slow(_, owner):
        of_then.append(store.users.read("u").state)
        return set()

    monkeypatch.setattr(Sink, "requests_of", slow)
    assert store.users.erase("u", 1, None) == {"users": 1, "deliveries": 1, "decisions": 1, "events": 0}
    assert of_then == [UserState()], "what the sink has is counted when the person is gone already"
