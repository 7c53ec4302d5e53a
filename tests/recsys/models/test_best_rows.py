"""The best of many scores are those of a sort, compiled and in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.models import best_rows
from recsys.models.best_rows import best_allowed, best_allowed_in_numpy


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3_000), st.integers(1, 300), st.integers(1, 3_000), st.integers(0, 1_000))
def test_the_best_that_are_allowed_are_the_same_compiled_and_in_numpy(native, n, k, levels, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, n).astype(np.float32)
    scores[rng.random(n) < 0.1] = rng.choice([np.nan, -np.inf, np.inf, -0.0])
    allowed = rng.random(n) < rng.random()
    expected = best_allowed_in_numpy(scores, allowed, k)
    kept = [column for column in range(n) if allowed[column] and not np.isnan(scores[column])]
    assert expected.tolist() == sorted(kept, key=lambda column: (-scores[column], column))[:k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_rows, "library", lambda: native)
        assert_array_equal(best_allowed(scores, allowed, k), expected)
