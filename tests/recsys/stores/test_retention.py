"""What a store deletes, and when: the rules alone, without a store."""

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import DAY
from recsys.safety.ledger import LEDGER_SPAN_MS
from recsys.stores.retention import EXPOSURE_DAYS_APART, LOG_RETENTION_MS, SAFETY_RETENTION_MS, expiry, retention_cutoff

AT = 1_780_000_000_000


def test_what_bounds_exposure_stays_longer_than_any_window_looks_back():
    assert LEDGER_SPAN_MS < SAFETY_RETENTION_MS == 8 * DAY


def test_logs_stay_as_long_as_told_and_never_shorter_than_safety_needs():
    assert retention_cutoff(AT, LOG_RETENTION_MS) == AT - 30 * DAY
    assert retention_cutoff(AT, 0) == retention_cutoff(AT, 8 * DAY) == AT - 8 * DAY


def test_each_kind_has_its_own_instant():
    assert asdict(expiry(AT, 30 * DAY)) == {
        "deliveries": AT - 8 * DAY, "tombstones": AT - 8 * DAY, "cutoffs": AT - 8 * DAY,
        "decisions": AT - 30 * DAY, "events": AT - 30 * DAY, "audit": AT - 400 * DAY,
        "first_day_apart": AT // DAY - EXPOSURE_DAYS_APART,
    }  # fmt: skip


@given(at=st.integers(0, 2**45), later=st.integers(0, 2**40), log_retention_ms=st.integers(0, 2**40))
def test_time_only_moves_what_is_deleted_forward(at, later, log_retention_ms):
    before, after = expiry(at, log_retention_ms), expiry(at + later, log_retention_ms)
    assert all(getattr(before, name) <= getattr(after, name) for name in type(before).__slots__)


@pytest.mark.parametrize("log_retention_ms", [0, 8 * DAY, 400 * DAY])
def test_an_event_is_never_deleted_before_the_deliveries_it_bears_on(log_retention_ms):
    expired = expiry(AT, log_retention_ms)
    assert expired.events == expired.decisions <= expired.deliveries
