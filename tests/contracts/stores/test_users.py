"""What `UserStore` promises: compare and swap, one transaction for a page, and erasure of all but expiring counters."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from recsys.clock import DAY, HOUR
from recsys.user.state import InteractionHistory, SafetyState, UserState, pack

NOW = 1_780_000_000_000


def test_an_unknown_user_starts_afresh_at_version_0(store):
    read = store.users.read("nobody", "r1")
    assert (read.state, read.version, read.revision, read.answer) == (UserState(), 0, 0, None)


def test_what_is_written_is_read_and_the_version_grows(store, make):
    assert store.users.write_if("u", make.state(1), 0)
    first = store.users.read("u")
    assert store.users.write_if("u", make.state(2), first.version)
    second = store.users.read("u")
    assert (first.state, second.state) == (make.state(1), make.state(2))
    assert 0 < first.version < second.version


def test_a_write_of_an_old_version_writes_nothing_at_all(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r1", 1))
    before = store.users.read("u")
    for stale in (0, before.version - 1, before.version + 1, -1):
        assert not store.users.write_if("u", make.state(9), stale, make.page("u", "r2", 2, at=NOW + DAY))
    assert store.users.read("u", "r2") == before
    assert store.users.deliveries("u", 0) == (make.delivery(1),)
    assert store.decisions.of_request("r2") is None
    assert store.committed_at() == NOW


def test_of_many_writers_of_one_version_exactly_one_wins(store, make):
    for round_ in range(5):
        version = store.users.read("u").version

        def write(n: int, version: int = version, round_: int = round_) -> bool:
            return store.users.write_if("u", make.state(n), version, make.page("u", f"r{round_}-{n}", n))

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert sum(won) == 1
        assert store.users.read("u").state == make.state(won.index(True))
        assert [d.item_no for d in store.users.deliveries("u", 0)][round_:] == [won.index(True)]


def test_counting_from_many_threads_loses_nothing(store, make):
    def count(_: int):
        while True:
            read = store.users.read("u")
            n = read.state.safety.ledger.n_delivered
            if store.users.write_if("u", make.state(n + 1), read.version):
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(80)))
    assert store.users.read("u").state == make.state(80)


def test_users_do_not_touch_each_other(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "same", 1, answer=b"for u"))
    store.users.write_if("w", make.state(2), 0, make.page("w", "same", 2, answer=b"for w"))
    for user, n in (("u", 1), ("w", 2)):
        read = store.users.read(user, "same")
        assert read.state == make.state(n)
        assert read.answer is not None
        assert read.answer.answer == f"for {user}".encode()
        assert store.users.deliveries(user, 0) == (make.delivery(n),)


def test_a_repeat_finds_its_answer_and_a_later_write_replaces_it(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r", 1))
    read = store.users.read("u", "r")
    assert read.answer == make.page("u", "r").answer
    assert store.users.read("u").answer is None
    assert store.users.read("w", "r").answer is None
    again = make.page("u", "r", 2, at=NOW + 25 * HOUR, answer=b"another page")
    assert store.users.write_if("u", make.state(2), read.version, again)
    assert store.users.read("u", "r").answer == again.answer
    assert store.decisions.of_request("r") == again.answer


def test_deliveries_come_in_commit_order_from_a_closed_start(store, make):
    for n, at in enumerate((NOW, NOW - 5, NOW + 5)):
        version = store.users.read("u").version
        store.users.write_if("u", make.state(n), version, make.page("u", f"r{n}", 10 * n, 10 * n + 1, at=at))
    assert [d.item_no for d in store.users.deliveries("u", 0)] == [0, 1, 10, 11, 20, 21]
    assert [d.item_no for d in store.users.deliveries("u", NOW)] == [0, 1, 20, 21]
    assert [d.item_no for d in store.users.deliveries("u", NOW + 1)] == [20, 21]
    assert store.users.deliveries("nobody", 0) == ()


def test_reading_shows_the_revision_of_the_catalogue(store, make):
    for n in range(1, 4):
        revision = make.put(store, make.change("v1", title=f"title {n}"))
        assert {store.users.read(f"u{k}").revision for k in range(20)} == {revision}, "on every shard"


def test_erasing_counts_and_leaves_nothing(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r1", 1, 2))
    store.users.write_if("u", make.state(2), store.users.read("u").version, make.page("u", "r2", 3))
    store.users.write_if("w", make.state(7), 0, make.page("w", "r1", 4))
    store.events.append([make.event("e1"), make.event("e2"), make.event("e1", "w")], NOW)
    assert store.users.erase("u", NOW, None) == {"users": 1, "deliveries": 3, "decisions": 2, "events": 2}
    read = store.users.read("u", "r1")
    assert (read.state, read.version, read.answer) == (UserState(), 0, None)
    assert store.users.deliveries("u", 0) == ()
    assert store.events.since("u", 0) == ()
    assert store.decisions.of_request("r2") is None
    assert store.decisions.of_request("r1") == make.page("w", "r1").answer
    assert store.users.read("w").state == make.state(7)
    assert len(store.events.since("w", 0)) == 1


def test_erasing_somebody_unknown_deletes_nothing(store):
    assert set(store.users.erase("nobody", NOW, None).values()) == {0}


def test_counters_outlive_an_erasure_and_tastes_do_not(store, make):
    state = UserState(
        safety=make.state(5).safety, interactions=InteractionHistory(items=(1,), weights=(1.0,), at=(NOW,))
    )
    store.users.write_if("u", state, 0)
    store.users.erase("u", NOW, pack(state)[1])
    read = store.users.read("u")
    assert read.state == make.state(5)
    assert not store.users.write_if("u", make.state(0), 0), "a write that ignores the counters must not win"
    assert store.users.write_if("u", make.state(6), read.version)
    assert store.users.read("u").state == make.state(6)


def test_a_tombstone_goes_after_8_days(store, make):
    store.users.erase("u", NOW, pack(make.state(5))[1])
    assert store.prune(NOW + 8 * DAY)["tombstones"] == 0
    assert store.users.read("u").state == make.state(5)
    assert store.prune(NOW + 8 * DAY + 1)["tombstones"] == 1
    assert store.users.read("u").state == UserState()


def test_of_somebody_whom_the_model_in_service_knows_the_hash_alone_stays(store, make):
    store.users.write_if("u", make.state(1), 0)
    store.users.erase("u", NOW, pack(make.state(1))[1])
    for days in (9, 30, 300):
        assert store.prune(NOW + days * DAY, ["u", "v"])["tombstones"] == 0
        read = store.users.read("u")
        assert read.state == UserState(safety=SafetyState(is_erased=True)) and read.version > 0
        assert len(store.cutoffs.forgotten().erased) == 1
    assert store.prune(NOW + 400 * DAY, ["v"])["tombstones"] == 1
    assert store.users.read("u").state == UserState()


def test_a_second_erasure_replaces_the_tombstone(store, make):
    store.users.erase("u", NOW, pack(make.state(5))[1])
    store.users.erase("u", NOW + 1, pack(make.state(4))[1])
    assert store.users.read("u").state == make.state(4)
    store.users.erase("u", NOW + 2, None)
    assert store.users.read("u").state == UserState()


def test_a_page_made_before_an_erasure_cannot_bring_anything_back(store, make):
    store.users.write_if("u", make.state(1), 0)
    before = store.users.read("u").version
    store.users.erase("u", NOW, None)
    assert not store.users.write_if("u", make.state(2), before, make.page("u", "r", 1))
    store.users.write_if("u", make.state(1), 0)
    assert store.users.read("u").version > before, "versions are never given twice"
    assert not store.users.write_if("u", make.state(2), before)


def test_a_tombstone_that_is_no_ledger_is_refused_and_nothing_is_deleted(store, make):
    store.users.write_if("u", make.state(1), 0)
    with pytest.raises(msgspec.DecodeError):
        store.users.erase("u", NOW, b"\xc1")
    assert store.users.read("u").state == make.state(1)
