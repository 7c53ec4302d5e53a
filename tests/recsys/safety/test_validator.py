import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, HOUR
from recsys.feed.slate import delivered
from recsys.policy.limits import Limits, Windows
from recsys.safety.copies import distinct
from recsys.safety.validator import violations
from recsys.user.state import Delivery, Ledger

AT = 1_800_000_000_000
R2_ADULT = Limits(windows={"R2": Windows(last_20=2, session=3, rolling_24h=6, rolling_7d=21)}, gaps={"R2": 6})


def item(n: int, **kind: object) -> Delivery:
    return Delivery(**({"at": AT, "item_no": n, "creator_no": n} | kind))


def plain(n: int, first: int = 0) -> list[Delivery]:
    return [item(first + k) for k in range(n)]


def rules(found) -> list[tuple[int, str, str, int, int]]:
    return [(v.position, v.rule, v.window, v.found, v.allowed) for v in found]


def test_a_page_of_plain_items_breaks_nothing():
    assert violations(Ledger(), plain(20), R2_ADULT, at=AT) == ()


def test_the_third_r2_of_20_is_one_too_many():
    """R2 at positions 1, 8 and 15, gap 6 between: the third in a run of 20."""
    page = [item(n, tier=2 if n in (0, 7, 14) else 0, family=n % 3 if n in (0, 7, 14) else -1) for n in range(20)]
    assert rules(violations(Ledger(), page, R2_ADULT, at=AT)) == [(15, "cap:R2", "last_20", 3, 2)]


@pytest.mark.parametrize(("between", "found"), [(18, [(20, "cap:R1", "last_20", 2, 1)]), (19, [])])
def test_a_run_is_20_deliveries_long_with_both_ends(between, found):
    limits = Limits(windows={"R1": Windows(last_20=1)})
    page = [item(0, tier=1), *plain(between, 1), item(99, tier=1)]
    assert rules(violations(Ledger(), page, limits, at=AT)) == found


def test_the_run_of_20_and_the_gap_go_on_across_pages():
    """The last delivery of the page before was R2: five plain ones are one too few."""
    before = Ledger(last=(*plain(30, 100), item(99, tier=2, at=AT - 1)), session_started_at=AT)
    page = [*plain(5), item(5, tier=2)]
    assert rules(violations(before, page, R2_ADULT, at=AT)) == [(6, "gap:R2", "gap", 5, 6)]
    assert violations(before, [*plain(6), item(6, tier=2)], R2_ADULT, at=AT) == ()


def test_an_entry_exactly_24_hours_old_still_counts_and_an_older_one_does_not():
    limits = Limits(windows={"R1": Windows(rolling_24h=1)})
    page = [item(1, tier=1)]
    old = Ledger(capped={"R1": (AT - DAY,)}, session_started_at=AT)
    assert rules(violations(old, page, limits, at=AT)) == [(1, "cap:R1", "rolling_24h", 2, 1)]
    assert violations(old, page, limits, at=AT + 1) == ()


def test_an_entry_exactly_7_days_old_still_counts():
    limits = Limits(windows={"S4": Windows(rolling_7d=1)})
    old = Ledger(capped={"S4": (AT - 7 * DAY,)}, session_started_at=AT)
    page = [item(1, is_s4=True)]
    assert rules(violations(old, page, limits, at=AT)) == [(1, "cap:S4", "rolling_7d", 2, 1)]
    assert violations(old, page, limits, at=AT + 1) == ()


def test_a_session_counts_from_its_first_instant():
    limits = Limits(windows={"R2": Windows(session=1)})
    page = [item(1, tier=2)]
    inside = Ledger(capped={"R2": (AT - HOUR,)}, session_started_at=AT - HOUR)
    before = Ledger(capped={"R2": (AT - HOUR,)}, session_started_at=AT - HOUR + 1)
    assert rules(violations(inside, page, limits, at=AT)) == [(1, "cap:R2", "session", 2, 1)]
    assert violations(before, page, limits, at=AT) == ()


def test_a_clock_that_went_back_frees_nothing_and_binds_nothing_more():
    limits = Limits(windows={"R2": Windows(rolling_24h=1)})
    page = [item(1, tier=2)]
    ledger = Ledger(capped={"R2": (AT - DAY,)}, session_started_at=AT, active_at=AT)
    assert len(violations(ledger, page, limits, at=AT - 2 * DAY)) == 1
    assert violations(Ledger(capped={"R2": (AT - DAY - 1,)}, active_at=AT), page, limits, at=AT - DAY) == ()


def test_r1_and_r2_together_have_a_cap_of_their_own():
    limits = Limits(windows={"R1+R2": Windows(rolling_24h=3)})
    before = Ledger(capped={"R1": (AT - HOUR,), "R2": (AT - 2 * HOUR,)}, session_started_at=AT)
    page = [item(1, tier=1), item(2), item(3, tier=2)]
    assert rules(violations(before, page, limits, at=AT)) == [(3, "cap:R1+R2", "rolling_24h", 4, 3)]


@pytest.mark.parametrize(("cap", "allowed"), [(1, 1), (2, 1), (3, 2), (6, 3), (21, 11)])
def test_one_family_may_fill_half_of_a_cap_rounded_up(cap, allowed):
    limits = Limits(windows={"R2": Windows(rolling_7d=cap)})
    page = [item(n, tier=2, family=1) for n in range(allowed + 1)]
    found = [v for v in violations(Ledger(), page, limits, at=AT) if v.rule == "cap:R2:body"]
    assert [(v.position, v.found, v.allowed) for v in found] == [(allowed + 1, allowed + 1, allowed)]


