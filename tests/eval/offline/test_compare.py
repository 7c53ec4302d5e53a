"""Intervals and differences by the bootstrap, against what can be said by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.offline.compare import difference, draws, estimate


def test_the_mean_is_of_those_who_say_something_and_lies_in_its_interval() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5])
    found = estimate(values, draws(4, np.random.default_rng(0)))
    assert found.mean == pytest.approx(0.5)
    assert found.n == 3
    assert found.low is not None and found.high is not None
    assert 0 <= found.low <= 0.5 <= found.high <= 1


def test_equal_people_leave_no_doubt() -> None:
    found = estimate(np.full(50, 0.25), draws(50, np.random.default_rng(0)))
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_nobody_says_nothing() -> None:
    found = estimate(np.full(3, np.nan), draws(3, np.random.default_rng(0)))
    assert (found.mean, found.low, found.high, found.n) == (None, None, None, 0)


def test_the_interval_is_that_of_the_normal_law_for_many_people() -> None:
    """1,000 coins, half of them heads: mean 0.5, standard error 0.5 / sqrt(1000) = 0.0158, so 0.5 +- 0.031."""
    coins = np.repeat([0.0, 1.0], 500)
    found = estimate(coins, draws(1_000, np.random.default_rng(0), 4_000))
    assert found.low == pytest.approx(0.469, abs=0.003)
    assert found.high == pytest.approx(0.531, abs=0.003)


def test_a_difference_is_taken_person_by_person() -> None:
    """A shift that everyone shares is certain, however much people differ."""
    rng = np.random.default_rng(1)
    easy_and_hard = rng.random(200)
    values = {"new": easy_and_hard + 0.01, "old": easy_and_hard}
    found = difference("ndcg", "new", "old", values, draws(200, rng))
    assert found.is_clear
    assert found.estimate.mean == pytest.approx(0.01)
    assert (found.wins, found.ties, found.losses) == (200, 0, 0)


def test_no_difference_is_not_clear() -> None:
    values = {"new": np.array([0.0, 1.0, 0.5]), "old": np.array([1.0, 0.0, 0.5])}
    found = difference("ndcg", "new", "old", values, draws(3, np.random.default_rng(0)))
    assert not found.is_clear
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)


def test_the_same_seed_draws_the_same_people() -> None:
    first, again = (draws(10, np.random.default_rng(5), 20).counts for _ in range(2))
    assert np.array_equal(first, again)
    assert np.all(first.sum(axis=1) == 10)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_an_interval_never_leaves_the_range_of_the_values(values: list[float], seed: int) -> None:
    found = estimate(np.array(values), draws(len(values), np.random.default_rng(seed), 50))
    assert found.low is not None and found.high is not None
    assert min(values) - 1e-6 <= found.low <= found.high <= max(values) + 1e-6
