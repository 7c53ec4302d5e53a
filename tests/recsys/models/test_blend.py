"""A blend is never below its best part on validation, and leaves out what does not help."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.models.base import PopularityModel
from recsys.models.blend import Blend, standardise
from recsys.models.interactions import UserInteractions, interactions_from_matrix
from recsys.types import Floats
from training.models.blend_weights import (
    ValidationTable,
    build_table,
    fit_market_weights,
    fit_weights,
    reduce_popularity,
    stack_tables,
)

K = 5


def table_of(signal: list[float], n_people: int = 300, n_items: int = 40, seed: int = 0) -> ValidationTable:
    """Parts that see what people want through noise: a part of signal s says s * wanted + normal noise."""
    random = np.random.default_rng(seed)
    wanted = random.random((n_people, n_items)) < 0.1
    wanted[:, 0] = True
    parts = [s * wanted + random.standard_normal(wanted.shape) for s in signal]
    features = np.stack(parts, axis=2).astype(np.float32)
    return ValidationTable(
        tuple(f"part{n}" for n in range(len(signal))), features, wanted, wanted.sum(1), np.arange(n_people)
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=3), st.integers(0, 100))
def test_a_blend_is_never_below_its_best_part(signal: list[float], seed: int) -> None:
    found = fit_weights(table_of(signal, n_people=60, seed=seed), K)
    assert found.ndcg_in_sample >= max(found.ndcg_by_model.values()) - 1e-9
    assert all(weight > 0 for weight in found.weights.values())


def test_two_parts_that_see_through_different_noise_are_better_together() -> None:
    found = fit_weights(table_of([1.5, 1.5]), K)
    assert set(found.weights) == {"part0", "part1"}
    assert found.ndcg_cross_validated > max(found.ndcg_by_model.values()) * 1.03


def test_a_part_of_noise_is_left_out() -> None:
    assert set(fit_weights(table_of([2.0, 0.0]), K).weights) == {"part0"}


def test_without_people_popularity_is_all_there_is() -> None:
    nobody = np.zeros((0, 1), np.bool_)
    empty = ValidationTable(
        ("ials", "popularity"), np.zeros((0, 1, 2), np.float32), nobody, np.zeros(0, np.int64), np.zeros(0, np.intp)
    )
    assert fit_weights(empty, K).weights == {"popularity": 1.0}


def test_standardised_scores_have_mean_zero_and_spread_one_and_equal_scores_say_nothing() -> None:
    made = standardise(np.array([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]], np.float32))
    assert_allclose(made, [[-np.sqrt(1.5), 0, np.sqrt(1.5)], [0, 0, 0]], rtol=1e-5)


def test_a_blend_adds_up_standardised_scores() -> None:
    one, two = (
        PopularityModel(np.array([[0, 0, 3.0]], np.float32)),
        PopularityModel(np.array([[5.0, 1, 1]], np.float32)),
    )
    blend = Blend({"one": one, "two": two}, {"one": 1.0, "two": 0.5})
    users = interactions_from_matrix(sparse.csr_matrix((2, 3), dtype=np.float32))
    expected: Floats = standardise(one.scores(users)) + 0.5 * standardise(two.scores(users))
    assert_allclose(blend.scores(users), expected, rtol=1e-5)


def test_what_people_had_is_no_candidate_and_what_no_part_found_still_counts_as_wanted() -> None:
    part = PopularityModel(np.arange(100, dtype=np.float32)[None])
    users = interactions_from_matrix(sparse.csr_matrix(([1.0], ([0], [99])), shape=(1, 100), dtype=np.float32))
    wanted = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 98])), shape=(1, 100), dtype=np.float32)
    found = build_table({"popular": part}, users, wanted, k=2)
    assert found.features.shape[1] == 6  # the first 3 k
    assert found.n_relevant.tolist() == [2]
    assert found.ndcg(np.ones(1, np.float32), 2).tolist() == [1 / (1 + 1 / np.log2(3))]


def test_a_market_of_another_taste_has_weights_of_its_own_and_a_small_one_has_not() -> None:
    one, other = table_of([2.0, 0.0], n_people=1_000, seed=1), table_of([0.0, 2.0], n_people=1_000, seed=2)
    few = table_of([0.0, 2.0], n_people=50, seed=3)
    tables = (one, other, few)
    together = ValidationTable(
        one.model_names, np.concatenate([t.features for t in tables]), np.concatenate([t.is_relevant for t in tables]),
        np.concatenate([t.n_relevant for t in tables]), np.arange(2_050),
    )  # fmt: skip
    markets = ["MA"] * 1_000 + ["FR"] * 1_000 + ["EG"] * 50
    found = fit_market_weights(together, markets, fit_weights(together, K), K)
    assert set(found) == {"FR", "MA"}
    assert found["MA"]["part0"] > found["MA"].get("part1", 0)
    assert found["FR"]["part1"] > found["FR"].get("part0", 0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=2, max_size=3), st.integers(0, 100))
def test_less_of_popularity_is_never_below_the_best_part(signal: list[float], seed: int) -> None:
    table = table_of(signal, n_people=80, seed=seed)
    table = replace(table, model_names=("popularity", *table.model_names[1:]))
    was = fit_weights(table, K)
    found = reduce_popularity(table, was, K)
    assert found.ndcg_in_sample >= max(found.ndcg_by_model.values()) - 1e-9 and all(
        weight > 0 for weight in found.weights.values()
    )
    others = [sum(w for name, w in each.weights.items() if name != "popularity") for each in (was, found)]
    totals = [sum(each.weights.values()) for each in (was, found)]
    assert others[1] / totals[1] >= others[0] / totals[0] - 0.1  # shares are tried in tenths


def test_of_two_parts_as_good_as_each_other_the_one_that_is_not_popularity_counts() -> None:
    table = table_of([2.0, 2.0])
    table = replace(table, model_names=("popularity", "ials"), features=table.features[:, :, [1, 1]])
    assert reduce_popularity(table, fit_weights(table, K), K).weights == {"ials": 1.0}


def test_popularity_stays_where_nothing_else_is_any_good() -> None:
    table = replace(table_of([2.0, 0.0]), model_names=("popularity", "ials"))
    assert reduce_popularity(table, fit_weights(table, K), K).weights["popularity"] == 1.0


def test_whoever_came_back_twice_is_on_one_side_and_counts_once() -> None:
    once = table_of([1.0], n_people=6)
    twice = stack_tables([once, once])
    sides = [set(twice.half(side).users.tolist()) for side in (0, 1)]
    assert not sides[0] & sides[1] and len(twice.half(0)) == len(twice.half(1)) == 6
    gain = np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.15])
    assert once.is_significant(gain) == twice.is_significant(np.tile(gain, 2))  # as many rows again prove nothing more
    assert not twice.is_significant(np.tile(gain - gain.mean() + 0.06, 2)) and twice.is_significant(np.full(12, 0.1))


def test_people_are_scored_with_the_weights_of_their_market() -> None:
    parts = {
        "one": PopularityModel(np.array([[0, 1.0]] * 3, np.float32)),
        "two": PopularityModel(np.array([[1.0, 0]] * 3, np.float32)),
    }
    blend = Blend(parts, {"one": 1.0}, ("FR", "MA"), {"MA": {"two": 1.0}})
    nobody = sparse.csr_matrix((3, 2), dtype=np.float32)
    scores = blend.scores(UserInteractions(nobody, None, np.array([0, 1, 2], np.int32)))  # France, Morocco, the world
    assert scores.argmax(axis=1).tolist() == [1, 0, 1]
