"""What accuracy does not tell: novelty, popularity, surprise, variety, overlap and calibration."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys import metrics
from recsys.metrics import EMPTY

NOBODY = np.array([[EMPTY, EMPTY]])
COUNTS = np.array([9, 3, 1])


@pytest.mark.parametrize(
    "values",
    [
        metrics.average_popularity(COUNTS, NOBODY),
        metrics.novelty(COUNTS, 10, NOBODY),
        metrics.serendipity(np.zeros((1, 2), np.bool_), COUNTS, NOBODY),
        metrics.intra_list_diversity(np.eye(3), NOBODY),
        metrics.overlap(np.concatenate([NOBODY, NOBODY]), 3),
        metrics.miscalibration(np.zeros((1, 2)), np.ones((1, 2))),
    ],
)
def test_an_empty_list_is_unknown_and_not_zero(values: np.ndarray) -> None:
    assert all(isnan(value) for value in values)


def test_an_item_that_nobody_knows_is_as_new_as_one_that_one_person_knows() -> None:
    assert metrics.novelty(np.array([0, 1]), 16, np.array([[0], [1]])).tolist() == [4.0, 4.0]


def test_the_tail_is_what_the_head_leaves() -> None:
    assert metrics.tail_items(np.array([5, 5, 0])).tolist() == [False, False, True]
    assert metrics.tail_items(np.array([80, 19, 1])).tolist() == [False, True, True]
    assert metrics.tail_items(np.zeros(3, np.int64)).all()


def test_popular_items_are_never_a_surprise() -> None:
    by_popularity = np.array([[0, 1, 2]])
    assert metrics.serendipity(np.ones((1, 3), np.bool_), COUNTS, by_popularity).tolist() == [0.0]


@given(st.permutations(range(5)))
def test_diversity_is_blind_to_order_and_length_of_vectors(page: list[int]) -> None:
    vectors = np.array([[1.0, 0], [2, 1], [0, 3], [1, 1], [0, 0]])
    value = metrics.intra_list_diversity(vectors, np.array([page]))[0]
    known = vectors[:4] / np.linalg.norm(vectors[:4], axis=1)[:, None]
    cosines = (known @ known.T)[np.triu_indices(4, 1)]
    assert value == pytest.approx(1 - cosines.mean())
    assert metrics.intra_list_diversity(vectors * 7, np.array([page]))[0] == pytest.approx(value)


@given(st.lists(st.permutations(range(6)), min_size=2, max_size=6), st.integers(1, 6))
def test_overlap_is_the_mean_share_over_all_other_people(orders: list[list[int]], length: int) -> None:
    pages = np.array(orders)[:, :length]
    expected = [
        np.mean([len(set(page) & set(other)) / length for j, other in enumerate(pages) if j != i])
        for i, page in enumerate(pages)
    ]
    assert metrics.overlap(pages, 6).tolist() == pytest.approx(expected)


def test_one_person_shares_with_nobody() -> None:
    assert isnan(metrics.overlap(np.array([[0, 1]]), 2)[0])


def test_an_item_of_two_topics_counts_half_in_each() -> None:
    membership = sparse.csr_matrix(np.array([[1.0, 0], [0.5, 0.5], [0, 0]]))
    amounts = metrics.group_amounts(membership, np.array([[0, 1, 2], [1, EMPTY, EMPTY]]))
    assert amounts.tolist() == [[1.5, 0.5], [0.5, 0.5]]
