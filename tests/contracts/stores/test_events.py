"""What `EventLog` promises: every event once, in order, with the time of receipt."""

from recsys.clock import DAY
from recsys.user.state import InteractionHistory, UserState

NOW = 1_780_000_000_000


def test_who_waits_is_known_by_the_time_of_receipt(store, make):
    store.events.append([make.event("e", "w"), make.event("e", "u"), make.event("f", "u")], NOW)
    store.events.append([make.event("e", "v")], NOW + 1)
    assert [store.events.waiting(NOW + n) for n in range(3)] == [(), ("u", "w"), ("u", "v", "w")]
    assert store.retention_cutoff(NOW) == NOW - 30 * DAY
    store.prune(NOW + 30 * DAY + 1)
    assert store.events.waiting(NOW + 2) == ("v",)


def test_events_come_back_whole_in_order_with_the_time_of_receipt(store, make):
    assert store.events.append([make.event("e2"), make.event("e1", kind="too_much")], NOW + 9).accepted == 2
    store.events.append([make.event("e0")], NOW + 10)
    logged = store.events.since("u", 0)
    assert [e.event for e in logged] == [make.event("e2"), make.event("e1", kind="too_much"), make.event("e0")]
    assert [e.received_at for e in logged] == [NOW + 9, NOW + 9, NOW + 10]
    assert 0 < logged[0].seq < logged[1].seq < logged[2].seq
    assert store.events.since("u", logged[1].seq) == logged[2:]
    assert store.events.since("u", logged[2].seq) == ()


def test_a_read_gives_the_events_that_the_state_has_not_taken_in(store, make):
    assert store.users.read("u").logged == ()
    store.events.append([make.event("e1"), make.event("e2"), make.event("e1", "w")], NOW)
    logged = store.users.read("u").logged
    assert logged == store.events.since("u", 0) and [entry.event.event_id for entry in logged] == ["e1", "e2"]
    folded = UserState(interactions=InteractionHistory(log_seq=logged[0].seq))
    assert store.users.write_if("u", folded, 0, make.page("u", "r1", 1))
    assert store.users.read("u", "r1").logged == logged[1:]
    store.events.append([make.event("e3")], NOW + 1)
    assert [entry.event.event_id for entry in store.users.read("u").logged] == ["e2", "e3"]
    store.users.erase("u", NOW, None)
    assert store.users.read("u").logged == () != store.users.read("w").logged


def test_a_repeated_event_is_counted_once_and_the_first_one_stays(store, make):
    store.events.append([make.event("e1")], NOW)
    result = store.events.append([make.event("e1", kind="report"), make.event("e2"), make.event("e2")], NOW + 1)
    assert (result.accepted, result.duplicates) == (1, 2)
    assert [e.event for e in store.events.since("u", 0)] == [make.event("e1"), make.event("e2")]


def test_two_users_may_use_one_event_id(store, make):
    assert store.events.append([make.event("e"), make.event("e", "w")], NOW).accepted == 2
    assert [e.event.user_id for e in store.events.since("w", 0)] == ["w"]


def test_an_empty_log_has_no_last_entry(store):
    assert store.events.last_seq() == 0


def test_no_events_are_fine(store):
    result = store.events.append([], NOW)
    assert (result.accepted, result.duplicates) == (0, 0)


def test_numbers_are_not_given_again_after_an_erasure(store, make):
    store.events.append([make.event("e1"), make.event("e2")], NOW)
    last = store.events.since("u", 0)[-1].seq
    store.users.erase("u", NOW, None)
    store.events.append([make.event("e1")], NOW)
    assert store.events.since("u", 0)[0].seq > last


def test_events_of_everybody_come_in_order_since_an_instant_of_receipt(store, make):
    many = [make.event(f"e{n}", f"u{n % 7}") for n in range(1_005)]
    store.events.append(many[:3], NOW)
    store.events.append(many[3:], NOW + 1)
    assert [entry.event for entry in store.events.received_since(0)] == many
    assert [entry.event for entry in store.events.received_since(NOW + 1)] == many[3:]
    seqs = [entry.seq for entry in store.events.received_since(0)]
    assert store.events.last_seq() == seqs[-1]
    assert [entry.event for entry in store.events.received_since(0, seqs[1_000])] == many[1_001:]
    behind = [entry.event for entry in store.events.received_since(0, store.events.last_seq(behind=4))]
    assert behind == many[-4:], "about as many as were asked for; here exactly"
    store.users.erase("u3", NOW + 2, None)
    assert {entry.event.user_id for entry in store.events.received_since(0)} == {"u0", "u1", "u2", "u4", "u5", "u6"}
