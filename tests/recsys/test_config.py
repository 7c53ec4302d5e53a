from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

import pytest

from recsys.config import Range, load, loads
from recsys.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    share: Annotated[float, Range(0, 1)]
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    count: Annotated[int, Range(1, 9)]
    is_on: bool = field(default=False, metadata={"before": "switched_on"})
    day: date | None = None
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    purpose: str = field(default="", metadata={"key": "for"})

    def __post_init__(self) -> None:
        if self.name == "forbidden":
            raise ValueError("name: found forbidden, expected another")


GOOD = """\
name: first
count: 3
is_on: true
day: 2026-11-20
parts:
  - {share: 0.5}
  - {share: 1, kind: b}
by_name:
  x: {share: 0}
for: testing
"""
FINE = "name: a\ncount: 1\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, Whole, name="f.yaml")
    return list(caught.value.problems)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    "text",
    [
        f"{BOMB}name: *i\n",  # 9 lines, 387 million values
        f"{BOMB}count: 1\nparts: *i\nby_name: {{x: *i}}\n",
        "name: &x [*x]\n",
        "[" * 50_000,
        "name: " + "[" * 2_000 + "]" * 2_000,
        "name:" + "".join("\n" + " " * n + "a:" for n in range(1, 250)),
        "day: 2026-99-99\n",
        "count: " + "9" * 5_000,
        "? [[1, 2], 3]\n: 4\n",
    ],
)
def test_no_text_is_more_than_a_sentence_and_a_moment(text):
    assert all(len(problem) < 300 for problem in problems(text))


def test_a_file_becomes_frozen_values():
    assert loads(GOOD, Whole) == Whole(
        name="first",
        count=3,
        is_on=True,
        day=date(2026, 11, 20),
        parts=(Part(share=0.5), Part(share=1.0, kind="b")),
        by_name={"x": Part(share=0.0)},
        purpose="testing",
    )


def test_no_and_yes_are_words():
    """YAML 1.2: `no` is the language of Norway."""
    assert loads("name: no\ncount: 1\n", Whole).name == "no"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\n", "f.yaml:1: count: is missing, expected a number from 1 to 9"),
        ("name: a\ncount: 0\n", "f.yaml:2: count: found 0, expected a number from 1 to 9"),
        ("name: a\ncount: 1.5\n", "f.yaml:2: count: found 1.5, expected a whole number"),
        ("name: a\ncount: true\n", "f.yaml:2: count: found true, expected a whole number"),
        ("name: 3\ncount: 1\n", "f.yaml:1: name: found 3, expected text"),
        ("name: a\ncount: 1\nis_on: yes\n", "f.yaml:3: is_on: found 'yes', expected true or false"),
        ("name: a\ncount: 1\nday: soon\n", "f.yaml:3: day: found 'soon', expected a date such as 2026-11-20"),
        ("name: a\ncount: 1\nparts: 3\n", "f.yaml:3: parts: found 3, expected a list"),
        (f"{FINE}parts:\n  - {{share: .nan}}\n", "f.yaml:4: parts[0].share: found nan, expected a finite number"),
        (f"{FINE}parts:\n  - {{share: .inf}}\n", "f.yaml:4: parts[0].share: found inf, expected a finite number"),
        (f"{FINE}parts:\n  - {{share: 1, kind: c}}\n", "f.yaml:4: parts[0].kind: found 'c', expected one of a, b"),
        (f"{FINE}by_name:\n  x: {{share: -1}}\n", "f.yaml:4: by_name.x.share: found -1, expected a number from 0 to 1"),
        ("name: forbidden\ncount: 1\n", "f.yaml:1: name: found forbidden, expected another"),
        ("- a\n", f"f.yaml:1: file: found ['a'], expected a mapping with {', '.join(Whole.__slots__)}"),
    ],
)  # fmt: skip
def test_a_problem_names_file_line_key_what_was_found_and_what_was_expected(text, problem):
    assert problem in problems(text)


def test_an_unknown_key_is_refused_with_the_nearest_one():
    (problem,) = problems("name: a\ncount: 1\ncuont: 2\n")
    assert problem.startswith("f.yaml:3: file: unknown field cuont, expected")
    assert problem.endswith("did you mean count?")


def test_a_key_that_was_renamed_is_refused_with_its_new_name():
    (problem,) = problems("name: a\ncount: 1\nswitched_on: true\n")
    assert problem == "f.yaml:3: file: unknown field switched_on, expected its new name, is_on"


def test_all_problems_come_at_once():
    assert len(problems("name: 3\ncount: 99\nis_on: maybe\nday: 5\nparts: [{share: 2}, {kind: z}]\n")) == 7


def test_a_key_that_stands_twice_is_refused():
    (problem,) = problems("name: a\ncount: 1\nname: b\n")
    assert problem.startswith("f.yaml:3: found duplicate key")


@pytest.mark.parametrize("text", ["name: [a\n", "\tname: a\n", "a: b: c\n"])
def test_what_is_not_yaml_is_said_so(text):
    (problem,) = problems(text)
    assert problem.startswith("f.yaml:")
    assert problem.endswith("expected YAML 1.2")


def test_an_empty_file_is_no_mapping():
    assert "expected a mapping with name, count" in problems("")[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml", Whole)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: cannot be read"):
        load(tmp_path / "bytes.yaml", Whole)
