"""Laws of instants: one verdict for one spelling, in the engine of Python and in that of Polars."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.columns import EVENTS, Table
from recsys.data.values import ASSUMED, typed
from recsys.instants import read_instant

TEN = 1_795_168_800_000  # 2026-11-20T10:00:00Z


def by_polars(*values: object) -> pl.DataFrame:
    frame = pl.DataFrame({"at": values}, strict=False)
    return typed(frame.lazy(), Table("events", "at", (EVENTS["at"],)), frame.schema).collect()


SPELLINGS = {
    "2026-11-20T10:00:00Z": TEN,
    "2026-11-20 10:00:00+00": TEN,
    "2026-11-20 11:00:00+0100": TEN,
    "2026-11-20 08:30:00 -01:30": TEN,
    "2026-11-20 10:00:00 UTC": TEN,
    "2026-11-20T10:00:00.0009 GMT": TEN,
    "2026-11-20T10:00": TEN,
    " 2026-11-20t10:00z ": TEN,
    "2026-11-20": TEN - 36_000_000,
    "1795168800": TEN,
    "1795168800.25": TEN + 250,
    "1795168800000": TEN,
    "1795168800000.0": TEN,
    "1795168800000999": TEN,
    "1795168800000999999": TEN,
    "1985-01-01T00:00:00Z": 473_385_600_000,
    "17": 17,
}
NO_INSTANTS = [
    "yesterday", "20/11/2026", "2026-02-30", "2026-13-01T00:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T23:59:60Z",
    "2026-11-20T10:00:00+25:00", "2026-11-20Z", "2026-W47-5", "20261120T100000Z", "1e9", "nan", "1.5", "",
    "99999999999999999999", "٢٠٢٦-11-20",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_one_instant_for_both_readers(text: str) -> None:
    assert read_instant(text) == by_polars(text)["at"].item() == SPELLINGS[text]


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_is_no_instant_is_none_for_both_readers(text: str) -> None:
    assert read_instant(text) is None
    assert by_polars(text)["at"].item() is None


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["", "Z", "z", " UTC", "+00", "+0100", "-09:30", " +05:45"]),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M"]),
)
def test_both_readers_agree_with_the_calendar(local: datetime, zone: str, form: str) -> None:
    text = local.strftime(form) + zone
    written = datetime.strptime(local.strftime(form), form).replace(tzinfo=UTC)
    ahead = {"+0100": 60, "-09:30": -570, " +05:45": 345}.get(zone, 0)
    expected = (written - datetime(1970, 1, 1, tzinfo=UTC) - timedelta(minutes=ahead)) // timedelta(milliseconds=1)
    assert read_instant(text) == by_polars(text)["at"].item() == expected


@given(st.integers(-(2**62), 2**62))
def test_a_number_is_the_same_instant_as_text_as_integer_and_over_http(number: int) -> None:
    assert read_instant(number) == read_instant(str(number))
    assert by_polars(number)["at"].item() == by_polars(str(number))["at"].item() == read_instant(number)


@pytest.mark.parametrize("value", [True, None, [], float("nan"), float("inf"), 1.5])
def test_other_values_are_no_instants(value: object) -> None:
    assert read_instant(value) is None


def test_what_was_assumed_stands_beside_the_instant() -> None:
    found = by_polars("2026-11-20T10:00:00Z", "2026-11-20 10:00:00", "2026-11-20", "1795168800", "1795168800000", None)
    assert found[ASSUMED + "at"].to_list() == [
        None, "no time zone", "no time zone", "seconds for milliseconds", None, None,
    ]  # fmt: skip
