"""Night is by the clock on the wall, also in Ramadan, and another country only adds to it."""

import pytest

from recsys.clock import HOUR, MINUTE, from_text, zone, zones_of
from recsys.policy.limits import minutes
from recsys.policy.nights import is_night, local_time, next_day

CASABLANCA = zone("Africa/Casablanca")


MINORS = minutes([(22 * 60, 7 * 60)])


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
