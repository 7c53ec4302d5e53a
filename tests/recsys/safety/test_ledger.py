from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, HOUR, MINUTE, SECOND
from recsys.errors import StageError
from recsys.policy.limits import Limits, Windows
from recsys.policy.schema import SessionRules
from recsys.safety.ledger import (
    MAX_SPANS,
    active_minutes,
    counters_of,
    counts,
    deliver,
    recount,
    remaining,
    room,
    server_time,
    times_of,
    touch,
)
from recsys.user.state import LAST, Delivery, Ledger, Span
from recsys.vocabulary import FAMILIES

RULES = SessionRules()
AT = 1_800_000_000_000
steps = st.lists(st.integers(0, 40 * MINUTE), min_size=1, max_size=60)
items = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4), st.booleans(), st.integers(0, 2 * DAY)), max_size=60)


def item(n: int, at: int = AT, **kind: object) -> Delivery:
    return Delivery(**({"at": at, "item_no": n, "creator_no": n} | kind))


def filled(kinds, at: int = AT) -> tuple[Ledger, list[Delivery]]:
    """A ledger after deliveries one by one, and all of them."""
    ledger, everything = Ledger(), []
    for n, (tier, family, is_s4, step) in enumerate(kinds):
        at += step
        ledger = touch(ledger, at, RULES)
        everything.append(item(n, at, tier=tier, family=family, is_s4=is_s4))
        ledger = deliver(ledger, everything[-1:], at)
    return ledger, everything


# Counters


@pytest.mark.parametrize(
    ("tier", "family", "is_s4", "names"),
    [
        (0, -1, False, ()),
        (0, -1, True, ("S4",)),
        (1, -1, False, ("R1", "R1+R2")),
        (1, 0, True, ("R1", "R1+R2", "S4")),
        (2, 0, False, ("R2", "R1+R2", "R2:despair")),
        (2, -1, False, ("R2", "R1+R2")),
        (2, 4, False, ("R2", "R1+R2", "R2:unlabelled")),
        (3, 1, False, ("R2", "R1+R2", "R2:body")),
        (4, -1, True, ("R2", "R1+R2", "S4")),
    ],
)
def test_what_a_delivery_counts_for(tier, family, is_s4, names):
    assert counters_of(tier, family, is_s4) == names


@given(kinds=items, later=st.integers(0, 8 * DAY))
@settings(max_examples=80, deadline=None)
def test_counts_are_those_of_everything_ever_delivered(kinds, later):
    ledger, everything = filled(kinds)
    at = ledger.active_at + later
    for counter in ("R1", "R2", "R1+R2", "S4", *(f"R2:{family}" for family in FAMILIES)):
        mine = [d.at for d in everything if counter in counters_of(d.tier, d.family, d.is_s4)]
        found = counts(ledger, counter, at)
        assert found.rolling_24h == sum(t >= at - DAY for t in mine)
        assert found.rolling_7d == sum(t >= at - 7 * DAY for t in mine)
        assert found.session == sum(t >= ledger.session_started_at for t in mine)


@given(kinds=items, steps=steps)
@settings(max_examples=60, deadline=None)
def test_a_count_drops_by_age_alone(kinds, steps):
    """At one and the same instant no further delivery, activity or recount lowers a rolling count."""
    ledger, everything = filled(kinds)
    at = ledger.active_at + sum(steps)
    before = {c: counts(ledger, c, at) for c in ("R1", "R2", "R1+R2", "S4")}
    for n, step in enumerate(steps):
        now = server_time(ledger, ledger.active_at + step)
        ledger = touch(ledger, now, RULES)
        ledger = deliver(ledger, [item(1_000 + n, now, tier=n % 3)], now)
        ledger = recount(ledger, everything, now, n)
    for counter, old in before.items():
        now = counts(ledger, counter, at)
        assert (now.rolling_24h >= old.rolling_24h, now.rolling_7d >= old.rolling_7d) == (True, True)


def test_an_entry_leaves_one_millisecond_after_24_hours_and_after_7_days():
    ledger = deliver(Ledger(), [item(1, tier=2)], AT)
    assert [counts(ledger, "R2", AT + DAY + late).rolling_24h for late in (0, 1)] == [1, 0]
    assert [counts(ledger, "R2", AT + 7 * DAY + late).rolling_7d for late in (0, 1)] == [1, 0]
    assert times_of(deliver(ledger, [], AT + 7 * DAY), "R2") == (AT,)
    assert times_of(deliver(ledger, [], AT + 7 * DAY + 1), "R2") == ()


