"""A blend is never below its best base model on validation, and leaves out models that do not help."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys.models.base import PopularityModel
from recsys.models.interactions import interactions_from_matrix
from training.models.blend_weights import (
    BlendWeights,
    fit_market_weights,
    fit_weights,
    reduce_popularity,
)
from training.models.validation_table import ValidationTable, build_table, is_significant, stack_tables

K = 5


def table_of(signal: list[float], n_users: int = 300, n_items: int = 40, seed: int = 0) -> ValidationTable:
    """Models that see the relevant items through noise: a model of signal s scores s * relevant + normal noise."""
    random = np.random.default_rng(seed)
    relevant = random.random((n_users, n_items)) < 0.1
    relevant[:, 0] = True
    scores = [s * relevant + random.standard_normal(relevant.shape) for s in signal]
    features = np.stack(scores, axis=2).astype(np.float32)
    names = tuple(f"model{n}" for n in range(len(signal)))
    return ValidationTable(names, features, relevant, relevant.sum(1), np.arange(n_users))


def share_of_popularity(fitted: BlendWeights) -> float:
    return fitted.weights.get("popularity", 0.0) / sum(fitted.weights.values())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=3), st.integers(0, 100))
def test_a_blend_is_never_below_its_best_model(signal: list[float], seed: int) -> None:
    fitted = fit_weights(table_of(signal, n_users=60, seed=seed), K)
    assert fitted.ndcg_in_sample >= max(fitted.ndcg_by_model.values()) - 1e-9
    assert all(weight > 0 for weight in fitted.weights.values())


def test_two_models_with_independent_noise_are_better_together() -> None:
    fitted = fit_weights(table_of([1.5, 1.5]), K)
    assert set(fitted.weights) == {"model0", "model1"}
    assert fitted.ndcg_cross_validated > max(fitted.ndcg_by_model.values()) * 1.03


def test_a_model_of_noise_is_left_out() -> None:
    assert set(fit_weights(table_of([2.0, 0.0]), K).weights) == {"model0"}


def test_without_users_the_blend_is_popularity() -> None:
    nobody = np.zeros((0, 1), np.bool_)
    empty = ValidationTable(
        ("ials", "popularity"), np.zeros((0, 1, 2), np.float32), nobody, np.zeros(0, np.int64), np.zeros(0, np.intp)
    )
    assert fit_weights(empty, K).weights == {"popularity": 1.0}


def test_users_without_a_relevant_item_change_no_weight() -> None:
    table = replace(table_of([2.0, 1.0, 0.0], n_users=900), model_names=("popularity", "ials", "bpr"))
    markets = ["MA"] * 450 + ["FR"] * 450
    silent = replace(
        table.take(np.arange(50)),
        is_relevant=np.zeros_like(table.is_relevant[:50]),
        n_relevant=np.zeros(50, np.int64),
        users=np.arange(900, 950),
    )
    longer, more_markets = stack_tables([table, silent]), markets + ["MA"] * 50
    fitted = fit_weights(table, K)
    assert fit_weights(longer, K) == fitted and set(fitted.weights) != {"bpr"}
    assert reduce_popularity(longer, fitted, K) == reduce_popularity(table, fitted, K)
    by_market = fit_market_weights(longer, more_markets, fitted, K)
    assert by_market == fit_market_weights(table, markets, fitted, K)


def test_where_no_user_has_a_relevant_item_the_blend_is_popularity() -> None:
    table = table_of([2.0, 0.0], n_users=20)
    silent = replace(table, is_relevant=np.zeros_like(table.is_relevant), n_relevant=np.zeros(20, np.int64))
    assert fit_weights(silent, K).weights == {"popularity": 1.0}


def test_known_items_are_no_candidates_and_relevant_items_that_no_model_retrieves_still_count() -> None:
    model = PopularityModel(np.arange(100, dtype=np.float32)[None])
    users = interactions_from_matrix(sparse.csr_matrix(([1.0], ([0], [99])), shape=(1, 100), dtype=np.float32))
    relevant = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 98])), shape=(1, 100), dtype=np.float32)
    table = build_table({"popular": model}, users, relevant, k=2)
    assert table.features.shape[1] == 6  # the first 3 k
    assert table.n_relevant.tolist() == [2]
    assert table.ndcg(np.ones(1, np.float32), 2).tolist() == [1 / (1 + 1 / np.log2(3))]


def test_a_market_with_other_preferences_has_weights_of_its_own_and_a_small_one_has_not() -> None:
    tables = (
        table_of([2.0, 0.0], n_users=1_000, seed=1),
        table_of([0.0, 2.0], n_users=1_000, seed=2),
        table_of([0.0, 2.0], n_users=50, seed=3),
    )
    together = replace(stack_tables(tables), users=np.arange(2_050))
    markets = ["MA"] * 1_000 + ["FR"] * 1_000 + ["EG"] * 50
    by_market = fit_market_weights(together, markets, fit_weights(together, K), K)
    assert set(by_market) == {"FR", "MA"}
    assert by_market["MA"]["model0"] > by_market["MA"].get("model1", 0)
    assert by_market["FR"]["model1"] > by_market["FR"].get("model0", 0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=2, max_size=3), st.integers(0, 100))
@example([0.5625, 0.546875, 0.5625], 61)
def test_reducing_popularity_never_raises_its_share_and_never_falls_below_the_best_model(
    signal: list[float], seed: int
) -> None:
    table = table_of(signal, n_users=80, seed=seed)
    table = replace(table, model_names=("popularity", *table.model_names[1:]))
    fitted = fit_weights(table, K)
    reduced = reduce_popularity(table, fitted, K)
    assert reduced.ndcg_in_sample >= max(reduced.ndcg_by_model.values()) - 1e-9
    assert all(weight > 0 for weight in reduced.weights.values())
    assert share_of_popularity(reduced) <= share_of_popularity(fitted) + 1e-4  # weights are rounded


def test_of_two_equally_good_models_the_one_that_is_not_popularity_counts() -> None:
    table = table_of([2.0, 2.0])
    table = replace(table, model_names=("popularity", "ials"), features=table.features[:, :, [1, 1]])
    assert reduce_popularity(table, fit_weights(table, K), K).weights == {"ials": 1.0}


def test_popularity_stays_where_no_other_model_is_any_good() -> None:
    table = replace(table_of([2.0, 0.0]), model_names=("popularity", "ials"))
    assert reduce_popularity(table, fit_weights(table, K), K).weights["popularity"] == 1.0


def test_a_user_in_two_folds_is_on_one_side_and_counts_once() -> None:
    once = table_of([1.0], n_users=6)
    twice = stack_tables([once, once])
    sides = [set(twice.half(side).users.tolist()) for side in (0, 1)]
    assert not sides[0] & sides[1] and len(twice.half(0)) == len(twice.half(1)) == 6
    gain = np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.15])
    again = np.tile(gain, 2)  # as many rows again prove nothing more
    assert is_significant(gain, once.users) == is_significant(again, twice.users)
    assert not is_significant(again - gain.mean() + 0.06, twice.users)
    assert is_significant(np.full(12, 0.1), twice.users)


def test_weights_shrink_to_those_of_an_earlier_artifact_and_less_with_more_users() -> None:
    shares = []
    for n_users in (40, 400, 4_000):
        fitted = fit_weights(table_of([1.5, 1.5], n_users=n_users), K, {"model0": 1.0, "model1": 3.0, "gone": 2.0})
        shares.append(fitted.weights["model1"] / sum(fitted.weights.values()))
    assert all(abs(later - 0.5) < abs(sooner - 0.5) for sooner, later in pairwise(shares))
    assert shares[0] > 0.65 and shares[-1] < 0.6


def test_an_earlier_artifact_that_does_harm_is_not_followed() -> None:
    table = table_of([2.0, 2.0, 0.0], n_users=40)
    alone, near = fit_weights(table, K), fit_weights(table, K, {"model2": 1.0})
    assert near.ndcg_cross_validated >= max(near.ndcg_by_model.values())
    assert near.weights == alone.weights


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=2, max_size=3), st.integers(0, 100), st.floats(0.1, 1))
def test_with_any_prior_a_blend_is_never_below_its_best_model(signal: list[float], seed: int, weight: float) -> None:
    table = replace(table_of(signal, n_users=60, seed=seed), model_names=("popularity", "a", "b")[: len(signal)])
    for prior in (None, {"a": weight}, {"popularity": 1.0, "a": weight}):
        fitted = fit_weights(table, K, prior)
        best = max(fitted.ndcg_by_model.values())
        assert min(fitted.ndcg_in_sample, fitted.ndcg_cross_validated) >= best - 1e-9
        assert fitted.error >= 0 and set(fitted.error_by_model) == set(table.model_names)
