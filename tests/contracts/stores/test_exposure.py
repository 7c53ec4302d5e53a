"""What `ExposureCounts` and `ControllerStore` promise: no names, and written with the page or not at all."""

from recsys.clock import DAY
from recsys.stores.protocols import DecisionRecord
from recsys.user.state import UserState

NOW = 1_780_000_000_000


def test_equal_counts_add_up_and_different_ones_stand_apart(store, make):
    make.commit_counts(
        store, make.count("c"), make.count("c", attribution="floor", n=2), make.count("d", is_local=False)
    )
    make.commit_counts(store, make.count("c", n=3), user_id="v")
    assert store.exposure.counts("c") == (make.count("c", attribution="floor", n=2), make.count("c", n=4))
    assert store.exposure.totals() == {"c": 6, "d": 1}
    assert store.exposure.counts("nobody") == ()
    assert store.exposure.counts() == (*store.exposure.counts("c"), *store.exposure.counts("d"))


def test_a_page_that_lost_the_race_counts_nothing(store, make):
    make.commit_counts(store, make.count("c"))
    lost = DecisionRecord(answer=make.page("u", "x").answer, deliveries=(), exposure=(make.count("c"),))
    assert not store.users.write_if("u", UserState(), 0, lost)
    assert store.exposure.totals() == {"c": 1}


def test_a_markets_local_share_is_counted_from_a_day_on(store, make):
    today = NOW // DAY
    make.commit_counts(
        store, make.count("c", n=3), make.count("d", n=5, is_local=False), make.count("c", n=7, day=today - 9)
    )
    make.commit_counts(store, make.count("c", n=11, country="FR"), user_id="v")
    assert store.exposure.local_deliveries("MA", today - 6) == (3, 8)
    assert store.exposure.local_deliveries("MA", 0) == (10, 15)
    assert store.exposure.local_deliveries("EG", 0) == (0, 0)


def test_erasing_a_person_leaves_what_names_nobody(store, make):
    make.commit_counts(store, make.count("c", n=2))
    store.users.erase("u", NOW, None)
    assert store.exposure.totals() == {"c": 2}


def test_old_days_become_one_and_nothing_is_lost(store, make):
    today = NOW // DAY
    make.commit_counts(store, *(make.count("c", day=today - age) for age in (0, 89, 90, 91, 200)))
    store.prune(NOW)
    assert [(t.day, t.n) for t in store.exposure.counts("c")] == [(0, 2), *((today - age, 1) for age in (90, 89, 0))]
    store.prune(NOW + DAY)
    assert store.exposure.counts("c")[0].n == 3
    assert store.exposure.totals() == {"c": 5}


def test_of_two_steps_from_one_state_the_first_wins(store):
    assert store.controllers.read("MA") is None
    assert store.controllers.replace("MA", None, b"one")
    assert not store.controllers.replace("MA", None, b"two")
    assert store.controllers.replace("MA", b"one", b"two") and store.controllers.replace("FR", None, b"three")
    assert (store.controllers.read("MA"), store.controllers.read("FR")) == (b"two", b"three")
