"""What is deleted, and when; and what the next model must not learn."""

from recsys.clock import DAY, HOUR
from recsys.stores.memory import MemoryStore
from serving.stores.sqlite.store import SqliteStore

NOW = 1_780_000_000_000


def test_the_latest_cutoff_of_a_person_stands_under_a_hash(store):
    store.cutoffs.forget("u", NOW)
    store.cutoffs.forget("u", NOW - 5)
    forgotten = store.cutoffs.forgotten()
    assert list(forgotten.before.values()) == [NOW]
    assert all(key != b"u" and len(key) == 32 for key in forgotten.before)


def test_erasure_is_a_cutoff_and_a_cutoff_leaves_after_8_days(store):
    store.users.erase("u", NOW, None)
    assert store.prune(NOW + 8 * DAY)["forgotten"] == 0
    assert store.prune(NOW + 8 * DAY + 1)["forgotten"] == 1


def test_deliveries_stay_8_days_and_decisions_and_events_30(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r", 1))
    store.events.append([make.event("e")], NOW)
    for at, kept in ((8 * DAY, (1, True, 1)), (8 * DAY + 1, (0, True, 1)), (30 * DAY, (0, True, 1))):
        store.prune(NOW + at)
        decision = store.users.read("u", "r").answer is not None
        assert (len(store.users.deliveries("u", 0)), decision, len(store.events.since("u", 0))) == kept
    deletes_rows = isinstance(store, MemoryStore | SqliteStore)  # the others drop whole days, up to a day later
    pruned = store.prune(NOW + (30 * DAY + 1 if deletes_rows else 31 * DAY))
    assert pruned == {
        "deliveries": 0,
        "decisions": 1,
        "events": 1,
        "tombstones": 0,
        "exposure": 0,
        "forgotten": 0,
        "audit": 0,
        "reviews": 0,
    }
    assert store.users.read("u", "r").answer is None
    assert store.events.since("u", 0) == ()
    assert store.users.read("u").state == make.state(1)


def test_pruning_takes_everything_old_however_much(store, make):
    store.events.append([make.event(f"e{n}") for n in range(1_001)], NOW)
    assert store.prune(NOW + 31 * DAY)["events"] == 1_001


def test_the_latest_time_written_never_runs_back(store, make):
    assert store.committed_at() == 0
    store.events.append([make.event("e1")], NOW)
    store.events.append([make.event("e2")], NOW - HOUR)
    store.users.write_if("u", make.state(1), 0, make.page("u", "r", at=NOW - 1))
    assert store.committed_at() == NOW
    make.put(store, make.change("v1"))
    store.users.erase("u", NOW + 1, None)
    assert store.committed_at() == NOW + 1


def test_a_heartbeat_moves_the_latest_time_on_and_nothing_else(store, make):
    store.users.write_if("u", make.state(1), 0)
    before = store.users.read("u")
    store.users.commit_time(NOW)
    store.users.commit_time(NOW - 1)
    assert store.committed_at() == NOW
    assert store.users.read("u") == before and store.catalogue.since(0).revision == before.revision


def test_the_latest_time_can_be_set_back_and_goes_on_from_there(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r", 1, at=NOW + DAY))
    delivered = store.users.deliveries("u", 0)
    store.users.set_time(NOW)
    assert store.committed_at() == NOW and store.users.deliveries("u", 0) == delivered
    store.events.append([make.event("e1")], NOW + 1)
    assert store.committed_at() == NOW + 1
