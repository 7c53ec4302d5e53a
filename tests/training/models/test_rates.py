"""Rates by hand: means that are shrunk by as much as groups differ beside what one group's own values differ."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.data.impressions import Impressions
from recsys.models.features import RATE_NAMES
from recsys.vocabulary import HEADS
from training.models.rates import MAX_STRENGTH, credibility_strength, cross_fitted_columns, fit_rates


def impressions(people: list[int], rows: list[int], response: list[float]) -> Impressions:
    n = len(rows)
    did = np.zeros((n, len(HEADS)), np.bool_)
    did[:, HEADS.index("complete")] = np.array(response) >= 1
    return Impressions(
        people=np.array(people, np.int32), rows=np.array(rows, np.int32), is_known=np.ones(n, np.bool_),
        slate=np.arange(n), at=np.arange(n),
        position=np.ones(n, np.float32), propensity=np.ones(n, np.float32), did=did,
        response=np.array(response, np.float32),
    )  # fmt: skip


def test_the_strength_by_hand() -> None:
    values, groups = np.array([0.0, 0.2, 0.8, 1.0]), np.array([0, 0, 1, 1], np.int32)
    # within: 4 * .1^2 / 2 = .02; between: (4 * .4^2 - .02) / (4 - 2) = .31
    assert credibility_strength(values, np.ones(4), groups, 2) == pytest.approx(1.0)  # .02 / .31 is below 1, the least
    wide = np.array([0.0, 1.0, 0.3, 1.3])  # within: .5, between: (4 * .15^2 - .5) / 2 < 0
    assert credibility_strength(wide, np.ones(4), groups, 2) == MAX_STRENGTH
    between = np.array([0.0, 0.8, 0.7, 1.5])  # within: .32, between: (4 * .35^2 - .32) / 2 = .085
    assert credibility_strength(between, np.ones(4), groups, 2) == pytest.approx(0.32 / 0.085)


def test_the_strength_of_weighted_values_by_hand() -> None:
    values, groups = np.array([0.0, 0.8, 0.7, 1.5]), np.array([0, 0, 1, 1], np.int32)
    weights = np.array([2.0, 2.0, 1.0, 1.0])
    # within: (4 * .16 + 2 * .16) / 2 = .48; means .4, 1.1; mean .6333; spread 4 * .0544 + 2 * .2178 = .6533
    # between: (.6533 - .48) / (6 - 20 / 6) = .065
    assert credibility_strength(values, weights, groups, 2) == pytest.approx(0.48 / 0.065)


@pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 2]])
def test_where_nothing_can_be_compared_a_group_counts_next_to_nothing(groups: list[int]) -> None:
    assert credibility_strength(np.array([0.0, 0.5, 1.0]), np.ones(3), np.array(groups, np.int32), 3) == MAX_STRENGTH


def test_an_item_without_impressions_has_the_rate_of_its_creator() -> None:
    creator = np.array([0, 0, 0, 1, 1], np.int32)
    shown = impressions([0, 1, 2, 3] * 2, [0, 0, 1, 1, 3, 3, 3, 3], [1.0, 0.9, 1.0, 0.8, 0.0, 0.1, 0.2, 0.0])
    rates = fit_rates(shown, creator, None)
    assert rates.shape == (5, 2 * len(RATE_NAMES))
    assert rates[2, 0] == pytest.approx(rates[2, len(RATE_NAMES)])
    assert rates[2, 0] > 0.5 > rates[4, 0]  # their creators' items were watched, or left


def test_only_what_was_shown_before_an_instant_counts() -> None:
    shown = impressions([0, 1, 2, 3], [0, 0, 1, 1], [1.0, 1.0, 0.0, 0.0])
    creator = np.array([0, 1], np.int32)
    np.testing.assert_array_equal(fit_rates(shown, creator, 2), fit_rates(shown.take(np.arange(2)), creator, None))


def test_no_impression_tells_its_own_features() -> None:
    rng = np.random.default_rng(0)
    people, rows = rng.integers(0, 10, 100).tolist(), rng.integers(0, 8, 100).tolist()
    response = rng.random(100)
    creator, features = np.arange(8, dtype=np.int32) % 3, np.eye(8, 3, dtype=np.float32)
    before = cross_fitted_columns(impressions(people, rows, response.tolist()), creator, features)
    response[0] = 1 - response[0]
    after = cross_fitted_columns(impressions(people, rows, response.tolist()), creator, features)
    assert all(before[name][0] == after[name][0] for name in before)
    assert any((before[name] != after[name]).any() for name in before)  # others learn from it


def test_a_crowd_that_nobody_knows_moves_a_rate_less_than_one_that_is_known() -> None:
    people, rows = [*range(20), *range(20, 40)], [*[0, 1] * 10, *[0] * 20]
    honest, crowd = [0.2, 0.4] * 10, [1.0] * 20
    known = impressions(people, rows, honest + crowd)
    unknown = replace(known, is_known=np.arange(40) < 20)
    creator = np.array([0, 1], np.int32)
    without = fit_rates(known.take(np.arange(20)), creator, None)[0, 0]
    assert without < fit_rates(unknown, creator, None)[0, 0] < fit_rates(known, creator, None)[0, 0]
