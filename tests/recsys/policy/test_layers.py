import dataclasses

import pytest

from recsys.clock import HOUR, MINUTE, from_text, zone, zones_of
from recsys.policy.compiled import (
    CompiledPolicy,
    effective_band,
    explain,
    guardian_limits,
    is_night,
    local_time,
    next_day,
    person_limits,
)
from recsys.policy.limits import Limits, meet, minutes
from recsys.user.state import Controls, Guardian

CASABLANCA = zone("Africa/Casablanca")
MINORS = minutes([(22 * 60, 7 * 60)])


# Age. Rows: what is stored, its source, what a request says, and the band that counts.


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
    trusting = dataclasses.replace(market, trust_declared_age=True)
    assert effective_band(trusting, stored=stored, source="declared", given=None) == band


# Night. Morocco keeps UTC+1, and UTC in Ramadan: from 15 February to 22 March in 2026. The pinned time zones also know
# that it leaves UTC+1 for good on 20 September 2026.


@pytest.mark.parametrize(
    ("instant", "clock", "night"),
    [
        ("2026-02-14T20:59:00Z", "21:59", False),
        ("2026-02-14T21:00:00Z", "22:00", True),
        ("2026-02-20T21:00:00Z", "21:00", False),  # Ramadan: an hour later
        ("2026-02-20T22:00:00Z", "22:00", True),
        ("2026-02-20T06:59:59Z", "06:59", True),
        ("2026-02-20T07:00:00Z", "07:00", False),
        ("2026-03-21T21:30:00Z", "21:30", False),
        ("2026-03-22T21:30:00Z", "22:30", True),
        ("2026-07-01T05:59:00Z", "06:59", True),
        ("2026-07-01T06:00:00Z", "07:00", False),
    ],
)
def test_night_is_by_the_clock_on_the_wall_also_in_ramadan(instant, clock, night):
    at = from_text(instant)
    assert local_time(at, CASABLANCA).strftime("%H:%M") == clock
    assert is_night(at, (CASABLANCA,), MINORS) == night


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-07-01T21:00:30Z", "2026-07-02T06:00:00Z"),
        ("2026-07-02T05:59:59Z", "2026-07-02T06:00:00Z"),
        ("2026-02-14T23:00:00Z", "2026-02-15T07:00:00Z"),  # 00:00 by the wall, then 03:00 becomes 02:00: nine hours
        ("2026-03-21T22:00:00Z", "2026-03-22T06:00:00Z"),  # 22:00 by the wall, then 02:00 becomes 03:00: eight hours
    ],
)
def test_the_day_begins_when_the_wall_clock_says_so(instant, day):
    assert next_day(from_text(instant), (CASABLANCA,), MINORS) == from_text(day)


PARIS, TWO = zones_of("FR"), (CASABLANCA, *zones_of("FR"))


@pytest.mark.parametrize(
    ("instant", "at_home", "abroad"),
    [
        ("2026-07-01T19:59:00Z", False, False),
        ("2026-07-01T20:00:00Z", False, True),  # 22:00 in Paris, 21:00 in Casablanca
        ("2026-07-02T05:59:00Z", True, True),  # 07:59 in Paris: its night is over, the market's is not
        ("2026-07-02T06:00:00Z", False, False),
    ],
)
def test_another_country_only_adds_night_hours(instant, at_home, abroad):
    at = from_text(instant)
    assert (is_night(at, (CASABLANCA,), MINORS), is_night(at, TWO, MINORS)) == (at_home, abroad)


def test_the_day_begins_when_no_zone_has_night():
    assert next_day(from_text("2026-07-01T21:00:00Z"), PARIS, MINORS) == from_text("2026-07-02T05:00:00Z")
    assert next_day(from_text("2026-07-01T21:00:00Z"), TWO, MINORS) == from_text("2026-07-02T06:00:00Z")


def test_a_country_has_all_its_zones_and_an_unknown_one_has_none(policy):
    assert {zone.key for zone in zones_of("US")} >= {"America/New_York", "Pacific/Honolulu"}
    assert zones_of("XX") == () == zones_of("fr")
    assert policy.zones(None) == policy.zones("MA") == policy.zones("XX") == (policy.zone,)
    assert policy.zones("FR") == (policy.zone, *zones_of("FR"))


def test_without_night_hours_it_is_always_day():
    at = from_text("2026-07-01T00:00:00Z")
    assert not is_night(at, (CASABLANCA,), frozenset())
    assert next_day(at + 1, (CASABLANCA,), frozenset()) == at + 1


def test_every_minute_of_two_ramadan_shifts_is_day_or_ends_in_one():
    for start in ("2026-02-14T20:00:00Z", "2026-03-21T20:00:00Z"):
        for step in range(0, 14 * 60, 7):
            at = from_text(start) + step * MINUTE
            day = next_day(at, (CASABLANCA,), MINORS)
            assert 0 <= day - at <= 11 * HOUR
            assert not is_night(day, (CASABLANCA,), MINORS)


# Layers


def test_a_guardian_only_blocks_and_lowers():
    limits = guardian_limits(Guardian(daily_minutes=30, night=((20 * 60, 8 * 60),), max_tier="R1", labelled_only=True))
    assert (limits.daily_minutes, limits.blocked_tiers, limits.labelled_only) == (30, {2, 3, 4}, True)
    assert len(limits.night) == 12 * 60
    assert guardian_limits(None) == guardian_limits(Guardian()) == Limits()


def test_any_no_to_personalisation_wins():
    says = [(c, p) for c in (True, False) for p in (True, False)]
    found = [person_limits(Controls(personalised=c), personalised=p).non_personalised for c, p in says]
    assert found == [False, True, True, True]


def test_what_a_person_mutes_is_blocked():
    controls = Controls(muted_topics=("S8",), muted_creators=("c1",), muted_words=("exam",), daily_minutes=45)
    limits = person_limits(controls, personalised=True)
    assert (limits.blocked_topics, limits.blocked_creators, limits.blocked_words) == ({"S8"}, {"c1"}, {"exam"})
    assert limits.daily_minutes == 45


def test_the_book_is_the_meet_of_its_layers(policy):
    for (band, level, night), limits in policy.limits.items():
        layers = [layer for _, layer in policy.layers(band, level, night)]
        assert meet(*layers) == meet(*reversed(layers)) == limits


def test_an_explanation_names_the_first_layer_that_set_a_number(policy):
    named = policy.layers("18+", 1, True)
    rows = {path: (value, name) for path, value, name in explain(named)}
    assert rows["windows.R2.session"] == (0, "night at level 1")
    assert rows["windows.R1.session"] == (4, "night")
    assert rows["windows.S4.session"] == (6, "age 18+")
    assert rows["gaps.R2"] == (30, "level 1")
    assert rows["creators.last_20"] == (2, "market")


def test_a_book_reads_its_zone_from_the_market(market):
    assert CompiledPolicy(market).zone.key == "Africa/Casablanca"
