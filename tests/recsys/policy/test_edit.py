"""Laws of writing into a policy file: the value changes, and not one other character."""

import difflib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from recsys.errors import ConfigError
from recsys.policy.checks import market_of
from recsys.policy.edit import with_values

DAY = date(2026, 11, 28)
MOROCCO = (Path(__file__).parents[3] / "policies" / "morocco.yaml").read_text("utf-8")


def changed_lines(before: str, after: str) -> list[str]:
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in diff if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_a_helpline_is_verified_and_every_comment_stays() -> None:
    after = with_values(MOROCCO, ["helplines", 1], {"verified_at": DAY, "verified_by": "Dr. #1: A"})
    assert changed_lines(MOROCCO, after) == [
        "-    verified_at: null",
        "-    verified_by: null",
        "+    verified_at: 2026-11-28",
        '+    verified_by: "Dr. #1: A"',
    ]
    line = market_of(after).helplines[1]
    assert (line.verified_at, line.verified_by) == (DAY, "Dr. #1: A")
    assert with_values(after, ["helplines", 1], {"verified_at": None, "verified_by": None}) == MOROCCO


def test_a_key_that_is_not_there_is_added_at_the_end_of_its_mapping() -> None:
    after = with_values(MOROCCO, ["cards", "crisis"], {"verified_by": "a clinician", "verified_at": DAY})
    assert changed_lines(MOROCCO, after) == ['+    verified_by: "a clinician"', "+    verified_at: 2026-11-28"]
    card = market_of(after).cards.crisis
    assert (card.verified_by, card.text) == ("a clinician", market_of(MOROCCO).cards.crisis.text)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a: {b: {c: 1}}\n", 'a: {b: {c: 1, x: "y"}}\n'),
        ("a:\n  b:\n    c: 1  # one\n    # two\nd: 2\n", 'a:\n  b:\n    c: 1  # one\n    x: "y"\n    # two\nd: 2\n'),
        ("a:\n  b:\n    c: [1,\n      2]\nd: 2\n", 'a:\n  b:\n    c: [1,\n      2]\n    x: "y"\nd: 2\n'),
        ("a:\n  b:\n    x:  # nobody\n    c: 1\n", 'a:\n  b:\n    x: "y"  # nobody\n    c: 1\n'),
        ("a:\n  b: {x: 'old', c: 1}", 'a:\n  b: {x: "y", c: 1}'),
        ("a:\n  b:\n    x: old", 'a:\n  b:\n    x: "y"'),
        ("a:\r\n  b:\r\n    c: 1\r\n", 'a:\r\n  b:\r\n    c: 1\n    x: "y"\r\n'),
        ("a:\r\n  b:\r\n    x: old # why\r\n", 'a:\r\n  b:\r\n    x: "y" # why\r\n'),
        ("a:\n  b:\n    c: &n {d: 1}\n    e: *n\nf: 1\n", 'a:\n  b:\n    c: &n {d: 1}\n    e: *n\n    x: "y"\nf: 1\n'),
    ],
)
def test_every_way_of_writing_a_mapping_keeps_its_form(text: str, after: str) -> None:
    assert with_values(text, ["a", "b"], {"x": "y"}) == after


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_comes_back_as_it_was_written(value: str) -> None:
    text = with_values("a:\n  - {b: 1} # first\n  - b: 2\n    c: old\nd: 3\n", ["a", 1], {"c": value})
    tree = YAML().load(text)
    assert (tree["a"][1]["c"], tree["a"][0]["b"], tree["d"]) == (value, 1, 3)


@pytest.mark.parametrize("path", [["a", "b"], ["a", 3], ["nowhere"], ["a", 0, "b", "c"], ["e"], ["f"]])
def test_a_place_that_is_no_mapping_is_said_in_a_sentence(path: list[str | int]) -> None:
    with pytest.raises(ConfigError, match="expected one to write x into"):
        with_values("a: [{b: 1}]\ne: {}\nf: text\n", path, {"x": "y"})


def test_a_value_over_several_lines_is_left_to_people() -> None:
    for text in ("a:\n  x: |\n    two\n    lines\n", "a:\n  x: {b: 1}\n"):
        with pytest.raises(ConfigError, match="edit the file by hand"):
            with_values(text, ["a"], {"x": "y"})
