"""
A clock that guards the windows of the ledger against a jump of the wall clock.

Time alone frees the windows, so a wall clock that is suddenly set forward would free them all. It is compared with the
time since the machine started, which only counts on. A jump is a wall clock that is more than an hour ahead of that,
and more than an hour past the last commit.

After a jump, pages come from the safe list until an operator confirms the clock, corrects it, or restarts the service.
A start after downtime is no jump, because nothing was counting. A clock that goes back does no harm: the ledger never
follows it.
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
MAX_JUMP_MS: Final = HOUR
MAX_DRIFT_MS: Final = MINUTE  # two good clocks may differ by this much between two readings


@dataclass(frozen=True, slots=True)
class ClockReading:
    """`at` is the time to work by; `ahead_ms` is how far the wall clock is ahead of it, 0 without a jump."""

    at: Millis
    ahead_ms: Millis


def since_boot() -> Millis:
    """Milliseconds since the machine started, with the time it was suspended where the system counts that."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000


class GuardedClock:
    """
    The clock of a service. A call gives the time to work by: after a jump, the time without the jump.

    A `wall` clock other than the real one (of a test, of the demo) is its own measure, so it never jumps, unless
    `elapsed` is given.
    """

    def __init__(self, wall: Clock, committed_at: Clock, elapsed: Clock | None = None) -> None:
        self._wall: Final = wall
        self._elapsed: Final = elapsed or (since_boot if wall is now else wall)
        self._committed_at: Final = committed_at
        self._lock: Final = Lock()
        self._start = (self._wall(), self._elapsed())
        self._is_reported = False

    def __call__(self) -> Millis:
        return self.read().at

    def read(self) -> ClockReading:
        """The time now, and how far the wall clock is ahead of it."""
        with self._lock:
            at, elapsed = self._wall(), self._elapsed()
            expected = self._start[0] + elapsed - self._start[1]
            ahead = at - expected
            if ahead > MAX_JUMP_MS and not self._is_shared(at):
                self._report(at, ahead)
                return ClockReading(expected, ahead)
            if abs(ahead) <= MAX_DRIFT_MS or ahead > MAX_JUMP_MS:
                self._start = (at, elapsed)
            self._is_reported = False
            return ClockReading(at, 0)

    def confirm(self) -> ClockReading:
        """Accept the wall clock from now on. Returns it, and how far it was ahead."""
        with self._lock:
            at, elapsed = self._wall(), self._elapsed()
            ahead = at - (self._start[0] + elapsed - self._start[1])
            self._start, self._is_reported = (at, elapsed), False
        log.warning("the clock was confirmed at %s, %.0f s ahead", to_text(at), ahead / 1_000)
        return ClockReading(at, max(0, ahead))

    def _is_shared(self, at: Millis) -> bool:
        """Whether another process, started after the jump, already committed by this clock."""
        try:
            return at - self._committed_at() <= MAX_JUMP_MS
        except StoreError:
            return False

    def _report(self, at: Millis, ahead: Millis) -> None:
        if not self._is_reported:
            log.error(
                "the clock jumped to %s, %.0f s ahead; serving the safe feed. Correct the clock, confirm it with POST "
                "/v1/operator/confirm-clock, or restart the service",
                to_text(at),
                ahead / 1_000,
            )
        self._is_reported = True