def test_room_is_that_of_the_tightest_window_and_never_below_0():
    limits = Limits(windows={"R2": Windows(session=3, rolling_24h=2, rolling_7d=9)})
    ledger = touch(Ledger(), AT, RULES)
    assert [room(deliver(ledger, [item(k, tier=2) for k in range(n)], AT), limits, "R2", AT) for n in range(4)] == [
        2,
        1,
        0,
        0,
    ]
    assert room(ledger, limits, "R1", AT) > 1_000


def test_remaining_shows_every_window_that_is_set():
    limits = Limits(windows={"R2": Windows(last_20=2, session=3, rolling_24h=6, rolling_7d=21)})
    ledger = deliver(touch(Ledger(), AT, RULES), [item(1, tier=2, family=0)], AT)
    assert remaining(ledger, limits, "R2", AT) == {"last_20": 1, "session": 2, "rolling_24h": 5, "rolling_7d": 20}
    assert remaining(ledger, limits, "R2:despair", AT) == {
        "last_20": 0,
        "session": 1,
        "rolling_24h": 2,
        "rolling_7d": 10,
    }
    assert remaining(ledger, limits, "S4", AT) == {}


def test_only_the_last_50_deliveries_are_kept_one_by_one():
    ledger = deliver(Ledger(), [item(n) for n in range(70)], AT)
    assert [d.item_no for d in ledger.last] == list(range(70 - LAST, 70))
    assert ledger.n_delivered == 70


# The clock


def test_a_delivery_dated_before_the_ledger_is_refused():
    """It would leave its windows early, and would not count in the session."""
    ledger = touch(Ledger(), AT, RULES)
    with pytest.raises(StageError, match=r"expected none before 2027-01-15T08:00:00\.000Z; use server_time\(\)"):
        deliver(ledger, [item(1, AT - 5 * SECOND)], AT - 5 * SECOND)
    assert server_time(ledger, AT - 5 * SECOND) == AT
    assert server_time(ledger, AT + 1) == AT + 1


@given(back=st.integers(0, 30 * DAY), kinds=items)
@settings(max_examples=40, deadline=None)
def test_a_clock_that_goes_back_frees_no_window_and_ends_no_session(back, kinds):
    ledger, _ = filled(kinds)
    ledger = touch(ledger, AT + 200 * DAY, RULES)
    again = touch(ledger, ledger.active_at - back, RULES)
    at = server_time(again, ledger.active_at - back)
    assert at == ledger.active_at
    assert again.session_started_at == ledger.session_started_at
    assert all(counts(again, c, at) == counts(ledger, c, at) for c in ("R1", "R2", "S4"))


# Sessions and minutes


@pytest.mark.parametrize(("idle", "is_new"), [(30 * MINUTE, False), (30 * MINUTE + 1, True)])
def test_a_session_ends_after_more_than_30_idle_minutes(idle, is_new):
    ledger = touch(deliver(touch(Ledger(), AT, RULES), [item(1, tier=2)], AT), AT + idle, RULES)
    assert (ledger.session_started_at == AT + idle) == is_new
    assert ledger.session_n == (0 if is_new else 1)
    assert counts(ledger, "R2", AT + idle).session == (0 if is_new else 1)


def test_events_prolong_a_session_but_never_begin_one():
    assert touch(Ledger(), AT, RULES, starts=False) == Ledger()
    begun = touch(Ledger(), AT, RULES)
    prolonged = touch(begun, AT + 30 * MINUTE, RULES, starts=False)
    assert touch(prolonged, AT + 60 * MINUTE, RULES).session_started_at == AT
    assert touch(begun, AT + 31 * MINUTE, RULES, starts=False) == begun


def minutes_by_hand(times: list[int], at: int) -> float:
    """Every pause between two signs of activity counts up to 5 minutes, clipped to the last 24 hours."""
    pieces = [(a, min(b, a + 5 * MINUTE)) for a, b in pairwise(times)]
    return sum(max(0, min(b, at) - max(a, at - DAY)) for a, b in pieces) / MINUTE


@given(times=st.lists(st.integers(0, 3 * DAY), min_size=1, max_size=MAX_SPANS - 1))
@settings(max_examples=100, deadline=None)
def test_active_minutes_are_the_pauses_of_at_most_5_minutes_in_24_hours(times):
    ledger = Ledger()
    for time in sorted(times):
        ledger = touch(ledger, AT + time, RULES)
    assert active_minutes(ledger, ledger.active_at) == pytest.approx(
        minutes_by_hand([AT + time for time in sorted(times)], AT + max(times))
    )