@pytest.mark.parametrize("tier", [3, 4])
def test_r3_and_r4_are_never_served_even_when_the_limits_forget_them(tier):
    assert "blocked_tier" in [v.rule for v in violations(Ledger(), [item(1, tier=tier)], Limits(), at=AT)]


@pytest.mark.parametrize("tier", [2, 3, 4])
def test_whatever_was_raised_above_r2_after_delivery_counts_as_r2(tier):
    before = Ledger(last=(item(99, tier=tier, at=AT - 1),), session_started_at=AT)
    assert [v.rule for v in violations(before, [item(1, tier=2)], R2_ADULT, at=AT)] == ["gap:R2"]


def test_a_history_over_its_cap_is_no_violation_until_something_is_added():
    many = tuple(AT - n for n in range(9, 0, -1))
    before = Ledger(capped={"R2": many}, last=tuple(item(n, tier=2, at=AT - 1) for n in range(9)), session_started_at=1)
    assert violations(before, plain(20, 100), R2_ADULT, at=AT) == ()
    added = {v.window for v in violations(before, [item(100, tier=2)], R2_ADULT, at=AT)}
    assert added == {"last_20", "gap", "session", "rolling_24h"}


def test_times_that_the_ledger_lost_but_its_last_deliveries_show_still_count():
    limits = Limits(windows={"R2": Windows(rolling_24h=1)})
    before = Ledger(last=(item(99, tier=2, at=AT - HOUR),), session_started_at=AT)
    assert rules(violations(before, [item(1, tier=2)], limits, at=AT)) == [(1, "cap:R2", "rolling_24h", 2, 1)]


def test_a_creator_comes_at_most_so_often_in_20():
    limits = Limits(creator_last_20=2)
    page = [item(n, creator_no=7 if n in (0, 9, 19) else 100 + n) for n in range(20)]
    assert rules(violations(Ledger(), page, limits, at=AT)) == [(20, "creator_spacing", "last_20", 3, 2)]
    page = [item(n, creator_no=7 if n in (0, 9, 20) else 100 + n) for n in range(21)]
    assert violations(Ledger(), page, limits, at=AT) == ()


def test_the_same_item_twice_on_a_page_is_refused():
    found = violations(Ledger(), [item(1), item(1)], Limits(), at=AT)
    assert [(v.position, v.rule) for v in found] == [(2, "duplicate")]


def test_a_copy_after_what_it_copies_is_refused_and_one_before_it_is_not():
    for page, expected in (([1, 7, 2], [(3, "duplicate")]), ([2, 7, 1], [])):
        found = violations(Ledger(), [item(n) for n in page], Limits(), at=AT, copies={(2, 1), (7, 9)})
        assert [(v.position, v.rule) for v in found] == expected


def test_what_was_seen_before_is_refused():
    found = violations(Ledger(), plain(3), Limits(), at=AT, seen={1, 77})
    assert [(v.position, v.rule) for v in found] == [(2, "seen")]


@pytest.mark.parametrize(
    ("kind", "limits", "rule"),
    [
        ({"tier": 1}, Limits(blocked_tiers=frozenset({1})), "blocked_tier"),
        ({"topics": 0b1000}, Limits(blocked_topics=frozenset({"S4"})), "blocked_topic"),
        ({"tier": 2, "family": 0}, Limits(blocked_families=frozenset({"despair"})), "blocked_family"),
        ({"tier": 2, "family": 4}, Limits(labelled_only=True), "unlabelled"),
    ],
)
def test_what_a_layer_blocks_is_refused(kind, limits, rule):
    assert [v.rule for v in violations(Ledger(), [item(1, **kind)], limits, at=AT)] == [rule]
    assert violations(Ledger(), [item(1, **kind)], Limits(), at=AT) == ()


def test_a_minor_never_sees_an_unlabelled_item_whatever_the_limits_say():
    page = [item(1, tier=2, family=4)]
    assert [v.rule for v in violations(Ledger(), page, Limits(), at=AT, is_minor=True)] == ["unlabelled"]


def test_a_sentence_names_position_window_found_and_allowed():
    limits = Limits(windows={"R2": Windows(session=0)})
    assert violations(Ledger(), [item(1, tier=2)], limits, at=AT)[0].sentence == (
        "position 1 is number 1 of R2 in the window session, expected at most 0"
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_validator_and_the_dumb_recount_blame_the_same_pages(somebody, make_candidates, dumb_recount, policy, seed):
    """Pages put together at random, without any selector, break a rule in one count if and only if in the other."""
    rng, person = np.random.default_rng(seed), somebody()
    limits = policy.limits["18+", int(rng.integers(0, 2)), False]
    for page in range(4):
        person.wait(int(rng.choice([0, HOUR, DAY])))
        candidates = make_candidates(rng, 60, 1_000 * page, 200)
        alone = np.fromiter(distinct(candidates.columns, range(len(candidates))), np.intp)
        chosen = delivered(candidates, rng.permutation(alone)[: int(rng.integers(1, 6))], person.at)
        found = violations(person.ledger, chosen, limits, at=person.at)
        before = len(dumb_recount(person.history))
        person.take(chosen, limits)
        assert (len(dumb_recount(person.history)) > before) == bool(found)
