"""
The clock of a service, compared with the last committed time of its state file and with the time since the machine
started.

Time alone frees the windows of the ledger, so a wrong clock must free none. The wall clock is not believed

- ahead: at the start, more than an hour past the last committed time; later, more than an hour further than the machine
  ran, unless another process committed by this clock meanwhile (it was confirmed there);
- behind: earlier than the last committed time by more than a tolerance.

While it is not believed, the last committed time stands in its place, so that no window is freed and no write moves
that time. It is believed again when it is put right, or when an operator confirms it. A clock that is behind by less is
no harm: the last committed time is used as now. A state that nothing was ever written to has no time to compare with.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from recsys.clock import HOUR, MINUTE, SECOND, Millis, now, to_text
from recsys.errors import StoreError
from recsys.stores.audit import LOCAL, AuditEntry, audit_entry

log = logging.getLogger("sanad.serving")

Clock = Callable[[], Millis]
MAX_AHEAD_MS: Final = HOUR
MAX_BEHIND_MS: Final = 10 * SECOND
MAX_DRIFT_MS: Final = MINUTE  # two good clocks may differ by this much between two readings
CONFIRMATION_MS: Final = HOUR  # an instant confirms a clock that is at most this far from it
_HOW_TO_CONFIRM: Final = "Correct the clock, or confirm it with POST /v1/operator/confirm-clock"


class CommittedTime(Protocol):
    """The part of a `UserStore` that remembers the last committed time; see there."""

    def committed_at(self) -> Millis: ...
    def commit_time(self, at: Millis) -> None: ...
    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class ClockReading:
    """
    `at` is the time to work by. `ahead_ms` is how far a wall clock that is not believed is ahead of it, negative for
    behind; 0 = the wall clock is believed.
    """

    at: Millis
    ahead_ms: Millis

    @property
    def is_believed(self) -> bool:
        """Whether the wall clock is believed."""
        return self.ahead_ms == 0

    @property
    def latest(self) -> Millis:
        """The later of the time to work by and the wall clock: for what must reach far enough, whichever is right."""
        return self.at + max(0, self.ahead_ms)

    @property
    def is_ahead(self) -> bool:
        """Whether pages must come from the safe feed."""
        return self.ahead_ms > 0


@dataclass(frozen=True, slots=True)
class _Believed:
    """A wall clock that was believed, and the time since the machine started at that moment."""

    wall: Millis
    elapsed: Millis


def since_boot() -> Millis:
    """Milliseconds since the machine started, with the time it was suspended where the system counts that."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return time.monotonic_ns() // 1_000_000


class GuardedClock:
    """
    The clock of a service. A call gives the time to work by: the wall clock, or the last committed time.

    `store` gives the store of the engine in service. A `wall` clock other than the real one (of a test, of the demo) is
    its own measure unless `elapsed` is given: it never runs ahead of itself, but is compared at the start as any other.
    With `is_quiet` (a command, which says it itself) the log says nothing.
    """

    def __init__(
        self,
        wall: Clock,
        store: Callable[[], CommittedTime],
        elapsed: Clock | None = None,
        *,
        max_behind_ms: Millis = MAX_BEHIND_MS,
        is_quiet: bool = False,
    ) -> None:
        self._wall: Final = wall
        self._elapsed: Final = elapsed or (since_boot if wall is now else wall)
        self._store: Final = store
        self._max_behind_ms: Final = max_behind_ms
        self._lock: Final = Lock()
        self._believed: _Believed | None = None
        self._known: Millis = 0  # the last committed time, for when the store does not answer
        self._set_back_from: Millis | None = None
        self._is_quiet: Final = is_quiet
        self._is_reported = False

    def __call__(self) -> Millis:
        return self.read().at

    def read(self) -> ClockReading:
        """The time now, and whether the wall clock is believed."""
        committed = self._committed_at()
        with self._lock:
            at, elapsed = self._wall(), self._elapsed()
            expected = at if self._believed is None else self._believed.wall + elapsed - self._believed.elapsed
            if self._is_too_far_ahead(at, expected, committed):
                return self._not_believed(at, committed or expected)
            if committed - at > self._max_behind_ms:
                return self._not_believed(at, committed)
            if self._believed is None or at - expected <= MAX_DRIFT_MS or at - expected > MAX_AHEAD_MS:
                self._believed = _Believed(at, elapsed)
            self._is_reported = False
            return ClockReading(max(at, committed), 0)

    def beat(self) -> None:
        """Commit the time, so that a start after quiet hours is no jump; nothing while the clock is not believed."""
        reading = self.read()
        if reading.is_believed:
            self._store().commit_time(reading.at)

    def confirm(self, who: str) -> ClockReading:
        """
        Accept the wall clock from now on and commit it, also where that sets the last committed time back, with who
        said so. Returns the wall clock, and how far it was ahead or behind. Raises StoreError, and accepts nothing,
        when it is not written.
        """
        before = self.read()
        at, elapsed = self._wall(), self._elapsed()
        entry = audit_entry(at, who, "clock_confirmed", was_ahead_s=before.ahead_ms / SECOND)
        self._store().set_time(at if before.ahead_ms else max(at, before.at), [entry])
        with self._lock:
            self._believed, self._is_reported = _Believed(at, elapsed), False
            self._set_back_from = before.at if before.ahead_ms < 0 else None
        log.warning("the clock was confirmed at %s, %.0f s ahead", to_text(at), before.ahead_ms / SECOND)
        return ClockReading(at, before.ahead_ms)

    def confirm_if_near(self, instant: Millis) -> None:
        """Confirm a clock that is not believed, if it is within an hour of an instant that an operator gave."""
        if abs(self._wall() - instant) > CONFIRMATION_MS:
            log.warning("the clock is more than an hour from SANAD_CLOCK_CONFIRMED_AT, which confirms nothing")
        elif not self.read().is_believed:
            self.confirm(LOCAL)

    def _committed_at(self) -> Millis:
        """
        The last committed time, as far as the store answers. A page that was being made when an operator set the time
        back still commits the time from before; it is set back again.
        """
        try:
            committed = self._store().committed_at()
            if committed and committed == self._set_back_from and self._believed is not None:
                believed = self._believed
                committed = believed.wall + self._elapsed() - believed.elapsed
                self._store().set_time(committed)
            self._known = committed
        except StoreError:
            pass
        return self._known

    def _is_too_far_ahead(self, at: Millis, expected: Millis, committed: Millis) -> bool:
        is_past_commit = at - committed > MAX_AHEAD_MS
        if self._believed is None:
            return committed > 0 and is_past_commit
        is_confirmed_elsewhere = committed - expected > MAX_AHEAD_MS and not is_past_commit
        return at - expected > MAX_AHEAD_MS and not is_confirmed_elsewhere

    def _not_believed(self, at: Millis, committed: Millis) -> ClockReading:
        reading = ClockReading(committed, at - committed)
        if not (self._is_reported or self._is_quiet):
            meanwhile = "serving the safe feed, and events wait" if reading.is_ahead else "events wait"
            direction = "after" if reading.is_ahead else "before"
            seconds = abs(reading.ahead_ms) / SECOND
            log.error(
                "the clock is not believed: it stands at %s, %.0f s %s the last committed time; %s. %s", to_text(at),
                seconds, direction, meanwhile, _HOW_TO_CONFIRM,
            )  # fmt: skip
        self._is_reported = True
        return reading
