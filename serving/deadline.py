"""
How long the request that this thread works on may take: what its caller waits for, or the service's own bound.

A page is a race: what comes after its caller has gone is work for nobody. So the time that is left decides whether a
page is begun, which of its stages are left out, and how long it waits for the store.
"""

import math
from contextvars import ContextVar
from time import perf_counter
from typing import Final, NamedTuple

HEADER: Final = b"x-sanad-deadline-ms"
MAX_DEADLINE_MS: Final = 60_000
MIN_DEADLINE_S: Final = 0.001
STORE_UNTIL: Final = 0.85
"""The share of a page's time after which it no longer waits for the store: what is left makes the safe feed."""


class Deadline(NamedTuple):
    """When the work began, and the seconds that it may take; `perf_counter` is the clock."""

    began: float
    seconds: float

    def left_s(self) -> float:
        """Seconds that are left; below 0 when it is over."""
        return self.began + self.seconds - perf_counter()

    def used(self) -> float:
        """The share of the time that is gone."""
        return (perf_counter() - self.began) / self.seconds


NO_DEADLINE: Final = Deadline(0.0, math.inf)
DEADLINE: Final = ContextVar("deadline", default=NO_DEADLINE)
"""Of the request that is worked on; threads get it with the context of their task."""


def time_used() -> float:
    """The share of its time that the request of this thread has used."""
    return DEADLINE.get().used()


def store_wait_s() -> float | None:
    """Seconds that the request of this thread may still wait for the store; None = as long as it takes."""
    began, seconds = DEADLINE.get()
    return None if seconds == math.inf else max(0.0, began + STORE_UNTIL * seconds - perf_counter())


def read_deadline_s(value: bytes) -> float | None:
    """Seconds from the header's milliseconds; None for what is no whole number from 1 to 60,000."""
    is_number = len(value) <= 5 and value.isdigit()
    return int(value) / 1_000 if is_number and 1 <= int(value) <= MAX_DEADLINE_MS else None
