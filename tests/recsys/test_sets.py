"""Sets of numbers are NumPy's own, whatever the numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.sets import distinct, is_among

NUMBERS = st.lists(st.integers(-3, 9) | st.integers(-(2**31), 2**31 - 1), max_size=40)


@given(numbers=NUMBERS)
def test_distinct_numbers_are_those_of_numpy(numbers):
    column = np.array(numbers, np.int32)
    once = distinct(column)
    assert once.dtype == column.dtype and once.tolist() == np.unique(column).tolist()


@given(numbers=NUMBERS, others=NUMBERS, is_long=st.booleans())
def test_membership_is_that_of_numpy(numbers, others, is_long):
    column, among = np.array(numbers, np.int32), np.array(others, np.int64 if is_long else np.int32)
    assert is_among(column, among).tolist() == np.isin(column, among).tolist()
