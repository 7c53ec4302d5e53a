"""The age band and the limits of one person: never looser than any layer; the night binds unless an adult opted out."""

import itertools
from dataclasses import replace

import msgspec
import pytest

from recsys.clock import from_text
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.effective import (
    effective_band,
    effective_limits,
    guardian_limits,
    must_keep_nights,
    person_limits,
    personal_limits,
)
from recsys.policy.limits import Limits, is_at_least_as_strict, meet
from recsys.user.state import (
    Controls,
    Guardian,
    InteractionHistory,
    LoopState,
    PersonState,
    Profile,
    SafetyState,
    UserState,
)
from recsys.vocabulary import EFFECTIVE_BANDS

NOON = from_text("2026-07-01T11:00:00Z")
MIDNIGHT = from_text("2026-07-01T23:00:00Z")
IN_PARIS_ONLY = from_text("2026-07-01T20:30:00Z")  # 22:30 there, 21:30 in Casablanca
EVENING = Guardian(night=((20 * 60, 8 * 60),))


def somebody(level: int = 0, guardian: Guardian | None = None, hidden: tuple[str, ...] = (), **controls) -> UserState:
    return UserState(
        person=PersonState(controls=Controls(**controls), guardian=guardian),
        safety=SafetyState(loop=LoopState(level=level)),
        interactions=InteractionHistory(hidden=tuple((creator, f"e-{creator}") for creator in hidden)),
    )


def test_personal_limits_are_those_of_the_guardian_the_person_and_what_they_hid():
    state = somebody(guardian=Guardian(daily_minutes=30), hidden=("c1",), daily_minutes=45, muted_topics=("S8",))
    limits = personal_limits(state, Profile(), personalised=True)
    assert (limits.daily_minutes, limits.blocked_topics, limits.blocked_creators) == (30, {"S8"}, {"c1"})
    assert not limits.non_personalised


def test_nobody_who_set_nothing_is_limited():
    assert personal_limits(UserState(), Profile(), personalised=True) == Limits()


@pytest.mark.parametrize(
    ("asked", "consent", "control"), [(False, None, True), (True, False, True), (True, None, False)]
)
def test_one_no_is_enough_against_personalisation(asked, consent, control):
    state = somebody(personalised=control)
    assert personal_limits(state, Profile(consent=consent), personalised=asked).non_personalised


@pytest.mark.parametrize(("band", "level", "at"), list(itertools.product(EFFECTIVE_BANDS, (0, 1, 2), (NOON, MIDNIGHT))))
def test_no_layer_is_ever_loosened(policy: CompiledPolicy, band, level, at):
    personal = Limits(daily_minutes=10, blocked_topics=frozenset({"S2"}), supportive_floor=0.9)
    effective = effective_limits(policy, somebody(level), personal, band, None, at)
    layers = [layer for _, layer in policy.layers(band, level, effective.is_bound_by_night)]
    assert all(is_at_least_as_strict(effective.limits, layer) for layer in (*layers, personal))
    assert effective.limits == meet(*layers, personal)


def test_the_night_binds_whoever_may_not_switch_it_off(policy):
    by_night = policy.limits["13-15", 0, True]
    state = somebody(night_rules=False)
    effective = effective_limits(policy, state, Limits(), "13-15", None, MIDNIGHT)
    assert (effective.limits, effective.is_night, effective.is_bound_by_night) == (by_night, True, True)


def test_an_adult_may_switch_the_night_off_and_it_is_night_all_the_same(policy):
    effective = effective_limits(policy, somebody(night_rules=False), Limits(), "18+", None, MIDNIGHT)
    assert (effective.is_night, effective.is_bound_by_night) == (True, False)
    assert effective.limits == policy.limits["18+", 0, False]
    assert effective_limits(policy, somebody(), Limits(), "18+", None, MIDNIGHT).is_bound_by_night


