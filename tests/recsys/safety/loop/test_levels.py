"""The levels of the loop breaker: what raises them, and that only clean days loosen them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from recsys.clock import DAY, HOUR, MINUTE, SECOND, from_text
from recsys.policy.limits import is_at_least_as_strict
from recsys.safety.harm_terms import harm_terms_of
from recsys.safety.loop.levels import (
    describe_loop,
    expires_at,
    raise_for_calm_mode,
)
from recsys.safety.loop.signals import signals
from recsys.user.state import (
    Controls,
    Delivery,
    Guardian,
    Ledger,
    LoopState,
    PersonState,
    SafetyState,
    UserState,
)

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


TODAY = AT // DAY


PLACEHOLDER = harm_terms_of(["zzforbidden", "zz two words"])


def last(n_risky: int, n: int, tier: int = 1) -> Ledger:
    kinds = [tier] * n_risky + [0] * (n - n_risky)
    deliveries = tuple(Delivery(at=AT - HOUR, item_no=k, creator_no=k, tier=t) for k, t in enumerate(kinds))
    return Ledger(last=deliveries, session_started_at=AT, active_at=AT)


def nights(*minutes: float, before: int = 0) -> tuple[tuple[int, int], ...]:
    """Minutes on tonight (the night that AT belongs to) and the nights before it."""
    tonight = from_day("2026-09-21")
    return tuple((tonight - before - n, int(m * MINUTE)) for n, m in enumerate(minutes))


def from_day(day: str) -> int:
    return np.datetime64(day).astype(object).toordinal()


def test_calm_mode_raises_once_and_holds_level_1(someone):
    someone.state = raise_for_calm_mode(someone.state, "controls:1", AT)
    someone.state = raise_for_calm_mode(someone.state, "controls:1", AT)
    assert someone.loop.level == 1
    someone.state = msgspec.structs.replace(someone.state, person=PersonState(controls=Controls(calm_mode=True)))
    for _ in range(10):
        assert someone.page(0, wait=7 * DAY).loop.level == 1
    someone.state = msgspec.structs.replace(someone.state, person=PersonState())
    assert someone.page(0, wait=7 * DAY - 1).loop.level == 1  # the clean time starts when calm mode ends
    assert someone.page(0, wait=1).loop.level == 0


def test_a_guardians_calm_mode_holds_level_1(someone):
    someone.state = msgspec.structs.replace(someone.state, person=PersonState(guardian=Guardian(calm_mode=True)))
    assert someone.page(0).loop.level == 1
    assert [r.signal for r in someone.loop.reasons] == ["h"]


@pytest.mark.parametrize(("gaps", "level"), [((0, 0), 1), ((3, 4), 1), ((4, 4), 0), ((0,), 0)])
def test_negative_feedback_three_times_in_seven_days_is_repeated(someone, gaps, level):
    someone.tell("not_interested", 2)
    for days in gaps:
        someone.at += days * DAY
        someone.tell("not_interested", 2)
    assert someone.loop.level == level


def test_negative_feedback_counts_at_most_three_times_a_day(someone):
    """Ten in a day raise once; three more on the next day, after 24 hours and a moment, raise again."""
    for _ in range(10):
        someone.tell("not_interested", 2)
    assert someone.loop.level == 1
    someone.at += DAY
    assert someone.tell("not_interested", 2).loop.level == 1  # exactly 24 h old still counts
    someone.at += 1
    for level in (1, 1, 2):
        assert someone.tell("not_interested", 2).loop.level == level


@pytest.mark.parametrize(("from_tier", "item", "level"), [("R0", 1, 1), ("R1", 1, 0), ("R1", 2, 1), ("R2", 2, 0)])
def test_from_which_tier_on_negative_feedback_counts_is_the_markets_choice(someone, from_tier, item, level):
    """Item 1 is R0, item 2 is R1; three times in a week."""
    rules = replace(someone.loop_context.rules, not_interested_from=from_tier)
    someone.loop_context = replace(someone.loop_context, market=replace(someone.loop_context.market, loop=rules))
    for _ in range(3):
        someone.tell("not_interested", item)
    assert someone.loop.level == level


def test_one_session_raises_once_and_only_for_something_new(someone):
    """a and c raise in the first session; a and c again in the next are nothing new; d is."""
    risky = [1] * 5 + [0] * 15
    for _ in range(8):
        someone.page(*risky, wait=MINUTE)
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "c")
    someone.page(*risky, refusals=3)
    assert someone.loop.level == 1
    someone.page(0, wait=SECOND)
    assert someone.loop.level == 1  # the same session
    for _ in range(8):  # c falls with the new session, and comes again
        someone.page(*risky, wait=HOUR if _ == 0 else MINUTE)
    assert someone.loop.level == 1
    someone.page(0, wait=SECOND)
    assert someone.loop.level == 2  # c is new since the last raise: it was false in between


def test_a_second_pair_of_signals_waits_for_the_next_session(someone):
    """a and d raise; e, new in the same session, raises in the next one only."""
    narrow = LoopState(nights=nights(20, 20, 20), entropy=3.0, entropy_day=TODAY)
    someone.state = UserState(safety=SafetyState(ledger=last(10, 20), loop=narrow))
    assert someone.page(*[1] * 50, topics=1).loop.level == 1
    assert someone.page(wait=MINUTE).loop.level == 1
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "d", "e")
    assert someone.page(wait=HOUR).loop.level == 2


def test_days_with_two_true_signals_are_not_clean_though_they_raise_nothing(someone):
    """a and d hold from the raise on; a week later they still do, so the level stays, and so for 7 more days."""
    someone.state = UserState(safety=SafetyState(ledger=last(10, 20), loop=LoopState(nights=nights(20, 20, 20))))
    someone.page(1)
    someone.page(1, wait=4 * DAY)
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "d")
    assert someone.page(wait=7 * DAY - 1).loop.level == 1  # 11 days after the raise
    assert someone.page(wait=1).loop.level == 0


def test_negative_feedback_near_each_other_keeps_the_days_from_being_clean(someone):
    """The third one raises; a fourth, counted towards no raise of its own yet, renews the clean time."""
    for _ in range(3):
        someone.tell("not_interested", 2)
    someone.at += 6 * DAY
    assert someone.tell("not_interested", 2).loop.level == 1
    assert someone.page(wait=7 * DAY - 1).loop.level == 1
    assert someone.page(wait=1).loop.level == 0


def test_a_signal_that_stays_true_raises_nothing_again(someone):
    counted = SafetyState(ledger=last(10, 20), loop=LoopState(nights=nights(20, 20, 20)))
    someone.state = UserState(safety=counted)
    assert someone.page(1).loop.level == 1
    assert someone.page(1, wait=HOUR).loop.level == 1
    assert someone.loop.active_signals == ("a", "d")


def test_a_single_act_counts_beside_the_session_limit(someone):
    someone.tell("too_much", 1)
    someone.tell("too_much", 1)
    assert someone.loop.level == 2
    assert someone.tell("too_much", 1).loop.level == 2


@pytest.mark.parametrize(("band", "days"), [("18+", 7), ("16-17", 14), ("13-15", 14), ("under_13", 14)])
def test_each_clean_period_loosens_one_level_and_a_millisecond_less_none(new_someone, policy, band, days):
    someone = new_someone(band)
    someone.tell("too_much", 1).tell("too_much", 1)
    assert expires_at(someone.loop, policy.market.loop, is_minor=someone.loop_context.is_minor) == AT + days * DAY
    assert someone.page(0, wait=days * DAY - 1).loop.level == 2
    assert someone.page(0, wait=1).loop.level == 1
    assert someone.page(0, wait=days * DAY - 1).loop.level == 1
    assert someone.page(0, wait=1).loop.level == 0
    assert someone.loop.reasons == ()


def test_a_long_absence_is_clean(someone):
    someone.tell("too_much", 1).tell("too_much", 1)
    assert someone.page(0, wait=14 * DAY).loop.level == 0


def test_two_true_signals_keep_the_days_from_being_clean(someone):
    someone.tell("too_much", 1)
    someone.page(wait=6 * DAY)
    for _ in range(8):
        someone.page(*[1] * 5, *[0] * 15, wait=MINUTE)
    someone.page(0)  # a and c hold: raised, and the clean time starts here
    unclean = someone.at
    assert someone.loop.level == 2
    assert someone.page(*[0] * 50, wait=HOUR).loop.level == 2
    someone.at = unclean
    assert someone.page(wait=7 * DAY - 1).loop.level == 2
    assert someone.page(wait=1).loop.level == 1


def test_a_clock_that_goes_back_loosens_nothing(someone):
    someone.tell("too_much", 1)
    someone.at -= 30 * DAY
    assert someone.page(0).loop.level == 1
    someone.at = AT + 7 * DAY - 1
    assert someone.page(0).loop.level == 1


def test_an_undo_takes_nothing_back(someone):
    someone.tell("too_much", 1, event_id="x").tell("not_interested", 3, event_id="y")
    before = someone.loop
    someone.tell("undo", value="x").tell("undo", value="y")
    assert someone.loop == before


@pytest.mark.parametrize("band", ["18+", "16-17", "13-15", "under_13"])
@pytest.mark.parametrize("night", [False, True])
def test_a_higher_level_allows_nothing_that_a_lower_one_forbids(policy, band, night):
    """A gap between two of a kind that may not come at all says nothing, so it is left out."""
    for level in (0, 1):
        lower, higher = policy.limits[band, level, night], policy.limits[band, level + 1, night]
        none = {name for name, windows in higher.windows.items() if windows.last_20 == 0}
        gaps = {name: gap for name, gap in lower.gaps.items() if name not in none}
        assert is_at_least_as_strict(higher, replace(lower, gaps=gaps))


def test_the_person_sees_level_reasons_and_expiry(someone, market):
    someone.tell("too_much", 1).tell("not_interested", 3)
    told = describe_loop(someone.state, market, is_minor=False)
    assert told == {
        "level": 1,
        "reasons": [
            {"signal": "said_too_much", "text": "You said that it is too much", "at": "2026-09-21T14:00:00.000Z"}
        ],
        "expires_at": "2026-09-28T14:00:00.000Z",
        "topics_off": [
            {
                "name": "despair",
                "off_until": "2026-10-05T14:00:00.000Z",
                "reduced_until": "2027-02-22T14:00:00.000Z",
            }
        ],
    }
    assert describe_loop(UserState(), market, is_minor=True)["expires_at"] is None


def test_support_that_was_asked_for_is_due_until_it_was_given(someone):
    someone.tell("support_requested").tell("search", query="zzforbidden")
    assert someone.page(0).loop.cards_due == ("crisis", "support")
