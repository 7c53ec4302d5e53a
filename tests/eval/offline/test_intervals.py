"""Intervals and differences by the bootstrap, against what can be said by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.offline.intervals import difference, estimate, resample


def test_the_mean_is_over_the_people_who_count_and_lies_in_its_interval() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5])
    result = estimate(values, resample(4, np.random.default_rng(0)))
    assert result.mean == pytest.approx(0.5)
    assert result.n == 3
    assert result.low is not None and result.high is not None
    assert 0 <= result.low <= 0.5 <= result.high <= 1


def test_equal_people_have_an_interval_of_no_width() -> None:
    result = estimate(np.full(50, 0.25), resample(50, np.random.default_rng(0)))
    assert (result.mean, result.low, result.high) == pytest.approx((0.25, 0.25, 0.25))


def test_without_people_who_count_there_is_no_estimate() -> None:
    result = estimate(np.full(3, np.nan), resample(3, np.random.default_rng(0)))
    assert (result.mean, result.low, result.high, result.n) == (None, None, None, 0)


def test_the_interval_is_that_of_the_normal_law_for_many_people() -> None:
    """1,000 coins, half of them heads: mean 0.5, standard error 0.5 / sqrt(1000) = 0.0158, so 0.5 +- 0.031."""
    coins = np.repeat([0.0, 1.0], 500)
    result = estimate(coins, resample(1_000, np.random.default_rng(0), 4_000))
    assert result.low == pytest.approx(0.469, abs=0.003)
    assert result.high == pytest.approx(0.531, abs=0.003)


def test_a_difference_is_taken_person_by_person() -> None:
    """A shift that everyone shares is certain, however much people differ."""
    rng = np.random.default_rng(1)
    easy_and_hard = rng.random(200)
    values = {"new": easy_and_hard + 0.01, "old": easy_and_hard}
    comparison = difference("ndcg", "new", "old", values, resample(200, rng))
    assert comparison.is_clear
    assert comparison.estimate.mean == pytest.approx(0.01)
    assert (comparison.wins, comparison.ties, comparison.losses) == (200, 0, 0)


def test_no_difference_is_not_clear() -> None:
    values = {"new": np.array([0.0, 1.0, 0.5]), "old": np.array([1.0, 0.0, 0.5])}
    comparison = difference("ndcg", "new", "old", values, resample(3, np.random.default_rng(0)))
    assert not comparison.is_clear
    assert (comparison.wins, comparison.ties, comparison.losses) == (1, 1, 1)


def test_the_same_seed_draws_the_same_people() -> None:
    first, again = (resample(10, np.random.default_rng(5), 20).counts for _ in range(2))
    assert np.array_equal(first, again)
    assert np.all(first.sum(axis=1) == 10)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_an_interval_never_leaves_the_range_of_the_values(values: list[float], seed: int) -> None:
    result = estimate(np.array(values), resample(len(values), np.random.default_rng(seed), 50))
    assert result.low is not None and result.high is not None
    assert min(values) - 1e-6 <= result.low <= result.high <= max(values) + 1e-6


def test_of_one_person_there_is_a_mean_and_no_interval() -> None:
    """A bootstrap would draw the same person a thousand times and be sure."""
    resamples = resample(3, np.random.default_rng(0))
    alone = estimate(np.array([0.5, np.nan, np.nan]), resamples)
    assert (alone.mean, alone.low, alone.high, alone.n) == (0.5, None, None, 1)
    values = {"a": np.array([1.0, np.nan, np.nan]), "b": np.zeros(3)}
    assert not difference("ndcg", "a", "b", values, resamples).is_clear
