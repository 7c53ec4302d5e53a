"""
A clock that does not believe a jump.

Windows are freed by time alone, so a clock that is suddenly set forward would free them all. The wall clock is
compared with one that only counts on (the time since the machine started). Is it more than an hour ahead of where it
should be, and as far past the last time that anything was committed, then it is not believed: pages come from the safe
list until an operator confirms it, puts it right, or starts the service again. A start after any downtime is no jump,
for nothing was counting then. A clock that goes back needs none of this: the ledger never follows it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from recsys.clock import HOUR, MINUTE, Millis, now, to_text
from recsys.errors import StoreError

log = logging.getLogger("sanad.serving")

Clock = Callable[[], Millis]
MAX_JUMP: Final = HOUR
DRIFT: Final = MINUTE  # two good clocks may part by this much between two looks


@dataclass(frozen=True, slots=True)
class Time:
    """`at` is the time to work by; `ahead` how far the wall clock stands past it, 0 when it is believed."""

    at: Millis
    ahead: Millis


def since_boot() -> Millis:
    """Milliseconds since the machine started; where the system can tell, also those it slept through."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000


class SteadyClock:
    """
    The clock of a service. Calling it gives the time to work by: while the wall clock is not believed, that is the
    time at which it would stand without the jump.

    A `wall` clock other than the real one (a test's, the demo's) is its own measure and never jumps, unless `elapsed`
    says otherwise.
    """

    def __init__(self, wall: Clock, committed_at: Clock, elapsed: Clock | None = None) -> None:
        self._wall: Final = wall
        self._elapsed: Final = elapsed or (since_boot if wall is now else wall)
        self._committed_at: Final = committed_at
        self._lock: Final = Lock()
        self._start = (self._wall(), self._elapsed())
        self._is_said = False

    def __call__(self) -> Millis:
        return self.read().at

    def read(self) -> Time:
        """The time now, and whether to believe it."""
        with self._lock:
            at, elapsed = self._wall(), self._elapsed()
            expected = self._start[0] + elapsed - self._start[1]
            ahead = at - expected
            if ahead > MAX_JUMP and not self._is_shared(at):
                self._say(at, ahead)
                return Time(expected, ahead)
            if abs(ahead) <= DRIFT or ahead > MAX_JUMP:
                self._start = (at, elapsed)
            self._is_said = False
            return Time(at, 0)

    def confirm(self) -> Time:
        """Believe the wall clock from here on; what it was ahead until now."""
        with self._lock:
            at, elapsed = self._wall(), self._elapsed()
            ahead = at - (self._start[0] + elapsed - self._start[1])
            self._start, self._is_said = (at, elapsed), False
        log.warning("the clock was confirmed at %s, %.0f s ahead", to_text(at), ahead / 1_000)
        return Time(at, max(0, ahead))

    def _is_shared(self, at: Millis) -> bool:
        """Whether something was committed by this clock already: then another process, started since, works by it."""
        try:
            return at - self._committed_at() <= MAX_JUMP
        except StoreError:
            return False

    def _say(self, at: Millis, ahead: Millis) -> None:
        if not self._is_said:
            log.error(
                "the clock jumped to %s, %.0f s ahead: serving the safe feed. Put it right, confirm it with POST "
                "/v1/operator/confirm-clock, or start the service again",
                to_text(at),
                ahead / 1_000,
            )
        self._is_said = True
