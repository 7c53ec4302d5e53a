"""Laws of the text space."""

import numpy as np
import pytest

from recsys.clock import DAY
from recsys.errors import DataError
from recsys.models.text import TextParams, fit
from recsys.types import History

PARAMS = TextParams(min_language_items=2, half_life_days=10, negative_weight=0.5)


def history(items: list[int], weights: list[float], days: list[float]) -> History:
    at = np.array([day * DAY for day in days], np.int64)
    return History(np.array(items, np.int32), np.array(weights, np.float32), at)


def test_each_language_is_centred_on_its_own_mean_and_a_small_one_on_the_mean_of_all() -> None:
    vectors = np.array([[3, 1], [3, -1], [-1, 4], [1, 4], [0, 2]], np.float32)
    space = fit(vectors, ["fr", "fr", "ary", "ary", "en"], PARAMS)
    # means: fr (3, 0), ary (0, 4), all five (1.2, 2); English stands alone: (0, 2) - (1.2, 2) = (-1.2, 0)
    assert space.item_vectors == pytest.approx(np.array([[0, 1], [0, -1], [-1, 0], [1, 0], [-1, 0]]), abs=1e-6)
    assert space.centres.languages == ("ary", "fr")


def test_an_item_without_text_stays_at_zero_and_moves_no_mean() -> None:
    vectors = np.array([[1, 1], [1, -1], [0, 0]], np.float32)
    space = fit(vectors, ["fr", "fr", "fr"], PARAMS)
    assert space.item_vectors == pytest.approx(np.array([[0, 1], [0, -1], [0, 0]]))


def test_a_users_vector_is_the_weighted_recent_mean_of_positive_items() -> None:
    space = fit(np.eye(3, dtype=np.float32), [None] * 3, TextParams(min_language_items=50, half_life_days=10))
    # item 0 ten days before the newest event: 2.0 * 1/2 = 1; item 1 today: 1.0 -> both count the same
    found = space.fold_in(history([0, 1], [2.0, 1.0], [0, 10]))
    assert found == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-6)


def test_negative_feedback_pushes_away_by_its_weight() -> None:
    space = fit(np.eye(2, dtype=np.float32), [None] * 2, TextParams(min_language_items=50, negative_weight=0.5))
    found = space.fold_in(history([0, 1], [1.0, -3.0], [1, 1]))
    assert found == pytest.approx(np.array([1, -0.5]) / 1.25**0.5, abs=1e-6)


def test_without_a_positive_interaction_the_vector_is_zero() -> None:
    space = fit(np.eye(2, dtype=np.float32), [None] * 2, PARAMS)
    assert not space.fold_in(History.empty()).any()
    assert not space.fold_in(history([0], [-1.0], [0])).any()


def test_centring_is_the_same_for_an_item_that_comes_later() -> None:
    vectors = np.array([[3, 1], [3, -1]], np.float32)
    space = fit(vectors, ["fr", "fr"], PARAMS)
    assert space.centres.apply(vectors, ["fr", "fr"]) == pytest.approx(space.item_vectors)


def test_an_empty_catalogue_has_an_empty_space() -> None:
    assert fit(np.zeros((0, 4), np.float32), [], PARAMS).item_vectors.shape == (0, 4)


def test_a_vector_that_is_not_finite_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="first: row 1"):
        fit(np.array([[1, 0], [np.nan, 0]], np.float32), [None, None], PARAMS)
