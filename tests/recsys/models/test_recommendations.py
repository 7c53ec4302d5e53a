"""Recommendations are the best items that a user does not know, and nothing where none is left."""

import numpy as np
import pytest
from scipy import sparse

from recsys.metrics import EMPTY
from recsys.models import PopularityModel, UserInteractions, interactions_from_matrix, recommend

MODEL = PopularityModel(np.array([[0.0, 3.0, 2.0, 3.0, 1.0]], np.float32))


def users_of(*rows: list[float]) -> UserInteractions:
    return interactions_from_matrix(sparse.csr_matrix(np.array(rows, np.float32)))


def test_the_best_items_come_first_and_equal_ones_by_the_smaller_row() -> None:
    assert recommend(MODEL, users_of([0, 0, 0, 0, 0]), 3).tolist() == [[1, 3, 2]]


def test_what_a_user_likes_or_refused_does_not_come_again() -> None:
    assert recommend(MODEL, users_of([0, 1, 0, 0, 0], [0, 0, 0, -1, 0]), 2).tolist() == [[3, 2], [1, 2]]


def test_where_no_item_is_left_the_page_ends() -> None:
    assert recommend(MODEL, users_of([1, 1, 1, 0, 1]), 3).tolist() == [[3, EMPTY, EMPTY]]


def test_a_page_is_never_longer_than_the_catalogue() -> None:
    assert recommend(MODEL, users_of([0, 0, 0, 0, 0]), 100).shape == (1, 5)


def test_blocks_change_nothing() -> None:
    users = users_of(*np.eye(5).tolist())
    assert np.array_equal(recommend(MODEL, users, 3, block_users=2), recommend(MODEL, users, 3))


def test_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="found k = 0, expected 1 or more"):
        recommend(MODEL, users_of([0, 0, 0, 0, 0]), 0)
