"""Trees are kept where they see what the sum does not, and only there; equal inputs give equal trees."""

import numpy as np
import pytest

from recsys.metrics import ndcg
from training.models.reranker import MIN_USERS, RerankerTable, fit_reranker, stack_reranker_tables


def table_of(*, signal: float, n_people: int = 1500, n_items: int = 20, seed: int = 0) -> RerankerTable:
    """An item is relevant where two features have the same sign, which no sum of them can express."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((n_people, n_items, 8)).astype(np.float32)
    table[:, :, 0] = -np.sort(-table[:, :, 0], axis=1)
    table[:, :, 3] = np.log1p(np.arange(n_items))
    chance = 0.05 + 0.02 * (table[:, :, 0] > 0) + signal * (table[:, :, 5] * table[:, :, 6] > 0.3)
    relevant = random.random((n_people, n_items)) < chance
    relevant[:, 0] |= ~relevant.any(axis=1)
    new = np.ones_like(relevant)
    return RerankerTable(table.astype(np.float16), new, relevant, relevant.sum(axis=1), np.arange(n_people))


def test_trees_are_kept_where_they_see_more_than_the_weighted_sum() -> None:
    found = fit_reranker(table_of(signal=0.3), 10, np.random.default_rng(0))
    assert found.trees is not None
    assert found.ndcg_cross_validated > 1.2 * found.ndcg_without


@pytest.mark.parametrize("seed", range(4))
def test_noise_gives_no_trees_or_hardly_any_gain(seed: int) -> None:
    found = fit_reranker(table_of(signal=0.0, seed=seed), 10, np.random.default_rng(seed))
    assert found.trees is None or found.ndcg_cross_validated < 1.02 * found.ndcg_without


def test_too_few_users_give_no_trees() -> None:
    found = fit_reranker(table_of(signal=0.3, n_people=MIN_USERS - 1), 10, np.random.default_rng(0))
    assert found.trees is None and np.isnan(found.ndcg_cross_validated)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_everything_or_nothing_new_is_relevant_there_is_nothing_to_learn(share: float) -> None:
    seen = table_of(signal=0.3)
    relevant = np.full_like(seen.is_relevant, share)
    same = RerankerTable(seen.features, seen.is_new, relevant, np.full(len(seen), 20), seen.users)
    assert fit_reranker(same, 10, np.random.default_rng(0)).trees is None


def test_many_rows_of_few_users_give_no_trees() -> None:
    seen = table_of(signal=0.3)
    few = RerankerTable(seen.features, seen.is_new, seen.is_relevant, seen.n_relevant, seen.users % 3)
    assert fit_reranker(few, 10, np.random.default_rng(0)).trees is None


def test_equal_inputs_and_generators_give_equal_trees() -> None:
    texts = {
        fit_reranker(table_of(signal=0.3, n_people=400), 10, np.random.default_rng(7)).trees.model_to_string()
        for _ in range(2)
    }
    assert len(texts) == 1


def test_without_trees_the_order_is_that_of_the_weighted_sum() -> None:
    seen = table_of(signal=0.3)
    found = fit_reranker(seen, 10, np.random.default_rng(0))
    assert found.ndcg_without == pytest.approx(ndcg(seen.is_relevant, seen.n_relevant, 10).mean())


def test_folds_without_users_are_left_out_of_the_stack() -> None:
    some, none = table_of(signal=0.3, n_people=5), table_of(signal=0.3, n_people=5).take(np.zeros(5, np.bool_))
    assert len(stack_reranker_tables([none, some, some])) == 10
    assert len(stack_reranker_tables([none])) == 0
