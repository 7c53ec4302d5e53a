"""A server does one thing at a time: a pruning that goes through everything at once would keep every page waiting."""

import json

import pytest

from recsys.clock import DAY
from recsys.stores.audit import AuditEntry
from serving.stores.redis.servers import Servers
from tests.serving.stores.redis.conftest import NOW

N = 5_000
MOST = 1_100  # entries in one step: of whoever is begun, all go


def sizes(client):
    kinds = {b"stream": client.xlen, b"hash": client.hlen, b"list": client.llen}
    found = {key: client.type(key) for key in client.scan_iter()}
    return {key.split(b":")[1] + key[-1:]: kinds[kind](key) for key, kind in found.items() if kind in kinds}


@pytest.fixture
def lost(server, monkeypatch):
    """How many entries each step of the server lost, as far as it lost any."""
    steps, write = [], Servers.write

    def watched(self, tag, *commands):
        with server.client as client:
            before = sizes(client)
            replies = write(self, tag, *commands)
            after = sizes(client)
        steps.append(sum(n - after.get(key, 0) for key, n in before.items()))
        return replies

    monkeypatch.setattr(Servers, "write", watched)
    return steps


def test_a_step_of_a_pruning_takes_some_of_what_is_of_everybody(server, open_store, lost):
    store = open_store(server)
    store.audit.append([AuditEntry(NOW, "somebody", "something")] * N)
    with server.client as client, client.pipeline(transaction=False) as pipe:
        [tag] = {key.split(b":")[0] for key in client.scan_iter() if b".all}" in key}
        for n in range(N):
            pipe.xadd(tag + b":feed", {"o": b"x" * 32, "q": n + 1, "r": NOW}, id=f"{n + 1}-0")
            pipe.hset(tag + b":exposure", json.dumps([1, f"c{n}", "MA", "", "merit", True], separators=(",", ":")), 2)
            pipe.hset(tag + b":exposure", json.dumps([2, f"c{n}", "MA", "", "merit", True], separators=(",", ":")), 3)
        pipe.execute()
    lost.clear()
    deleted = store.prune(NOW + 800 * DAY)
    assert (deleted["audit"], deleted["exposure"]) == (N, 2 * N)
    assert max(lost) <= 2 * MOST and sum(step > 0 for step in lost) >= N // 1_000
    counts = store.exposure.counts()
    assert {(count.day, count.n) for count in counts} == {(0, 5)} and len(counts) == N
    with server.client as client:
        assert not client.xlen(tag + b":feed") and not client.xlen(tag + b":audit")


def test_a_step_of_a_pruning_takes_some_of_the_people(server, open_store, make, lost):
    store = open_store(server)
    store.events.append([make.event(f"e{n}", f"u{person}") for person in range(60) for n in range(100)], NOW)
    with server.client as client:
        lists = {key: client.xrange(key) for key in client.scan_iter() if b":v:" in key}
        crowded = next(iter(lists))
        tag = crowded.split(b":")[0]
        with client.pipeline(transaction=False) as pipe:  # the same under one tag: 64 of them would be even
            for n in range(N // 100):
                for _, fields in lists[crowded]:
                    pipe.xadd(tag + b":v:%032d" % n, fields)
                pipe.zadd(tag + b":waiting", {b"%032d" % n: NOW})
            pipe.execute()
    lost.clear()
    assert store.prune(NOW + 800 * DAY)["events"] == 6_000 + N
    assert max(lost) <= MOST
    with server.client as client:
        assert not [key for key in client.scan_iter() if b":v:" in key or b":waiting" in key]
