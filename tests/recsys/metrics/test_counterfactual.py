"""Estimates from a log with propensities, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.metrics import (
    discounted_target,
    doubly_robust,
    effective_size,
    estimated_propensity,
    importance_weights,
    influence,
    snips,
)

NAN = float("nan")


def test_what_was_shown_rarely_counts_more() -> None:
    weights = importance_weights(np.array([0.5, 0.1]), np.array([1.0, 1.0]))
    assert weights.tolist() == [2.0, 10.0]


def test_a_weight_is_clipped_at_so_many_medians() -> None:
    weights = importance_weights(np.array([1.0, 0.5, 0.01, 0.5]), np.array([1.0, 1.0, 1.0, 0.0]), clip=3.0)
    assert weights.tolist() == [1.0, 2.0, 6.0, 0.0]  # the median of 1, 2 and 100 is 2


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.5, NAN, float("inf")])
def test_a_row_without_a_usable_propensity_does_not_count(bad: float) -> None:
    found = snips(np.array([1.0, 0.0]), np.array([bad, 0.5]), np.array([1.0, 1.0]))
    assert (found.value, found.effective_size) == (0.0, 1.0)


def test_snips_is_the_weighted_mean() -> None:
    # weights 2 and 10: (2 * 1 + 10 * 0.4) / 12
    found = snips(np.array([1.0, 0.4]), np.array([0.5, 0.1]), np.ones(2))
    assert found.value == pytest.approx(0.5)
    assert found.effective_size == pytest.approx(144 / 104)


def test_an_estimate_from_nothing_is_unknown() -> None:
    found = snips(np.array([1.0]), np.array([0.5]), np.array([0.0]))
    assert np.isnan(found.value)
    assert found.effective_size == 0.0


def test_equal_weights_tell_as_much_as_their_number() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.zeros(3)) == 0.0


def test_the_doubly_robust_estimate_adds_the_error_of_the_model() -> None:
    # errors +0.2 and -0.1 with weights 2 and 10: -0.6 / 12 = -0.05
    values, predicted = np.array([0.8, 0.4]), np.array([0.6, 0.5])
    assert doubly_robust(0.7, values, predicted, np.array([0.5, 0.1]), np.ones(2)).value == pytest.approx(0.65)


def test_without_a_matching_row_the_model_alone_speaks() -> None:
    assert doubly_robust(0.7, np.ones(1), np.zeros(1), np.array([0.5]), np.zeros(1)).value == 0.7


def test_a_negative_target_or_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="expected >= 0"):
        importance_weights(np.array([0.5]), np.array([-1.0]))
    with pytest.raises(ValueError, match="expected >= 0"):
        importance_weights(np.array([0.5]), np.array([1.0]), clip=0.0)


@given(arrays(np.float64, 8, elements=st.floats(0, 1)), arrays(np.float64, 8, elements=st.floats(0.01, 1)))
def test_snips_stays_between_the_outcomes(values: np.ndarray, logged: np.ndarray) -> None:
    found = snips(values, logged, np.ones(8), clip=5.0)
    assert values.min() - 1e-9 <= found.value <= values.max() + 1e-9
    assert 1.0 <= found.effective_size <= 8.0 + 1e-9


def test_snips_recovers_a_policy_that_the_log_liked_less() -> None:
    """Items of worth 0.2 and 0.8, shown with chances 0.9 and 0.1; judged is a policy that shows both alike: 0.5."""
    rng = np.random.default_rng(0)
    is_good = rng.random(20_000) < 0.1
    values, logged = np.where(is_good, 0.8, 0.2), np.where(is_good, 0.1, 0.9)
    assert values.mean() == pytest.approx(0.26, abs=0.01)
    assert snips(values, logged, np.full(20_000, 0.5)).value == pytest.approx(0.5, abs=0.02)


def test_an_impression_counts_half_at_every_halving_rank():
    assert discounted_target(np.array([0.0, 10.0, 20.0]), 10.0).tolist() == [1.0, 0.5, 0.25]


def test_influences_give_the_standard_error_of_a_ratio_of_means():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(400), 5)
    values, weights = rng.random(2_000), rng.random(2_000)
    spread = influence(values, weights, users, 400)
    assert spread.mean() == pytest.approx(0, abs=1e-12)
    sums = np.stack([np.bincount(users, weights * values), np.bincount(users, weights)])
    draws = [sums[:, rng.integers(0, 400, 400)].sum(axis=1) for _ in range(2_000)]
    assert spread.std() / 20 == pytest.approx(np.std([a / b for a, b in draws]), rel=0.1)
    assert not influence(values, np.zeros(2_000), users, 400).any()


def test_without_propensities_what_was_shown_often_was_likely_to_be_shown():
    assert estimated_propensity(np.array([0, 1, 5])).tolist() == pytest.approx([1 / 9, 2 / 9, 6 / 9])
