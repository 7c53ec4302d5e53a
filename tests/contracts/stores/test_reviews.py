"""What `ReviewQueue` promises: one open review of an item, an answer that counts once, none lost while it is open."""

from recsys.clock import DAY, HOUR
from recsys.stores.audit import audit_entry
from recsys.stores.retention import AUDIT_RETENTION_MS
from recsys.stores.reviews import ReviewCounts

NOW = 1_780_000_000_000
DUE = NOW + 72 * HOUR


def ask(store, item_id="v1", at=NOW, due_at=DUE, who="platform"):
    return store.reviews.ask(item_id, at, due_at, who)


def answer(store, item_id="v1", at=NOW + HOUR, outcome="changed", audit=()):
    return store.reviews.answer(item_id, outcome, 1, at, "moderation", audit)


def test_who_asks_again_gets_the_open_review(store):
    first = ask(store)
    assert (first.item_id, first.asked_at, first.asked_by, first.due_at) == ("v1", NOW, "platform", DUE)
    assert ask(store, at=NOW + DAY, who="other") == first
    assert ask(store, "v2").seq > first.seq
    assert store.reviews.waiting(0, 10) == (first, store.reviews.latest(["v2"])["v2"])


def test_an_answer_closes_it_with_what_it_tells_in_the_log(store):
    opened = ask(store)
    entry = audit_entry(NOW, "moderation", "review", item_id="v1")
    answered = answer(store, audit=[entry])
    assert (answered.seq, answered.outcome, answered.tier, answered.answered_at, answered.answered_by) == (
        opened.seq, "changed", 1, NOW + HOUR, "moderation",
    )  # fmt: skip
    assert store.reviews.latest(["v1", "v2"]) == {"v1": answered}
    assert store.reviews.waiting(0, 10) == ()
    assert answer(store, audit=[entry]) is None and answer(store, "nothing", audit=[entry]) is None
    assert [audited.entry for audited in store.audit.page(0, 0, 10)] == [entry]  # once


def test_after_an_answer_another_review_can_be_opened(store):
    ask(store)
    first = answer(store)
    second = ask(store, at=NOW + DAY)
    assert second.seq > first.seq and second.answered_at is None
    assert store.reviews.latest(["v1"]) == {"v1": second}


def test_answers_are_counted_as_in_time_or_late(store):
    for n in range(4):
        ask(store, f"v{n}")
    answer(store, "v0", at=DUE)
    answer(store, "v1", at=DUE + 1)
    assert store.reviews.counts(DUE) == ReviewCounts(open=2, overdue=0, answered=2, answered_in_time=1)
    assert store.reviews.counts(DUE + 1) == ReviewCounts(open=2, overdue=2, answered=2, answered_in_time=1)


def test_pages_of_the_queue_hold_every_open_review_once(store):
    opened = [ask(store, f"v{n}") for n in range(25)]
    answer(store, "v7")
    read, after = [], 0
    while page := store.reviews.waiting(after, 10):
        read += page
        after = page[-1].seq
    assert read == [review for review in opened if review.item_id != "v7"]


def test_an_open_review_never_gets_too_old_and_an_answered_one_does(store):
    ask(store, "v1")
    ask(store, "v2")
    answer(store, "v2", at=NOW)
    store.prune(NOW + AUDIT_RETENTION_MS)
    assert set(store.reviews.latest(["v1", "v2"])) == {"v1", "v2"}
    store.prune(NOW + AUDIT_RETENTION_MS + 1)
    assert set(store.reviews.latest(["v1", "v2"])) == {"v1"}
