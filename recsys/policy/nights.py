"""The local clock: whether it is night somewhere, and when the day begins. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from recsys.clock import MINUTE, Millis, to_datetime


def is_night(at: Millis, zones: Sequence[ZoneInfo], night: frozenset[int]) -> bool:
    """Whether the local minute at `at` is one of `night` in any of the zones."""
    instant = to_datetime(at)
    return any(60 * local.hour + local.minute in night for local in map(instant.astimezone, zones))


def next_day(at: Millis, zones: Sequence[ZoneInfo], night: frozenset[int]) -> Millis:
    """The first instant at or after `at` that is night in none of the zones (at most 48 h on)."""
    start = at - at % MINUTE
    for step in range(48 * 60):
        moment = start + step * MINUTE
        if not is_night(moment, zones, night):
            return max(at, moment)
    return at


def local_time(at: Millis, zone: ZoneInfo) -> datetime:
    """The wall clock of the market at `at`."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
