"""
Instants inside Sanad are integers: milliseconds since 1970-01-01 UTC (`Millis`). Integers make the closed
windows of the ledger exact: an entry that is exactly 24 h old still counts.
"""

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Millis = int

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR


def now() -> Millis:
    """The wall clock. Called at the outermost edge only (service, commands); everything else takes `at`."""
    return int(datetime.now(UTC).timestamp() * 1_000)


def from_datetime(value: datetime) -> Millis:
    """An aware datetime as milliseconds. Raises ValueError when `value` has no zone."""
    if value.tzinfo is None:
        raise ValueError(f"found {value.isoformat()} without a zone, expected an instant such as 2026-11-20T18:00:00Z")
    return round(value.timestamp() * 1_000)


def to_datetime(at: Millis) -> datetime:
    """Milliseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(at / 1_000, UTC)


def from_text(text: str) -> Millis:
    """An RFC 3339 instant as milliseconds. Raises ValueError with a sentence."""
    return from_datetime(datetime.fromisoformat(text))


def to_text(at: Millis) -> str:
    """Milliseconds as RFC 3339 in UTC, e.g. `2026-11-20T18:00:00.000Z`."""
    return to_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def zones_of(country: str) -> tuple[ZoneInfo, ...]:
    """The time zones of a country (ISO 3166-1), from the same package; none for a code it does not list."""
    rows = files("tzdata.zoneinfo").joinpath("zone.tab").read_text("utf-8").splitlines()
    cells = [row.split("\t") for row in rows if not row.startswith("#")]
    return tuple(zone(row[2]) for row in cells if row[0] == country)


@cache
def zone(name: str) -> ZoneInfo:
    """
    A time zone such as Africa/Casablanca, from the pinned tzdata package and never from the machine.

    Two servers then agree about a Ramadan shift. Raises ZoneInfoNotFoundError.
    """
    path = files("tzdata.zoneinfo").joinpath(*name.split("/"))
    if ".." in name or not path.is_file():
        raise ZoneInfoNotFoundError(f"no time zone {name} in tzdata")
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
