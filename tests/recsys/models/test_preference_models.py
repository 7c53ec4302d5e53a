"""Preference models: the laws of all of them, and each one against its definition, computed the slow way."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.errors import ConfigError, DataError
from recsys.models import bpr, ease, graph_filter, ials, item_knn, next_item, spectral
from recsys.models.base import PreferenceModel
from recsys.models.interactions import (
    RECENT_DECAY,
    UserInteractions,
    clean_matrix,
    interactions_from_histories,
    interactions_from_history,
    interactions_from_matrix,
    scale_negatives,
)
from recsys.models.solver import solve_rows
from recsys.types import History

Fit = Callable[[sparse.csr_matrix], PreferenceModel]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


FITS: dict[str, Fit] = {
    "graph_filter": lambda m: graph_filter.fit(m, graph_filter.GraphFilterParams()),
    "bm25": lambda m: item_knn.fit(m, item_knn.BM25Params()),
    "ease": lambda m: ease.fit(m, ease.EASEParams(reg=1.0)),
    "spectral": lambda m: spectral.fit(m, spectral.SpectralParams(embedding_size=4), rng()),
    "ials": lambda m: ials.fit(m, ials.IALSParams(embedding_size=4), rng()),
    "bpr": lambda m: bpr.fit(m, bpr.BPRParams(embedding_size=4, epochs=3), rng()),
}
every_model = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())


def some(n_users: int = 30, n_items: int = 12, seed: int = 1) -> sparse.csr_matrix:
    """Who likes what: two camps, one for even items and one for odd."""
    random = rng(seed)
    likes = random.random((n_users, n_items)) < np.where(
        (np.arange(n_users)[:, None] + np.arange(n_items)) % 2 == 0, 0.6, 0.05
    )
    return sparse.csr_matrix(likes.astype(np.float32))


@every_model
def test_a_users_scores_do_not_depend_on_who_is_scored_beside_them(fit: Fit) -> None:
    matrix = some()
    model, users = fit(matrix), interactions_from_matrix(matrix)
    together = model.scores(users)
    apart = np.concatenate([model.scores(users[row : row + 1]) for row in range(len(users))])
    assert_allclose(together, apart, rtol=2e-4, atol=1e-5)


@every_model
def test_a_user_of_one_camp_gets_higher_scores_for_it(fit: Fit) -> None:
    model = fit(some(200))
    row = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 2])), shape=(1, 12), dtype=np.float32)
    scores = model.scores(interactions_from_matrix(row))[0]
    assert scores[[4, 6, 8, 10]].mean() > scores[[1, 3, 5, 7, 9, 11]].mean()


@every_model
def test_a_user_without_interactions_gets_zeros(fit: Fit) -> None:
    model = fit(some())
    assert_allclose(model.scores(interactions_from_matrix(sparse.csr_matrix((1, 12), dtype=np.float32))), 0)


@every_model
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4)])
def test_an_empty_matrix_and_a_matrix_of_one_row_are_fitted(fit: Fit, shape: tuple[int, int]) -> None:
    for matrix in (sparse.csr_matrix(shape, dtype=np.float32), sparse.csr_matrix(np.ones(shape, np.float32))):
        scores = fit(matrix).scores(interactions_from_matrix(matrix))
        assert scores.shape == shape
        assert np.all(np.isfinite(scores))


@every_model
def test_items_and_users_without_interactions_do_no_harm(fit: Fit) -> None:
    matrix = some().tolil()
    matrix[:, 3] = 0
    matrix[7] = 0
    made = sparse.csr_matrix(matrix)
    assert np.all(np.isfinite(fit(made).scores(interactions_from_matrix(made))))


@every_model
def test_equal_inputs_give_equal_scores(fit: Fit) -> None:
    matrix = some()
    assert_allclose(
        fit(matrix).scores(interactions_from_matrix(matrix)),
        fit(matrix).scores(interactions_from_matrix(matrix)),
        atol=0,
    )


def test_the_graph_filter_is_the_product_of_normalised_matrices() -> None:
    r = some(40, 8)
    dense = r.toarray()
    people, items = dense.sum(1), dense.sum(0)
    with np.errstate(divide="ignore"):
        du = np.where(people > 0, people**-0.8, 0)
    expected = np.diag(items**-0.5) @ dense.T @ np.diag(du) @ dense @ np.diag(items**-0.3)
    np.fill_diagonal(expected, 0)
    found = graph_filter.fit(r, graph_filter.GraphFilterParams(user_power=0.4, in_power=0.5, out_power=0.3))
    assert_allclose(found.weights.toarray(), expected, rtol=1e-5, atol=1e-6)


def test_ease_solves_its_ridge_regression_with_a_diagonal_of_zeros() -> None:
    r = some(40, 6)
    dense = r.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 2 * np.eye(6))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert_allclose(ease.fit(r, ease.EASEParams(reg=2.0)).weights, expected, rtol=2e-4, atol=1e-5)


def test_ease_says_when_a_catalogue_is_too_large_for_it() -> None:
    wide = sparse.csr_matrix((1, ease.MAX_ITEMS + 1), dtype=np.float32)
    with pytest.raises(ConfigError, match=r"found 5,001 items, expected at most 5,000 for EASE"):
        ease.fit(wide, ease.EASEParams())


def test_singular_vectors_are_those_of_a_dense_decomposition() -> None:
    matrix = sparse.random(60, 40, 0.3, random_state=rng(3), dtype=np.float32).tocsr()
    values, vectors = spectral.singular_vectors(matrix, 5, rng())
    _, right_values, right = np.linalg.svd(matrix.toarray())
    assert_allclose(values, right_values[:5], rtol=1e-3)
    assert_allclose(np.abs(np.sum(vectors * right[:5].T, axis=0)), 1, atol=1e-2)


def test_all_singular_vectors_together_return_the_matrix() -> None:
    matrix = some(50, 6)
    params = spectral.SpectralParams(embedding_size=6, in_power=0.0, out_power=0.0)
    scores = spectral.fit(matrix, params, rng()).scores(interactions_from_matrix(matrix))
    assert_allclose(scores, matrix.toarray(), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 10_000))
def test_both_ways_through_the_solver_give_the_least_squares_answer(d: int, n: int, seed: int) -> None:
    random = rng(seed)
    vectors = random.standard_normal((n, d)).astype(np.float32)
    scales = random.uniform(0, 3, d).astype(np.float32)
    present = sparse.csr_matrix((random.random((4, n)) < 0.6).astype(np.float32))
    present.data = random.uniform(0.5, 2, present.nnz).astype(np.float32)
    targets = random.choice([0.0, 1.0, 1.5], present.nnz).astype(np.float32)
    reg = random.uniform(0.5, 2, 4).astype(np.float32)
    found = solve_rows(vectors, scales, present, targets, reg)
    for row in range(4):
        entries = slice(present.indptr[row], present.indptr[row + 1])
        y, c, p = vectors[present.indices[entries]].astype(np.float64), present.data[entries], targets[entries]
        left = np.diag(scales) + (y.T * c) @ y + reg[row] * np.eye(d)
        assert_allclose(found[row], np.linalg.solve(left, y.T @ (c * p)), rtol=5e-3, atol=5e-3)


def test_factors_lower_the_loss_that_they_are_defined_by() -> None:
    matrix = some(60, 12)
    params = ials.IALSParams(embedding_size=4, reg=0.01, power=0.0, unobserved=0.1)

    def loss(space: ials.FactorSpace) -> float:
        vectors, people = space.item_vectors, space.embed_users(interactions_from_matrix(matrix))
        error = (matrix.toarray() - people @ vectors.T) ** 2 * (0.1 + matrix.toarray())
        use = np.concatenate([people, vectors])
        return float(error.sum() + 0.01 * (use**2).sum())

    losses = [loss(ials.fit(matrix, ials.IALSParams(**{**vars_of(params), "epochs": n}), rng())) for n in (0, 1, 3, 8)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def vars_of(params: ials.IALSParams) -> dict[str, float]:
    return {name: getattr(params, name) for name in ("embedding_size", "reg", "power", "unobserved", "negative_weight")}


@pytest.mark.parametrize("name", ["graph_filter", "ease", "spectral", "ials"])
def test_negative_feedback_lowers_the_score_of_its_item(name: str) -> None:
    fits: dict[str, Fit] = {
        "graph_filter": lambda m: graph_filter.fit(m, graph_filter.GraphFilterParams(negative_weight=1.0)),
        "ease": lambda m: ease.fit(m, ease.EASEParams(reg=1.0, negative_weight=1.0)),
        "spectral": lambda m: spectral.fit(m, spectral.SpectralParams(embedding_size=4, negative_weight=1.0), rng()),
        "ials": lambda m: ials.fit(m, ials.IALSParams(embedding_size=4, negative_weight=1.0), rng()),
    }
    model = fits[name](some(200))
    positive = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 1])), shape=(1, 12), dtype=np.float32)
    negative = sparse.csr_matrix(([-1.0], ([0], [3])), shape=(1, 12), dtype=np.float32)
    meant = slice(3, 4) if name == "ials" else slice(3, None, 2)  # the item for factors, its whole camp for sums
    before, after = (
        model.scores(interactions_from_matrix(row))[0, meant].mean() for row in (positive, positive + negative)
    )
    assert after < before


def test_what_followed_often_comes_next_and_only_recent_interactions_are_read() -> None:
    # three people watch 0, 1, 2 in that order; a fourth 2, 0
    indptr = np.array([0, 3, 6, 9, 11])
    items = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 0], np.int32)
    weights = np.ones(11, np.float32)
    model = next_item.fit(indptr, items, weights, 3, next_item.NextItemParams(out_power=0.0, max_steps=1))
    assert_allclose(model.weights.toarray(), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    after_one = interactions_from_history(
        History(np.array([0, 1], np.int32), np.ones(2, np.float32), np.array([1, 2])), 3
    )
    assert_allclose(model.scores(after_one), [[0, RECENT_DECAY, 1]])
    assert_allclose(model.scores(UserInteractions(after_one.full)), 0)  # nobody recorded an order


def test_recent_interactions_count_the_last_one_whole_and_earlier_ones_less() -> None:
    made = interactions_from_histories(
        np.array([0, 3, 3]), np.array([2, 0, 1], np.int32), np.array([1, 2, 1], np.float32), 3
    )
    assert_allclose(made.full.toarray(), [[2, 1, 1], [0, 0, 0]])
    assert_allclose(made.recent.toarray()[0], [2 * RECENT_DECAY, 1, RECENT_DECAY**2], rtol=1e-6)


def test_repeated_interactions_add_up_and_opposite_ones_cancel() -> None:
    made = clean_matrix(sparse.coo_matrix(([1.0, 2.0, 1.0, -1.0], ([0, 0, 0, 0], [1, 1, 2, 2])), shape=(1, 3)))
    assert_allclose(made.toarray(), [[0, 3, 0]])
    assert made.nnz == 1


def test_negative_entries_are_scaled_and_positive_ones_are_not() -> None:
    signed = sparse.csr_matrix(np.array([[2.0, -2.0, 0.0]], np.float32))
    assert_allclose(scale_negatives(signed, 0.5).toarray(), [[2, -1, 0]])
    assert scale_negatives(signed, 0).nnz == 1


def test_confidence_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        interactions_from_matrix(sparse.csr_matrix(np.array([[np.nan, 1.0]], np.float32)))
