"""Laws of what one person counts for in a total over people."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.saturation import ITEM_CAP, UNKNOWN_PERSON, saturate

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 1e6), st.booleans()), max_size=40)
"""Of each pair: the person, the creator, the confidence, and whether person 0 to 3 is known (by the first pair)."""


def counts(pairs):
    known = {person: is_known for person, _, _, is_known in reversed(pairs)}
    people = np.array([person for person, *_ in pairs], np.int32)
    creators = np.array([creator for _, creator, *_ in pairs], np.int32)
    values = np.array([value for _, _, value, _ in pairs])
    is_known = np.array([known[person] for person in people.tolist()], np.bool_)
    return saturate(values, people, creators, is_known), people, creators, values, is_known


def test_by_hand():
    counted = saturate(
        np.array([9.0, 1.0, 9.0, 9.0, 1.0]),
        np.array([0, 1, 2, 2, 3], np.int32),
        np.array([0, 0, 0, 0, 1], np.int32),
        np.array([True, True, True, True, False]),
    )
    # alone: the cap; below it: all; two items of one creator: sqrt(2) caps together; unknown: a quarter
    assert counted == pytest.approx([ITEM_CAP, 1, ITEM_CAP / 2**0.5, ITEM_CAP / 2**0.5, UNKNOWN_PERSON])


@given(PAIRS)
def test_no_person_counts_for_an_item_beyond_the_cap_or_what_they_did(pairs):
    counted, _, _, values, _ = counts(pairs)
    assert (counted >= 0).all()
    assert (counted <= np.minimum(values, ITEM_CAP) + 1e-12).all()


@given(PAIRS)
def test_a_person_counts_for_a_creator_as_the_root_of_the_number_of_items(pairs):
    counted, people, creators, _, _ = counts(pairs)
    for person in range(4):
        for creator in range(4):
            theirs = (people == person) & (creators == creator)
            assert counted[theirs].sum() <= ITEM_CAP * np.sqrt(theirs.sum()) + 1e-9


@given(PAIRS, st.integers(0, 3), st.floats(0, 1e6))
def test_doing_more_for_an_item_never_makes_its_creator_count_less(pairs, creator, value):
    before = counts(pairs)
    after = counts([*pairs, (0, creator, value, pairs[0][3] if pairs else True)])
    of_creator = before[2] == creator, after[2] == creator
    assert after[0][of_creator[1]].sum() >= before[0][of_creator[0]].sum() - 1e-6


@given(PAIRS)
def test_what_one_person_does_changes_nothing_of_what_others_count(pairs):
    counted, people, *_ = counts(pairs)
    others = [pair for pair in pairs if pair[0] != 0]
    assert counted[people != 0] == pytest.approx(counts(others)[0])


@given(PAIRS)
def test_a_person_whom_the_platform_does_not_name_counts_a_fixed_part(pairs):
    counted, people, creators, values, is_known = counts(pairs)
    everybody = saturate(values, people, creators, np.ones(len(pairs), np.bool_))
    assert counted == pytest.approx(np.where(is_known, everybody, UNKNOWN_PERSON * everybody))
