"""Laws of ids that match nothing: most of them fail a run, and their twins in another spelling are named."""

import unicodedata

import polars as pl
import pytest

from recsys.data.spellings import twins, unmatched

NAME = unicodedata.normalize("NFC", "é1")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("1.0", "1"), ("007", "7"), ("7", "007"), ("U1", "u1"), (" u 1", "u1"), ('"u1"', "u1"),
     (unicodedata.normalize("NFD", NAME), NAME)],
)  # fmt: skip
def test_an_id_finds_its_twin_in_another_spelling(wrong: str, right: str) -> None:
    assert twins(pl.Series([wrong, "nobody"]), pl.Series(["other", right])) == [(wrong, right)]


@pytest.mark.parametrize(("wrong", "right"), [("1.5", "1"), ("70", "7"), ("0", "00a"), ("u1", "u2")])
def test_ids_that_differ_are_no_twins(wrong: str, right: str) -> None:
    assert twins(pl.Series([wrong]), pl.Series([right])) == []


def verdict(ids: list[str | None], known: list[str]) -> tuple[str | None, str | None]:
    strange = [i for i in dict.fromkeys(ids) if i is not None and i not in known]
    unknown = pl.Series("user_id", strange, pl.String)
    frame = pl.LazyFrame({"user_id": ids}, schema={"user_id": pl.String})
    return unmatched(
        "events", "user_id", frame, unknown, "users", pl.LazyFrame({"user_id": known}, {"user_id": pl.String})
    )


def test_more_than_half_without_a_match_fail_with_both_spellings() -> None:
    failure, _ = verdict(["1.0", "1.0", "2", None, None], ["1", "2"])
    assert failure is not None and "2 of 3 values" in failure and "'1.0' stands for '1'" in failure


def test_half_without_a_match_is_a_notice_where_spellings_differ_and_nothing_otherwise() -> None:
    assert verdict(["1.0", "2"], ["1", "2"])[1] == (
        "table events: ids in column 'user_id' are spelled unlike those of the table users: '1.0' stands for '1'"
    )
    assert verdict(["visitor", "2"], ["1", "2"]) == (None, None)


def test_without_a_twin_ids_of_both_sides_are_shown() -> None:
    failure, _ = verdict(["a-1", "a-2"], ["x", "y"])
    assert failure is not None and "look like 'a-1', 'a-2', those of the table users like 'x', 'y'" in failure


def test_an_empty_table_of_people_fails_nothing() -> None:
    assert verdict(["1", "2"], []) == (None, None)
