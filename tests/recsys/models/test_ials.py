"""Laws of the factor model: exact folding in, equal runs, and defined edges."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from recsys.errors import DataError
from recsys.models.ials import FactorSpace, IALSParams, fit
from recsys.types import Floats, History

PARAMS = IALSParams(embedding_size=8, reg=0.5, power=0.0, unobserved=0.2, negative_weight=0.5, epochs=20)


def two_camps(n_users: int = 40, n_items: int = 30) -> sparse.csr_matrix:
    """People of even number like items of even number, the others the others; each likes 8 of 15."""
    rng = np.random.default_rng(7)
    liked = np.zeros((n_users, n_items), np.float32)
    for user in range(n_users):
        liked[user, rng.choice(np.arange(user % 2, n_items, 2), 8, replace=False)] = 1.0
    return sparse.csr_matrix(liked)


def history(items: list[int], weights: list[float]) -> History:
    return History(np.array(items, np.int32), np.array(weights, np.float32), np.zeros(len(items), np.int64))


def brute_force(space: FactorSpace, preference: Floats, confidence: Floats, reg: float) -> Floats:
    """The least-squares answer over every item of the catalogue, with nothing precomputed."""
    y = space.item_vectors.astype(np.float64)
    left = y.T @ np.diag(confidence) @ y + reg * np.eye(y.shape[1])
    return np.linalg.solve(left, y.T @ (confidence * preference))


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_folding_in_is_the_exact_least_squares_answer_with_negatives_and_repeats(power: float) -> None:
    space = fit(two_camps(), replace(PARAMS, power=power), np.random.default_rng(0))
    preference, confidence = np.zeros(30), np.full(30, 0.2)
    preference[[2, 6]] = 1
    confidence[2], confidence[6] = 0.2 + 1.5, 0.2 + 1.0  # item 2 twice: 1.0 + 0.5
    confidence[3] = 0.2 + 0.5 * 2.0  # negative: preference 0 with more confidence
    found = space.fold_in(history([2, 6, 3, 2], [1.0, 1.0, -2.0, 0.5]))
    reg = 0.5 * (2.5 + 0.2 * 30) ** power
    assert found == pytest.approx(brute_force(space, preference, confidence, reg), rel=1e-3, abs=1e-4)


def test_a_users_vector_lies_in_their_camp() -> None:
    likes = two_camps()
    space = fit(likes, replace(PARAMS, embedding_size=2), np.random.default_rng(0))
    for user in range(6):
        mine = likes.indices[likes.indptr[user] : likes.indptr[user + 1]]
        scores = space.item_vectors @ space.fold_in(history(mine.tolist(), [1.0] * len(mine)))
        assert np.all(np.argsort(-scores)[:15] % 2 == user % 2)


def test_refits_are_equal_for_a_seed() -> None:
    first, again = (fit(two_camps(), PARAMS, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.item_vectors, again.item_vectors)


def test_an_empty_history_and_one_of_negative_feedback_alone_give_zeros() -> None:
    space = fit(two_camps(), PARAMS, np.random.default_rng(0))
    assert not space.fold_in(History.empty()).any()
    assert not space.fold_in(history([1], [-2.0])).any()
    assert not space.fold_in(history([1, 1], [1.0, -2.0])).any()  # the sum decides


@pytest.mark.parametrize("shape", [(0, 0), (3, 5), (1, 1)])
def test_without_events_every_vector_is_zero(shape: tuple[int, int]) -> None:
    space = fit(sparse.csr_matrix(shape, dtype=np.float32), PARAMS, np.random.default_rng(0))
    assert len(space.item_vectors) == shape[1]
    assert not space.item_vectors.any()
    assert not space.fold_in(History.empty()).any()


def test_one_event_is_enough() -> None:
    made = sparse.csr_matrix(np.array([[0.0, 1.0]], np.float32))
    space = fit(made, replace(PARAMS, reg=0.001), np.random.default_rng(0))
    assert not space.item_vectors[0].any()  # an item without an event
    assert space.item_vectors[1] @ space.fold_in(history([1], [1.0])) > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_confidences_are_refused_in_a_sentence(bad: float) -> None:
    matrix = sparse.csr_matrix(np.array([[bad, 1.0]], np.float32))
    with pytest.raises(DataError, match="found interactions whose confidence is not finite"):
        fit(matrix, PARAMS, np.random.default_rng(0))
