"""Screen time: what ends a page, what an answer changes, and that no answer opens what a guardian closed."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, HOUR, MINUTE, from_text, to_text
from recsys.messages import MAX_SIZE, PauseChoice
from recsys.policy.effective import guardian_limits, person_limits
from recsys.policy.limits import meet
from recsys.policy.nights import is_night
from recsys.policy.schema import SessionRules
from recsys.safety.ledger import active_minutes, touch, under_budget_at
from recsys.safety.screen_time import PauseContext, apply_choice, break_after, pause_for
from recsys.user.state import Controls, Guardian, Ledger, PersonState, SafetyState, Span, UserState

DAYTIME = from_text("2026-06-21T14:00:00Z")
RULES = SessionRules()


def used(minutes: float, *, at: int = DAYTIME, session_n: int = 0, **person: object) -> UserState:
    """Somebody who has been active for so many minutes until `at`, in one session."""
    start = at - int(minutes * MINUTE)
    ledger = Ledger(
        session_started_at=start, active_at=at, active=(Span(start=start, end=at),), session_n=session_n
    )  # fmt: skip
    return UserState(person=PersonState(**person), safety=SafetyState(ledger=ledger))


@pytest.fixture
def moment(policy):
    """`moment(band, state, at)`: what the engine would pass."""

    def build(band: str, state: UserState, at: int = DAYTIME) -> PauseContext:
        limits = meet(
            policy.limits[band, 0, False],
            guardian_limits(state.person.guardian),
            person_limits(state.person.controls, personalised=True),
        )
        night = is_night(at, (policy.zone,), limits.night)
        return PauseContext(market=policy.market, zones=(policy.zone,), band=band, limits=limits, is_night=night, at=at)

    return build


def kind(state: UserState, moment: PauseContext, choice: PauseChoice | None = None) -> str | None:
    pause = pause_for(state, choice, moment)[1].pause
    return None if pause is None else pause.kind


# Soft stops


@pytest.mark.parametrize(
    ("band", "session_n", "most"),
    [
        ("18+", 0, MAX_SIZE),
        ("18+", 19, MAX_SIZE),
        ("16-17", 0, 20),
        ("16-17", 13, 7),
        ("13-15", 19, 1),
        ("13-15", 20, 20),
    ],
)
def test_a_page_of_a_minor_ends_at_the_soft_stop(moment, band, session_n, most):
    state = used(1, session_n=session_n)
    gate = pause_for(state, None, moment(band, state))[1]
    assert (gate.pause, gate.most) == (None, most)


@pytest.mark.parametrize(
    ("before", "after", "at"), [(0, 20, 20), (13, 20, 20), (0, 19, None), (20, 39, None), (15, 45, 40)]
)
def test_every_20_deliveries_there_is_a_break(market, before, after, at):
    start = DAYTIME - HOUR
    ledgers = [Ledger(session_started_at=start, session_n=n) for n in (before, after)]
    pause = break_after(*ledgers, market, is_capped=False)
    assert (pause and pause.pause_id) == (f"break-{start}-{at}" if at else None)
    if pause:
        assert (pause.kind, pause.until, pause.needs_choice) == ("break", None, False)
        assert set(pause.text) >= {"ary", "ar", "fr", "en"}


def test_a_page_that_caps_made_short_ends_in_a_break(moment, market):
    state = used(10, session_n=13)
    ledger = state.safety.ledger
    pause = break_after(ledger, ledger, market, is_capped=True)
    assert (pause.kind, pause.pause_id) == ("break", f"break-{DAYTIME - 10 * MINUTE}-13")
    choice = PauseChoice(pause_id=pause.pause_id, choice="stop")
    assert kind(state, moment("18+", state), choice) == "break"


def test_a_stop_at_a_break_holds_until_the_session_is_over(moment):
    state = used(10, session_n=20)
    pause_id = f"break-{DAYTIME - 10 * MINUTE}-20"
    state, gate = pause_for(state, PauseChoice(pause_id=pause_id, choice="stop"), moment("18+", state))
    assert (gate.most, gate.pause.pause_id, gate.pause.until) == (0, pause_id, to_text(DAYTIME + 30 * MINUTE))
    assert kind(state, moment("18+", state, DAYTIME + 30 * MINUTE - 1)) == "break"
    assert kind(state, moment("18+", state, DAYTIME + 30 * MINUTE)) is None
    assert kind(state, moment("18+", state), PauseChoice(pause_id=pause_id, choice="continue")) is None


# Budgets


@pytest.mark.parametrize("band", ["under_13", "13-15", "16-17"])
def test_after_60_minutes_a_minor_needs_an_active_choice(moment, band):
    under, over = used(60 - 1 / 60), used(60)
    assert kind(under, moment(band, under)) is None
    state, gate = pause_for(over, None, moment(band, over))
    assert (gate.most, gate.pause.kind, gate.pause.needs_choice) == (0, "budget", True)
    # the first minute of the 60 is a day old one millisecond after 13:00 tomorrow
    assert gate.pause.until == to_text(DAYTIME + 23 * HOUR + 1)
    choice = PauseChoice(pause_id=gate.pause.pause_id, choice="continue")
    state, gate = pause_for(state, choice, moment(band, state))
    assert (gate.pause, gate.most) == (None, 20)
    assert kind(state, moment(band, state)) is None  # remembered for the session


def test_a_new_session_asks_again(moment):
    state = used(60)
    pause_id = pause_for(state, None, moment("13-15", state))[1].pause.pause_id
    state, _ = pause_for(state, PauseChoice(pause_id=pause_id, choice="continue"), moment("13-15", state))
    later = DAYTIME + HOUR
    ledger = touch(state.safety.ledger, later, RULES)
    state = msgspec.structs.replace(state, safety=SafetyState(ledger=ledger))
    gate = pause_for(state, PauseChoice(pause_id=pause_id, choice="continue"), moment("13-15", state, later))[1]
    assert gate.pause.kind == "budget" and gate.pause.pause_id != pause_id


def test_an_adult_has_the_budget_they_set_and_no_other(moment):
    free, own = used(600), used(30, controls=Controls(daily_minutes=30))
    assert kind(free, moment("18+", free)) is None
    assert kind(own, moment("18+", own)) == "budget"
    wide = used(60, controls=Controls(daily_minutes=300))
    assert kind(wide, moment("13-15", wide)) == "budget"  # a minor's own budget does not widen the band's


def test_a_stop_outlives_the_session_and_only_its_own_answer_lifts_it(moment):
    state = used(60)
    pause_id = pause_for(state, None, moment("13-15", state))[1].pause.pause_id
    state, gate = pause_for(state, PauseChoice(pause_id=pause_id, choice="stop"), moment("13-15", state))
    until = DAYTIME + 23 * HOUR + 1
    assert (gate.most, gate.pause.until, gate.pause.needs_choice) == (0, to_text(until), True)
    later = from_text("2026-06-22T09:00:00Z")
    ledger = touch(state.safety.ledger, later, RULES)
    state = msgspec.structs.replace(state, safety=SafetyState(ledger=ledger))
    assert pause_for(state, None, moment("13-15", state, later))[1].pause.pause_id == pause_id
    other = PauseChoice(pause_id=f"budget-{later}", choice="continue")
    assert kind(state, moment("13-15", state, later), other) == "budget"
    lifted, _ = pause_for(state, PauseChoice(pause_id=pause_id, choice="continue"), moment("13-15", state, later))
    assert lifted.safety.ledger.stopped == ("", 0)
    assert kind(state, moment("18+", state, until)) is None


# Guardian


def test_a_guardians_limit_gives_an_empty_page_that_no_answer_opens(moment):
    state = used(20, guardian=Guardian(daily_minutes=20))
    now = moment("13-15", state)
    pause = pause_for(state, None, now)[1].pause
    assert (pause.kind, pause.needs_choice, pause.until) == (
        "guardian",
        False,
        to_text(DAYTIME + DAY - 20 * MINUTE + 1),
    )
    for choice in ("continue", "stop"):
        after, gate = pause_for(state, PauseChoice(pause_id=pause.pause_id, choice=choice), now)
        assert after == state and gate.most == 0 and gate.pause.kind == "guardian"
    zero = used(0, guardian=Guardian(daily_minutes=0))
    assert pause_for(zero, None, moment("18+", zero))[1].pause.until is None


def test_a_guardians_limit_comes_before_a_stop(moment):
    state = used(60, guardian=Guardian(daily_minutes=60))
    ledger = msgspec.structs.replace(state.safety.ledger, stopped=("night-1", DAYTIME + HOUR))
    state = msgspec.structs.replace(state, safety=SafetyState(ledger=ledger))
    assert kind(state, moment("13-15", state)) == "guardian"


# Night, with real dates


@pytest.mark.parametrize(
    ("instant", "until"),
    [
        ("2026-06-21T21:00:00Z", "2026-06-22T06:00:00.000Z"),  # 22:00 to 07:00 at UTC+1
        ("2026-06-21T20:59:59Z", None),
        ("2026-02-14T21:00:00Z", "2026-02-15T07:00:00.000Z"),  # into Ramadan: that night has ten hours
        ("2026-03-21T22:00:00Z", "2026-03-22T06:00:00.000Z"),  # out of it: 22:00 at UTC+0 to 07:00 at UTC+1
        ("2026-03-21T21:30:00Z", None),
    ],
)
def test_at_night_a_minor_needs_an_active_choice(moment, instant, until):
    at = from_text(instant)
    state = used(1, at=at)
    pause = pause_for(state, None, moment("16-17", state, at))[1].pause
    assert (pause and (pause.kind, pause.needs_choice, pause.until)) == (("night", True, until) if until else None)
    assert kind(state, moment("18+", state, at)) is None
    if pause:
        choice = PauseChoice(pause_id=pause.pause_id, choice="continue")
        assert kind(state, moment("16-17", state, at), choice) is None
        stopped = apply_choice(state, PauseChoice(pause_id=pause.pause_id, choice="stop"), moment("16-17", state, at))
        assert stopped.safety.ledger.stopped == (pause.pause_id, from_text(until))


def test_budget_and_night_each_want_their_own_answer(moment):
    at = from_text("2026-06-21T22:00:00Z")
    state = used(60, at=at)
    now = moment("13-15", state, at)
    for expected in ("budget", "night"):
        pause = pause_for(state, None, now)[1].pause
        assert pause.kind == expected
        state, _ = pause_for(state, PauseChoice(pause_id=pause.pause_id, choice="continue"), now)
    assert pause_for(state, None, now)[1].pause is None


# Answers


@given(
    st.sampled_from(["break", "budget", "night", "guardian"]), st.sampled_from(["continue", "stop"]), st.integers(0, 50)
)
@settings(deadline=None)
def test_an_answer_to_a_pause_that_does_not_hold_changes_nothing(policy, pause, choice, n):
    """Nobody can answer ahead: of the next break, of tonight, or of a session to come."""
    state = used(10, session_n=n % 20)
    limits = policy.limits["13-15", 0, False]
    now = PauseContext(
        market=policy.market, zones=(policy.zone,), band="13-15", limits=limits, is_night=False, at=DAYTIME
    )
    start = state.safety.ledger.session_started_at
    for pause_id in (f"{pause}-{start}", f"{pause}-{start}-20", f"{pause}-{start + n}", pause, ""):
        assert apply_choice(state, PauseChoice(pause_id=pause_id, choice=choice), now) == state


def test_pauses_are_the_same_when_asked_twice(moment):
    state = used(60)
    assert pause_for(state, None, moment("13-15", state)) == pause_for(state, None, moment("13-15", state))


def test_texts_are_the_markets(moment):
    state = used(60)
    now = moment("13-15", state)
    other = replace(now, market=replace(now.market, pauses={**now.market.pauses, "budget": {"fr": "Stop ?"}}))
    assert pause_for(state, None, other)[1].pause.text == {"fr": "Stop ?"}


# The end of a budget


@given(
    st.lists(st.tuples(st.integers(1, 3 * HOUR), st.integers(1, 40 * MINUTE)), min_size=1, max_size=8),
    st.integers(0, 90),
)
@settings(deadline=None)
def test_a_budget_is_free_again_exactly_then(gaps, minutes):
    """A millisecond before, as many minutes or more lie in the last 24 hours; then fewer."""
    spans, at = [], DAYTIME
    for gap, length in gaps:
        spans.append(Span(start=at + gap, end=at + gap + length))
        at += gap + length
    ledger = Ledger(active=tuple(spans), active_at=at)
    free = under_budget_at(ledger, minutes, at)
    if free is None:
        assert minutes == 0
    elif free == at:
        assert active_minutes(ledger, at) < minutes
    else:
        assert active_minutes(ledger, free) < minutes <= active_minutes(ledger, free - 1)
