"""Trees are kept where they see what the sum does not, and only there; equal inputs give equal trees."""

import numpy as np
import pytest

from recsys.metrics import ndcg
from training.models.reranker import FEWEST, Looked, learn_look, stacked_looks


def looked(*, signal: float, n_people: int = 1500, n_items: int = 20, seed: int = 0) -> Looked:
    """An item is wanted where two features have the same sign, which no sum of them can say."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((n_people, n_items, 8)).astype(np.float32)
    table[:, :, 0] = -np.sort(-table[:, :, 0], axis=1)
    table[:, :, 3] = np.log1p(np.arange(n_items))
    chance = 0.05 + 0.02 * (table[:, :, 0] > 0) + signal * (table[:, :, 5] * table[:, :, 6] > 0.3)
    wanted = random.random((n_people, n_items)) < chance
    wanted[:, 0] |= ~wanted.any(axis=1)
    new = np.ones_like(wanted)
    return Looked(table.astype(np.float16), new, wanted, wanted.sum(axis=1), np.arange(n_people))


def test_trees_are_kept_where_they_see_more_than_the_sum() -> None:
    found = learn_look(looked(signal=0.3), 10, np.random.default_rng(0))
    assert found.trees is not None
    assert found.honest > 1.2 * found.without


@pytest.mark.parametrize("seed", range(4))
def test_of_noise_there_are_no_trees_or_hardly_any(seed: int) -> None:
    found = learn_look(looked(signal=0.0, seed=seed), 10, np.random.default_rng(seed))
    assert found.trees is None or found.honest < 1.02 * found.without


def test_too_few_people_prove_nothing() -> None:
    found = learn_look(looked(signal=0.3, n_people=FEWEST - 1), 10, np.random.default_rng(0))
    assert found.trees is None and np.isnan(found.honest)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_everything_or_nothing_new_was_wanted_there_is_nothing_to_learn(share: float) -> None:
    seen = looked(signal=0.3)
    wanted = np.full_like(seen.is_relevant, share)
    same = Looked(seen.table, seen.is_new, wanted, np.full(len(seen), 20), seen.people)
    assert learn_look(same, 10, np.random.default_rng(0)).trees is None


def test_many_rows_of_few_people_prove_nothing() -> None:
    seen = looked(signal=0.3)
    few = Looked(seen.table, seen.is_new, seen.is_relevant, seen.n_relevant, seen.people % 3)
    assert learn_look(few, 10, np.random.default_rng(0)).trees is None


def test_equal_inputs_and_generators_give_equal_trees() -> None:
    texts = {
        learn_look(looked(signal=0.3, n_people=400), 10, np.random.default_rng(7)).trees.model_to_string()
        for _ in range(2)
    }
    assert len(texts) == 1


def test_without_trees_the_order_is_that_of_the_sum() -> None:
    seen = looked(signal=0.3)
    found = learn_look(seen, 10, np.random.default_rng(0))
    assert found.without == pytest.approx(ndcg(seen.is_relevant, seen.n_relevant, 10).mean())


def test_folds_without_people_are_left_out_of_the_stack() -> None:
    some, none = looked(signal=0.3, n_people=5), looked(signal=0.3, n_people=5).of(np.zeros(5, np.bool_))
    assert len(stacked_looks([none, some, some])) == 10
    assert len(stacked_looks([none])) == 0
