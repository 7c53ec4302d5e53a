"""Columns of candidates come back as far as the slot loop reads them, for any candidates."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.feed.compact import (
    pack_creators,
    pack_joins,
    pack_parts,
    pack_scores,
    parts_table,
    unpack_creators,
    unpack_joins,
    unpack_parts,
    unpack_scores,
)
from recsys.safety.copies import COLUMNS, distinct, evidence

CREATORS = st.lists(st.integers(0, 9), min_size=1, max_size=30)
SCORES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60)
JOINS = st.lists(st.tuples(*[st.integers(0, 3)] * 4, st.booleans()), min_size=1, max_size=12)


@given(creators=CREATORS, named=st.sets(st.integers(0, 20), max_size=6))
def test_creators_are_told_apart_as_before_and_named_ones_have_their_numbers(creators, named):
    numbers, known = np.array(creators, np.int64), np.array(sorted(named, reverse=True), np.int64)
    again = unpack_creators(pack_creators(numbers, known), known, len(numbers))
    assert np.array_equal(numbers[:, None] == numbers, again[:, None] == again)
    for before, after in zip(creators, again.tolist(), strict=True):
        assert after == before if before in named else after < 0


@given(scores=SCORES, n_exact=st.integers(1, 20), shown=st.sets(st.integers(0, 59), max_size=5))
def test_scores_keep_their_order_and_those_of_exact_rows_their_bits(scores, n_exact, shown):
    column = np.array(sorted(scores, reverse=True), np.float32) + np.float32(0)  # no -0
    n = len(column)
    exact = np.array(sorted({*range(min(n_exact, n)), *(row for row in shown if row < n)}), np.intp)
    again = unpack_scores(pack_scores(column, exact), exact, n)
    assert again[exact].tobytes() == column[exact].tobytes()
    assert (np.diff(again) <= 0).all()
    assert np.allclose(again, column, atol=max(1e-6, float(np.ptp(column)) / 255))


@given(scores=st.lists(st.floats(width=32), max_size=9))
def test_scores_in_no_order_or_not_finite_are_kept_whole(scores):
    column = np.array([*scores, np.nan], np.float32)
    exact = np.arange(1)
    assert unpack_scores(pack_scores(column, exact), exact, len(column)).tobytes() == column.tobytes()


@given(rows=JOINS)
def test_copies_bind_as_before(rows):
    values = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    columns = {name: np.array(values[name], dtype) for name, dtype in COLUMNS.items()}
    again, n = unpack_joins(pack_joins(columns), len(rows)), len(rows)
    assert list(distinct(columns, range(n))) == list(distinct(again, range(n)))
    pairs = [(row, other) for row in range(n) for other in range(n) if row != other]
    assert [evidence(columns, *pair) for pair in pairs] == [evidence(again, *pair) for pair in pairs]
    assert all(again[name].dtype == np.dtype(dtype) for name, dtype in COLUMNS.items())


def test_parts_of_what_was_shown_are_whole_and_of_the_next_in_8_bits():
    """1.5 is 0x3e00: its upper byte says 1.5 to 1.75, of which 1.625 is the middle."""
    parts = {
        "p_a": np.array([1.5, 0.1, 1.5, 0.0, 7], "<f2"),
        "p_zero": np.array([1.5, 2, 3, 4, 5], "<f2"),
        "p_same": np.full(5, 0.3, "<f2"),
    }
    shown = np.array([1])
    bits = np.array([part.view("<u2") for part in parts.values()])
    table, weighed = parts_table([*parts], bits), {"p_a", "p_same"}
    again = unpack_parts(table, pack_parts(table, bits, shown, 4, weighed), shown, 4, weighed, 5)
    assert list(again) == list(parts)
    assert again["p_a"][1] == parts["p_a"][1]
    assert again["p_a"][[0, 2, 3]].tolist() == [1.625, 1.625, 0.0]
    assert np.isnan(again["p_a"][4])
    assert np.isnan(again["p_zero"][[0, 2, 3, 4]]).all() and abs(again["p_zero"][1] - 2) <= 0.25
    assert again["p_same"].tobytes() == parts["p_same"].tobytes()
