"""
What a store deletes, and when: the one place where it is decided. Pure; a store carries it out.

| what | stays |
|---|---|
| deliveries | 8 days: the longest window of a cap, and a day |
| what is left of an erased person | 8 days, so that erasing is no way around a cap |
| cut-offs for training | 8 days, in which the next model is to be trained |
| decisions and events | as long as the store is told to, 8 days at least |
| the audit log | 400 days |
| reviews | 400 days after the answer |
| counts of creators' exposure | for ever; after 90 days they are no longer told apart by day |
"""

from dataclasses import dataclass
from typing import Final

from recsys.clock import DAY, Millis
from recsys.user.state import SafetyState

SAFETY_RETENTION_MS: Final[Millis] = 8 * DAY
"""How long deliveries, tombstones and training cut-offs stay, and at least how long decisions and events do."""

LOG_RETENTION_MS: Final[Millis] = 30 * DAY
"""How long decisions and events stay unless a store is told otherwise."""

AUDIT_RETENTION_MS: Final[Millis] = 400 * DAY
"""How long entries of the audit log and answered reviews stay."""

EXPOSURE_DAYS_APART: Final = 90
"""Days for which counts of creators' exposure are told apart."""

ERASED: Final = SafetyState(is_erased=True)
"""What stays of an erased person after 8 days, as long as a model in service was trained with them: that they were."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """
    What is past its retention at one instant: rows whose time is before these.

    `first_day_apart`: counts of exposure of earlier days, but for day 0, are added up to day 0. `tombstones`: those of
    people whom the model in service knows become `ERASED` instead, and their cut-off for training stays.
    """

    deliveries: Millis
    tombstones: Millis
    cutoffs: Millis
    decisions: Millis
    events: Millis
    audit: Millis
    first_day_apart: int


def expiry(at: Millis, log_retention_ms: Millis) -> Expiry:
    """What a store deletes at `at` when it was told to hold decisions and events for `log_retention_ms`."""
    oldest, oldest_log = at - SAFETY_RETENTION_MS, retention_cutoff(at, log_retention_ms)
    return Expiry(
        deliveries=oldest,
        tombstones=oldest,
        cutoffs=oldest,
        decisions=oldest_log,
        events=oldest_log,
        audit=at - AUDIT_RETENTION_MS,
        first_day_apart=at // DAY - EXPOSURE_DAYS_APART,
    )


def retention_cutoff(at: Millis, log_retention_ms: Millis) -> Millis:
    """The instant before which events are deleted at `at`: by then they must be folded into people's states."""
    return at - max(log_retention_ms, SAFETY_RETENTION_MS)