def test_a_guardians_night_cannot_be_switched_off(policy):
    state = somebody(guardian=EVENING, night_rules=False)
    personal = personal_limits(state, Profile(), personalised=True)
    effective = effective_limits(policy, state, personal, "18+", None, from_text("2026-07-01T19:30:00Z"))
    assert effective.is_night and effective.is_bound_by_night
    assert must_keep_nights(policy, state.person, "18+")


def test_another_country_adds_its_night(policy):
    at_home, abroad = (
        effective_limits(policy, UserState(), Limits(), "16-17", country, IN_PARIS_ONLY) for country in (None, "FR")
    )
    assert (at_home.is_night, abroad.is_night) == (False, True)
    assert abroad.limits == policy.limits["16-17", 0, True]


def test_a_higher_loop_level_never_admits_more(policy):
    """Gaps aside: level 2 closes R2, and then says nothing of its gap."""
    for band, at in itertools.product(EFFECTIVE_BANDS, (NOON, MIDNIGHT)):
        levels = [effective_limits(policy, somebody(n), Limits(), band, None, at).limits for n in (0, 1, 2)]
        caps = [replace(limits, gaps={}) for limits in levels]
        assert all(is_at_least_as_strict(higher, lower) for lower, higher in itertools.pairwise(caps))


def test_the_state_is_only_read(policy):
    state = somebody(1, guardian=EVENING)
    packed = msgspec.msgpack.encode(state)
    effective_limits(policy, state, personal_limits(state, Profile(), personalised=True), "18+", "FR", MIDNIGHT)
    assert msgspec.msgpack.encode(state) == packed


@pytest.mark.parametrize(
    ("stored", "source", "given", "band"),
    [
        (None, "none", None, "13-15"),
        (None, "none", "18+", "13-15"),
        ("18+", "none", None, "13-15"),
        ("18+", "declared", None, "13-15"),
        ("18+", "declared", "18+", "13-15"),
        ("18+", "verified", None, "18+"),
        ("18+", "verified", "18+", "18+"),
        ("18+", "verified", "16-17", "16-17"),
        ("18+", "verified", "unknown", "13-15"),
        ("18+", "verified", "under_13", "under_13"),
        ("16-17", "verified", "18+", "16-17"),
        ("16-17", "declared", None, "13-15"),
        ("13-15", "verified", "18+", "13-15"),
        ("unknown", "verified", None, "13-15"),
        ("under_13", "none", "18+", "under_13"),
        ("under_13", "declared", None, "under_13"),
        ("under_13", "verified", "unknown", "under_13"),
    ],
)
def test_the_band_that_counts_is_the_stricter_one(market, stored, source, given, band):
    assert effective_band(market, stored=stored, source=source, given=given) == band


@pytest.mark.parametrize(("stored", "band"), [("18+", "18+"), ("16-17", "13-15"), (None, "13-15")])
def test_where_a_market_trusts_declarations_a_declared_adult_is_one(market, stored, band):
    trusting = replace(market, trust_declared_age=True)
    assert effective_band(trusting, stored=stored, source="declared", given=None) == band


def test_a_guardian_only_blocks_and_lowers():
    limits = guardian_limits(Guardian(daily_minutes=30, night=((20 * 60, 8 * 60),), max_tier="R1", labelled_only=True))
    assert (limits.daily_minutes, limits.blocked_tiers, limits.labelled_only) == (30, {2, 3, 4}, True)
    assert len(limits.night) == 12 * 60
    assert guardian_limits(None) == guardian_limits(Guardian()) == Limits()


def test_any_no_to_personalisation_wins():
    asked = [(c, p) for c in (True, False) for p in (True, False)]
    answers = [person_limits(Controls(personalised=c), personalised=p).non_personalised for c, p in asked]
    assert answers == [False, True, True, True]


def test_what_a_person_mutes_is_blocked():
    controls = Controls(muted_topics=("S8",), muted_creators=("c1",), muted_words=("exam",), daily_minutes=45)
    limits = person_limits(controls, personalised=True)
    assert (limits.blocked_topics, limits.blocked_creators, limits.blocked_words) == ({"S8"}, {"c1"}, {"exam"})
    assert limits.daily_minutes == 45
