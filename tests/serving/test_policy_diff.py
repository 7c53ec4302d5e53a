"""The comparison of two policies names each change once, and loses none."""

from dataclasses import replace
from pathlib import Path

import pytest

from recsys.policy.checks import load_market
from recsys.policy.compiled import CompiledPolicy
from serving.commands.policy_diff import Situation, changes_between, describe, grouped

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.fixture(scope="module")
def changes():
    shipped = (CompiledPolicy(load_market(POLICIES / f"{name}.yaml")) for name in ("morocco", "strict"))
    return changes_between(*shipped)


def test_every_change_is_in_one_group_and_each_group_names_it_once(changes):
    groups = grouped(changes)
    named = [(c.path, c.before, c.after, c.direction) for _, rows in groups for c in rows]
    assert len(named) == len(set(named)) == 44
    assert set(named) == {(c.path, c.before, c.after, c.direction) for c in changes}


def test_what_became_looser_comes_first(changes):
    directions = [rows[0].direction for _, rows in grouped(changes)]
    assert directions == sorted(directions) and directions[0] == "looser"


def test_a_change_in_one_situation_alone_stands_by_itself(changes):
    (one,) = [c for c in changes if c.who == "18+, level 0, day" and c.path == "windows.R2.session"]
    alone = replace(one, situation=("under_13", 2, True))
    assert grouped([alone]) == [("under_13: level 2, night", [alone])]


@pytest.mark.parametrize(
    ("situations", "words"),
    [
        ([("18+", level, night) for level in (0, 1, 2) for night in (False, True)], "18+: every level, day and night"),
        ([("18+", 0, False), ("16-17", 0, False)], "18+ and 16-17: level 0, day"),
        ([("18+", 0, False), ("18+", 2, False)], "18+: levels 0 and 2, day"),
        ([("18+", 0, True), ("18+", 1, False)], "18+: level 0, night; level 1, day"),
        ([("18+", 0, True), ("13-15", 1, False)], "18+: level 0, night; 13-15: level 1, day"),
    ],
)
def test_situations_are_described_in_words(situations: list[Situation], words: str):
    assert describe(situations) == words
