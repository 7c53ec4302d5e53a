"""A blend adds up standardised scores, with the weights of a user's market."""

import numpy as np
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.models.base import PopularityModel
from recsys.models.blend import Blend, mask_excluded, standardise
from recsys.models.interactions import UserInteractions, interactions_from_matrix
from recsys.types import Floats


def test_standardised_scores_have_mean_zero_and_spread_one_and_equal_scores_become_zeros() -> None:
    made = standardise(np.array([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]], np.float32))
    assert_allclose(made, [[-np.sqrt(1.5), 0, np.sqrt(1.5)], [0, 0, 0]], rtol=1e-5)


def test_a_blend_adds_up_standardised_scores() -> None:
    first, second = (
        PopularityModel(np.array([[0, 0, 3.0]], np.float32)),
        PopularityModel(np.array([[5.0, 1, 1]], np.float32)),
    )
    blend = Blend({"first": first, "second": second}, {"first": 1.0, "second": 0.5})
    users = interactions_from_matrix(sparse.csr_matrix((2, 3), dtype=np.float32))
    expected: Floats = standardise(first.scores(users)) + 0.5 * standardise(second.scores(users))
    assert_allclose(blend.scores(users), expected, rtol=1e-5)


def test_users_are_scored_with_the_weights_of_their_market() -> None:
    models = {
        "first": PopularityModel(np.array([[0, 1.0]] * 3, np.float32)),
        "second": PopularityModel(np.array([[1.0, 0]] * 3, np.float32)),
    }
    blend = Blend(models, {"first": 1.0}, ("FR", "MA"), {"MA": {"second": 1.0}})
    nobody = sparse.csr_matrix((3, 2), dtype=np.float32)
    scores = blend.scores(UserInteractions(nobody, None, np.array([0, 1, 2], np.int32)))  # France, Morocco, the world
    assert scores.argmax(axis=1).tolist() == [1, 0, 1]


def test_excluded_items_are_those_that_users_met_or_else_interacted_with() -> None:
    liked = sparse.csr_matrix(np.array([[1, 0, 0], [0, -1, 0]], np.float32))
    met = sparse.csr_matrix(np.array([[0, 0, 1], [0, 0, 0]], np.float32))
    for users, expected in (
        (UserInteractions(liked), [[0], [1]]),
        (UserInteractions(liked, exposed=met), [[2], []]),
    ):
        masked = mask_excluded(np.zeros((2, 3), np.float32), users)
        assert [np.flatnonzero(np.isneginf(row)).tolist() for row in masked] == expected
