"""Metrics against fractions worked by hand, and the laws that hold for every ranking."""

from fractions import Fraction
from math import isnan, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.metrics import (
    EMPTY,
    coverage,
    exposure,
    gini,
    hhi,
    jensen_shannon,
    mean,
    n_counted,
    ndcg,
    recall,
    share,
    top_share,
)

# Three people, four slots: hits at 1 and 3 of three relevant; a hit at 2, the only relevant; nothing relevant.
HITS = np.array([[True, False, True, False], [False, True, False, False], [False, False, False, False]])
N_RELEVANT = np.array([3, 1, 0])


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [Fraction(1, 3), Fraction(0, 1)]),
        (2, [Fraction(1, 3), Fraction(1, 1)]),
        (4, [Fraction(2, 3), Fraction(1, 1)]),
        (20, [Fraction(2, 3), Fraction(1, 1)]),
    ],
)
def test_recall_is_hits_among_the_first_k_over_all_that_is_relevant(k: int, expected: list[Fraction]) -> None:
    values = recall(HITS, N_RELEVANT, k)
    assert values[:2].tolist() == pytest.approx([float(fraction) for fraction in expected])
    assert isnan(values[2])


@pytest.mark.parametrize(
    ("k", "first", "second"),
    [
        # the ideal of the first person has min(k, 3) hits on top: 1, 1 + 1/log2(3), 1 + 1/log2(3) + 1/2
        (1, 1.0, 0.0),
        (2, 1 / (1 + 1 / log2(3)), 1 / log2(3)),
        (4, (1 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(3)),
    ],
)
def test_the_ideal_of_ndcg_has_min_of_k_and_relevant_hits_on_top(k: int, first: float, second: float) -> None:
    values = ndcg(HITS, N_RELEVANT, k)
    assert values[:2].tolist() == pytest.approx([first, second])
    assert isnan(values[2])


def test_a_cut_beyond_all_items_costs_no_memory_and_changes_nothing() -> None:
    assert ndcg(HITS, N_RELEVANT, 10**12)[:2].tolist() == ndcg(HITS, N_RELEVANT, 100)[:2].tolist()


def test_who_wants_nothing_is_counted_out_and_not_as_zero() -> None:
    values = recall(HITS, N_RELEVANT, 4)
    assert n_counted(values) == 2
    assert mean(values) == pytest.approx(float((Fraction(2, 3) + 1) / 2))
    assert isnan(mean(np.array([np.nan])))


def test_a_share_is_of_the_slots_that_are_filled() -> None:
    pages = np.array([[0, 1, 2], [1, EMPTY, EMPTY], [EMPTY, EMPTY, EMPTY]])
    values = share(np.array([True, False, True]), pages)
    assert values[:2].tolist() == pytest.approx([float(Fraction(2, 3)), 0.0])
    assert isnan(values[2])


def test_a_property_may_depend_on_the_person() -> None:
    pages = np.array([[0, 1], [0, 1]])
    assert share(np.array([[True, True], [False, True]]), pages).tolist() == [1.0, 0.5]


def test_coverage_counts_each_offered_item_once_and_no_other() -> None:
    pages = np.array([[0, 1, 1], [1, 3, EMPTY]])
    assert coverage(pages, np.array([True, True, True, False, True])) == 2 / 4
    assert isnan(coverage(pages, np.zeros(5, np.bool_)))


def test_exposure_adds_the_discount_of_every_slot() -> None:
    given_ = exposure(np.array([[0, 1], [1, EMPTY]]), 3)
    assert given_.tolist() == pytest.approx([1.0, 1 / log2(3) + 1.0, 0.0])


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ([5, 5, 5, 5], Fraction(0)),
        ([0, 0, 0, 7], Fraction(3, 4)),  # one of four has all: (n - 1) / n
        ([1, 3], Fraction(1, 4)),  # (-1 * 1 + 1 * 3) / (2 * 4)
    ],
)
def test_gini_by_hand(amounts: list[float], expected: Fraction) -> None:
    assert gini(np.array(amounts, np.float64)) == pytest.approx(float(expected))


def test_gini_of_nothing_is_unknown_and_of_debts_refused() -> None:
    assert isnan(gini(np.zeros(3)))
    with pytest.raises(ValueError, match="0 or more"):
        gini(np.array([1.0, -1.0]))


@pytest.mark.parametrize("metric", [recall, ndcg])
def test_a_cut_off_below_one_is_refused(metric) -> None:
    with pytest.raises(ValueError, match="k = 0"):
        metric(HITS, N_RELEVANT, 0)


hits = arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 12)))


@given(hits, st.integers(1, 15), st.integers(0, 4))
def test_ndcg_and_recall_lie_between_none_and_perfect(found: np.ndarray, k: int, missed: int) -> None:
    n_relevant = found.sum(axis=1) + missed
    for metric in (recall, ndcg):
        values = metric(found, n_relevant, k)
        assert np.all(np.isnan(values) == (n_relevant == 0))
        known = values[n_relevant > 0]
        assert np.all((known >= 0) & (known <= 1 + 1e-12))


@given(hits, st.integers(1, 15))
def test_moving_every_hit_to_the_top_is_perfect(found: np.ndarray, k: int) -> None:
    best = np.sort(found, axis=1)[:, ::-1]
    values = ndcg(best, found.sum(axis=1), k)
    assert np.allclose(values[found.any(axis=1)], 1.0)


@given(arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1e6)))
def test_gini_is_blind_to_scale_and_order(amounts: np.ndarray) -> None:
    value = gini(amounts)
    assert isnan(value) or -1e-9 <= value < 1
    assert gini(amounts[::-1] * 3) == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_concentration_is_one_nth_when_all_get_the_same_and_one_when_one_gets_all():
    assert hhi(np.array([3.0, 3.0, 3.0, 3.0])) == pytest.approx(0.25)
    assert hhi(np.array([0.0, 7.0])) == 1.0
    assert hhi(np.array([1.0, 3.0])) == pytest.approx(0.0625 + 0.5625)
    assert np.isnan(hhi(np.zeros(3)))


def test_the_top_share_is_what_the_first_get_together():
    assert top_share(np.array([1.0, 5.0, 4.0]), 2) == pytest.approx(0.9)
    assert top_share(np.array([1.0, 5.0]), 10) == 1.0
    assert np.isnan(top_share(np.zeros(2), 1))


def test_distributions_are_apart_by_0_when_equal_1_when_disjoint_and_by_hand_between():
    first = np.array([[2.0, 2.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    second = np.array([[1.0, 1.0], [0.0, 5.0], [1.0, 0.0], [1.0, 0.0]])
    apart = jensen_shannon(first, second)
    # H(.75, .25) = .811278; H(.5, .5) = 1; H(1, 0) = 0
    assert apart[:3] == pytest.approx([0.0, 1.0, 0.811278 - 0.5], abs=1e-6)
    assert np.isnan(apart[3])
