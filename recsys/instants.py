"""
The spellings of an instant, read the same in data files of every format and over HTTP.

RFC 3339 and what databases and spreadsheets make of it: a blank for the T, no seconds, an offset as `+01:00`, `+0100`
or `+01`, and `UTC` or `GMT` for Z. Without a zone it is UTC, and a date alone is its midnight. A number counts from
1970: seconds, milliseconds, microseconds or nanoseconds are told apart by their size, because instants lie between
1990 and 2100. Digits past the millisecond are cut off.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from recsys.clock import Millis
from recsys.columns import EARLIEST, LATEST

DATE: Final = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
CLOCK: Final = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
OFFSET: Final = r"[+-](?:0\d|1[0-4])(?::?[0-5]\d)?"
PATTERN: Final = rf"^{DATE}(?:[Tt ]{CLOCK}(?: ?(?:[Zz]|UTC|GMT|{OFFSET}))?)?$"
"""Every spelling in text but numbers. Blanks around are no part of it. The engines of Python and of Polars read it."""

NUMBER: Final = r"^-?\d{1,19}$|^\d{1,19}\.\d{1,9}$"
"""A number in text, whole or with a fraction."""

_PARTS: Final = re.compile(
    rf"(?P<date>{DATE})(?:[Tt ](?P<clock>{CLOCK})(?: ?(?:[Zz]|UTC|GMT|(?P<offset>{OFFSET})))?)?", re.ASCII
)
_NUMBER: Final = re.compile(NUMBER, re.ASCII)

UNITS: Final = (("seconds", 1_000, 1), ("milliseconds", 1, 1), ("microseconds", 1, 1_000), ("nanoseconds", 1, 10**6))
"""Name, factor and divisor of the units that a number may count: number * factor // divisor = milliseconds."""


HAIR: Final = 0.01  # of a millisecond, so that .123 seconds in binary are not cut to .122


def in_unit(factor: int, divisor: int) -> tuple[float, float]:
    """From and below which numbers counts this unit."""
    return EARLIEST * divisor / factor, LATEST * divisor / factor


def read_instant(value: object) -> Millis | None:
    """Milliseconds since 1970 UTC of a text or a number, also outside of the bounds; None when it is no instant."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _of_number(value)
    if not isinstance(value, str):
        return None
    text = value.strip(" ")
    if _NUMBER.fullmatch(text):
        return _of_number(float(text) if "." in text else int(text))
    parts = _PARTS.fullmatch(text)
    return None if parts is None else _of_parts(parts["date"], parts["clock"] or "00:00", parts["offset"] or "+00")


def _of_number(value: float) -> Millis | None:
    for _, factor, divisor in UNITS:
        low, high = in_unit(factor, divisor)
        if low <= value < high:
            return value * factor // divisor if isinstance(value, int) else int(value * factor / divisor + HAIR)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _of_parts(date: str, clock: str, offset: str) -> Millis | None:
    seconds, _, fraction = (clock[6:] or "00").partition(".")
    try:
        whole = datetime.fromisoformat(f"{date}T{clock[:5]}:{seconds}+00:00")
    except ValueError:  # 30 February
        return None
    digits = offset[1:].replace(":", "").ljust(4, "0")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if offset[0] == "-" else 1)
    since = whole - datetime(1970, 1, 1, tzinfo=UTC) - ahead
    return since // timedelta(milliseconds=1) + int((fraction + "000")[:3])
