"""Laws of retrieval: exact, filtered inside, never anything for nobody."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StageError
from recsys.retrieval import build_index, open_index, search, write_index


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.floats(0, 1))
def test_a_search_equals_the_sorted_products_of_what_is_allowed(seed: int, n: int, k: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (n, 5)).astype(np.float32)  # small integers: many exact ties
    vector = rng.integers(1, 4, 5).astype(np.float32)
    allowed = rng.random(n) < share
    rows, scores = search(build_index(vectors), vector, k, allowed)
    products = vectors @ vector
    assert np.all(allowed[rows])
    assert len(np.unique(rows)) == len(rows) == min(k, allowed.sum())
    assert np.array_equal(scores, products[rows])
    assert np.array_equal(scores, np.sort(products[allowed])[::-1][:k])


def test_equal_scores_come_by_the_smaller_row() -> None:
    rows, _ = search(build_index(np.ones((4, 2), np.float32)), np.ones(2, np.float32), 4)
    assert rows.tolist() == [0, 1, 2, 3]


def test_nobody_known_and_nothing_allowed_find_nothing() -> None:
    index = build_index(np.eye(3, dtype=np.float32))
    assert len(search(index, np.zeros(3, np.float32), 2)[0]) == 0
    assert len(search(index, np.ones(3, np.float32), 2, np.zeros(3, np.bool_))[0]) == 0
    assert len(search(build_index(np.zeros((0, 3), np.float32)), np.ones(3, np.float32), 2)[0]) == 0


def test_an_index_on_disk_answers_as_the_one_in_memory(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    write_index(tmp_path / "i.faiss", vectors)
    for found, expected in zip(
        search(open_index(tmp_path / "i.faiss"), vectors[3], 7),
        search(build_index(vectors), vectors[3], 7),
        strict=True,
    ):
        assert np.array_equal(found, expected)


def test_numbers_that_are_not_finite_and_wrong_shapes_are_refused() -> None:
    index = build_index(np.eye(3, dtype=np.float32))
    with pytest.raises(StageError, match="expected \\(3,\\) finite"):
        search(index, np.array([1, np.nan, 0], np.float32), 1)
    with pytest.raises(StageError, match="expected \\(3,\\) finite"):
        search(index, np.ones(2, np.float32), 1)
    with pytest.raises(StageError, match="one for each item"):
        search(index, np.ones(3, np.float32), 1, np.ones(2, np.bool_))
    with pytest.raises(StageError, match="expected finite numbers"):
        build_index(np.array([[np.inf]], np.float32))
