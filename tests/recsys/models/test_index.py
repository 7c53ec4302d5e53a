"""Laws of retrieval: exact or as near as promised, filtered inside, never anything for nobody."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StageError
from recsys.models.index import (
    RECALL,
    build_index,
    describe_index,
    faiss,
    measure_recall,
    open_index,
    search,
    write_index,
)


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


def clustered(n: int, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Items in 40 clusters, and 60 people between four items of a cluster each."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((40, d)) * 3
    cluster = rng.integers(40, size=n)
    items = (centres[cluster] + 0.3 * rng.standard_normal((n, d))).astype(np.float32)
    people = centres[rng.integers(40, size=60)] + 0.1 * rng.standard_normal((60, d))
    return items, people.astype(np.float32)


@pytest.fixture(scope="module")
def lists() -> tuple[Any, np.ndarray, np.ndarray]:
    """An index that was divided into lists, its 20,000 vectors and its people."""
    items, people = clustered(20_000)
    index = build_index(items, people, flat_below=1)
    assert describe_index(index, items, people)["kind"] == "ivf"
    return index, items, people


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 150), share=st.sampled_from([0.0, 0.0005, 0.01, 0.3, 0.9, 1.0]))
def test_under_any_mask_lists_return_allowed_items_only_and_k_of_them_whenever_k_are_allowed(
    lists: Any, seed: int, k: int, share: float
) -> None:
    index, items, people = lists
    rng = np.random.default_rng(seed)
    allowed = rng.random(len(items)) < share
    if rng.random() < 0.5:  # only what is far away
        allowed &= items @ people[0] < np.quantile(items @ people[0], 0.05)
    rows, scores = search(index, people[0], k, allowed)
    assert np.all(allowed[rows])
    assert len(np.unique(rows)) == len(rows) == min(k, allowed.sum())
    rounding = np.abs(items[rows]) @ np.abs(people[0]) * (2**-11 + 1e-6)  # of half precision, at most
    assert np.all(np.abs(scores - items[rows] @ people[0]) <= rounding) and np.all(np.diff(scores) <= 0)


def test_a_thin_mask_is_searched_exactly(lists: Any) -> None:
    index, items, people = lists
    allowed = np.random.default_rng(2).random(len(items)) < 0.02
    for person in people[:20]:
        rows, _ = search(index, person, 30, allowed)
        assert set(rows) == set(np.flatnonzero(allowed)[np.argsort(-(items[allowed] @ person))[:30]])


def test_an_index_with_lists_finds_what_was_promised_for_people_it_was_not_measured_with(lists: Any) -> None:
    index, items, people = lists
    found = describe_index(index, items, people)
    assert found["recall_at_100"] >= RECALL and found["probes"] < found["lists"]
    others = clustered(20_000)[1][::-1] + np.float32(0.05)
    assert measure_recall(index, build_index(items), others) >= RECALL


def test_a_small_catalogue_too_few_people_or_vectors_without_order_stay_exact() -> None:
    items, people = clustered(20_000)
    assert describe_index(build_index(items, people), items, people) == {"kind": "flat", "recall_at_100": 1.0}
    assert describe_index(build_index(items, people[:5], flat_below=1), items, people)["kind"] == "flat"
    noise = np.random.default_rng(0).standard_normal((4_000, 64)).astype(np.float32)
    assert describe_index(build_index(noise, noise[:60], flat_below=1), noise, noise[:60])["kind"] == "flat"


def test_an_index_with_lists_on_disk_answers_as_the_one_in_memory(lists: Any, tmp_path: Path) -> None:
    index, _, people = lists
    faiss.write_index(index, str(tmp_path / "i.faiss"))
    again = open_index(tmp_path / "i.faiss")
    for person in people[:5]:
        assert search(again, person, 20)[0].tolist() == search(index, person, 20)[0].tolist()


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


def test_what_half_a_number_cannot_hold_stays_whole() -> None:
    """70,000 is infinite in half precision, so lists would never return the row."""
    rng = np.random.default_rng(3)
    vectors, people = rng.normal(size=(4_000, 8)).astype(np.float32), rng.normal(size=(80, 8)).astype(np.float32)
    vectors[6] = 70_000
    index = build_index(vectors, people, flat_below=1)
    rows, _ = search(index, np.ones(8, np.float32), 1)
    assert rows.tolist() == [6]
    assert describe_index(index, vectors, people)["kind"] == "flat"