@given(steps=st.lists(st.integers(MINUTE, 12 * MINUTE), min_size=150, max_size=200))
@settings(max_examples=20, deadline=None)
def test_many_short_visits_stay_in_32_spans_and_never_count_less(steps):
    ledger, times = touch(Ledger(), AT, RULES), [AT]
    for step in steps:
        times.append(times[-1] + step)
        ledger = touch(ledger, times[-1], RULES)
        assert len(ledger.active) <= MAX_SPANS
        assert active_minutes(ledger, times[-1]) >= minutes_by_hand(times, times[-1]) - 1e-9


def test_two_visits_an_hour_apart_count_5_minutes():
    ledger = touch(touch(Ledger(), AT, RULES), AT + HOUR, RULES)
    assert active_minutes(ledger, AT + HOUR) == 5
    assert ledger.active == (Span(start=AT, end=AT + 5 * MINUTE), Span(start=AT + HOUR, end=AT + HOUR))


# Re-labelling


@given(kinds=items, tiers=st.lists(st.integers(0, 4), min_size=60, max_size=60))
@settings(max_examples=80, deadline=None)
def test_a_recount_counts_every_delivery_at_its_tier_of_now_and_lowers_nothing(kinds, tiers):
    ledger, everything = filled(kinds)
    now = [msgspec.structs.replace(d, tier=max(d.tier, tiers[n])) for n, d in enumerate(everything)]
    after, at = recount(ledger, now, ledger.active_at, 7), ledger.active_at
    assert after.revision == 7
    for counter in ("R1", "R2", "S4", *(f"R2:{family}" for family in FAMILIES)):
        then = Counter(times_of(ledger, counter))
        due = Counter(d.at for d in now if counter in counters_of(d.tier, d.family, d.is_s4) and d.at >= at - 7 * DAY)
        assert (
            Counter(times_of(after, counter)) == then | due
        )  # each time as often as in the one that has it more often
    assert [d.tier for d in after.last] == [d.tier for d in now[-LAST:]]


@given(kinds=items)
@settings(max_examples=40, deadline=None)
def test_counting_again_with_the_same_labels_changes_nothing(kinds):
    ledger, everything = filled(kinds)
    at = ledger.active_at
    again = recount(ledger, everything, at, ledger.revision)
    assert recount(again, everything, at, ledger.revision) == again
    assert all(tuple(times_of(again, c)) == tuple(times_of(ledger, c)) for c in ("R1", "R2", "S4", "R1+R2"))


def test_a_raised_item_counts_where_it_was_delivered():
    """Delivered as R0 three hours ago, R3 since: one R2 more, three hours old."""
    ledger = deliver(touch(Ledger(), AT, RULES), [item(1), item(2)], AT)
    after = recount(ledger, [item(1, tier=3, family=0), item(2)], AT + 3 * HOUR, 1)
    assert after.capped == {"R2": (AT,), "R2:despair": (AT,)}
    assert [(d.item_no, d.tier, d.family) for d in after.last] == [(1, 3, 0), (2, 0, -1)]


def test_a_recount_that_knows_of_fewer_deliveries_forgets_none():
    """Two R1 of one page; only one is found again, and it is R2 now."""
    ledger = deliver(touch(Ledger(), AT, RULES), [item(1, tier=1), item(2, tier=1)], AT)
    after = recount(ledger, [item(2, tier=2, family=1)], AT + HOUR, 1)
    assert after.capped == {"R1": (AT, AT), "R2": (AT,), "R2:body": (AT,)}


# Size


def heavy_week(somebody, make_candidates, policy, n_days: int) -> list[int]:
    """Bytes of the ledger after each page of somebody who takes 200 items a day in twenty visits, mostly risk."""
    rng, person, sizes = np.random.default_rng(0), somebody(), []
    limits = policy.limits["18+", 0, False]
    for visit in range(20 * n_days):
        person.wait(47 * MINUTE if visit % 20 else 8 * HOUR)
        first = 3_000_000 + 200 * visit
        candidates = make_candidates(rng, 200, first, 900).with_columns(
            {"creator_no": rng.integers(2**31, 2**32, 200), "topics": np.full(200, 4095)}
        )
        person.scroll(candidates, limits, 10)
        sizes.append(len(msgspec.msgpack.encode(person.ledger)))
    return sizes


def test_the_ledger_of_a_heavy_user_stays_under_4_kb(somebody, make_candidates, policy):
    """1 KB = 1,024 bytes. 1,800 deliveries in nine days at every cap."""
    sizes = heavy_week(somebody, make_candidates, policy, 9)
    assert max(sizes) < 4 * 1024
