"""The first k of a block of scores is what a full sort would give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.topk import top_k


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9_000), st.integers(1, 30), st.integers(1, 50), st.integers(0, 1_000))
def test_the_first_k_are_those_of_a_stable_sort(q: int, n: int, k: int, levels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, levels, (q, n)).astype(np.float32)
    assert_array_equal(top_k(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_equal_scores_come_in_the_order_of_columns(value: float) -> None:
    assert_array_equal(top_k(np.full((2, 20_000), value, np.float32), 3), [[0, 1, 2], [0, 1, 2]])


@pytest.mark.parametrize("q", [0, 1, 2])
def test_of_no_columns_there_is_nothing_to_take(q: int) -> None:
    assert top_k(np.empty((q, 0), np.float32), 3).shape == (q, 0)
