"""The re-ranker: only the order of the best new items changes, and its features are worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel, PreferenceModel
from recsys.models.interactions import UserInteractions, interactions_from_matrix
from recsys.models.reranker import (
    compute_item_use,
    compute_similarity,
    count_features,
    reassign_scores,
    reranker_features,
    select_candidates,
)

SPACE = LinearSpace(
    np.array([[1, 0], [0, 2], [3, 3], [0, 0], [-1, 0]], np.float32), np.ones(5, np.float32), negative_weight=0.0
)
NEAR = sparse.csr_matrix(
    np.array([[0, 3, 1, 0, 0], [2, 0, 4, 0, 0], [0, 0, 0, 0, 5], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], np.float32)
)


def liked(*rows: list[float]) -> UserInteractions:
    return interactions_from_matrix(sparse.csr_matrix(np.array(rows, np.float32)))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n_items=st.integers(1, 150))
def test_the_best_new_items_share_out_their_scores_and_nothing_else_changes(seed: int, n_items: int) -> None:
    random = np.random.default_rng(seed)
    total = random.integers(0, 9, (3, n_items)).astype(np.float32)
    had = random.integers(-1, 2, (3, n_items)) * (random.random((3, n_items)) < 0.2)
    users = interactions_from_matrix(sparse.csr_matrix(had, dtype=np.float32))
    rows, is_new = select_candidates(total, users)
    worth = np.where(is_new, random.random(rows.shape), -np.inf)
    shared = reassign_scores(total, rows, worth, users)
    for person in range(3):
        mine = rows[person][is_new[person]]
        others = np.setdiff1d(np.arange(n_items), mine)
        assert not had[person, mine].any()
        assert_array_equal(shared[person, others], total[person, others])
        assert_array_equal(np.sort(shared[person, mine]), np.sort(total[person, mine]))
        if (had[person] > 0).any():  # the better the trees think of an item, the better its score
            by_worth = mine[np.argsort(-worth[person][is_new[person]])]
            assert np.all(np.diff(shared[person, by_worth]) <= 0)
        else:
            assert_array_equal(shared[person], total[person])


def test_similarity_is_the_cosine_in_a_space_and_the_weight_between_items() -> None:
    items, candidates = np.array([0, 1]), np.array([2, 3, 4])
    alike, known = compute_similarity(SPACE, items, candidates)
    half = np.sqrt(0.5)
    assert_allclose(alike, [[half, 0, -1], [half, 0, 0]], atol=1e-6)
    assert_allclose(known, [np.sqrt(18), 0, 1], rtol=1e-6)
    for weights in (NEAR, NEAR.toarray()):
        pairs, known = compute_similarity(ItemItemModel(weights, 0.0), items, candidates)
        assert_array_equal(pairs, [[1, 0, 0], [4, 0, 0]])
        assert_array_equal(known, [2, 0, 0])


def test_an_item_item_model_compares_alike_whether_its_matrix_is_sparse_or_dense() -> None:
    random = np.random.default_rng(0)
    dense = (random.random((40, 40)) * (random.random((40, 40)) < 0.2)).astype(np.float32)
    items, candidates = random.permutation(40)[:7], random.permutation(40)[:20]
    for part in (sparse.csr_matrix(dense), dense):
        found, _ = compute_similarity(ItemItemModel(part, 0.0), items, candidates)
        assert_array_equal(found, dense[np.ix_(items, candidates)])


def test_the_features_of_a_user_worked_by_hand() -> None:
    """A user has positive interactions with items 0 and 1 and a negative one with 4; two candidates, 2 and 3."""
    parts: dict[str, PreferenceModel] = {
        "graph_filter": ItemItemModel(NEAR, 0.0),
        "popularity": PopularityModel(np.ones((1, 5), np.float32)),
    }
    users = liked([1, 2, 0, 0, -1])
    total = np.array([[9, 9, 4, 2, 9]], np.float32)
    said = {
        "graph_filter": np.array([[0, 0, 1, -1, 0]], np.float32),
        "popularity": np.array([[0, 0, 3, 6, 0]], np.float32),
    }
    use = np.array([1, 3, 2, 0.5, 0], np.float32)
    found = reranker_features(np.array([[2, 3]]), total, said, parts, users, use)[0]
    log2, log3 = np.log(2), np.log(3)
    expected = [
        # the sum: score, share of the best, the best, place
        [4, 1, 4, 0, 1, 1, 1, 0, 3, 0.5, 6, log2, 4, 5 / 3, 0, 2, 2, 2, log3],
        [2, 0.5, 4, log2, -1, -1, 1, log2, 6, 1, 6, 0, 0, 0, 0, 0, 0.5, 2, log3],
        # then of graph filter and popularity; nearest positive, three nearest by three, nearest negative, how many have
        # a weight; use of the item, mean use of the positive items, and their number
    ]
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.shape[1] == count_features(parts)


def test_item_use_is_counted_in_users_against_the_mean() -> None:
    positive = sparse.csr_matrix(np.array([[5, 0, 1], [1, 0, 0], [1, 0, 0]], np.float32))
    assert_allclose(compute_item_use(positive), np.log1p([3 / (4 / 3), 0, 1 / (4 / 3)]), rtol=1e-6)
    assert_array_equal(compute_item_use(sparse.csr_matrix((2, 3), dtype=np.float32)), np.zeros(3))


@pytest.mark.parametrize("n_items", [1, 3, 200])
def test_items_that_users_have_met_come_last(n_items: int) -> None:
    users = liked([1.0] * n_items)
    met = sparse.csr_matrix(np.eye(1, n_items, dtype=np.float32))
    rows, is_new = select_candidates(np.zeros((1, n_items), np.float32), UserInteractions(users.full, exposed=met))
    assert rows.shape == is_new.shape == (1, min(64, n_items))
    assert is_new.sum() == min(64, n_items - 1)  # shown counts, reactions do not
