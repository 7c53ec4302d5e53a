"""The estimated watch fraction by hand, and against a yardstick that only counts what was shown often."""

import numpy as np
import pytest

from eval.offline.holdout import HeldOutImpressions
from eval.offline.watch import RankedImpressions, effective_impressions, estimated_watch

NAN = float("nan")


def person(*shown: tuple[int, float, float, float]) -> RankedImpressions:
    """Impressions as (row, response, propensity, target of the ranking)."""
    rows, response, propensity, target = (list(column) for column in zip(*shown, strict=True)) if shown else ([],) * 4
    return RankedImpressions(
        impressions=HeldOutImpressions(
            rows=np.array(rows, np.int32), response=np.array(response, np.float32),
            propensity=np.array(propensity, np.float32),
        ),
        target={"score": np.array(target, np.float64)},
    )  # fmt: skip


def test_what_was_rarely_shown_counts_more() -> None:
    people = [person((0, 1.0, 0.5, 1.0), (1, 0.0, 0.25, 1.0))]
    assert estimated_watch(people, ["score"], 5)["score"].mean() == pytest.approx(2 * 1 / (2 + 4))


def test_what_a_ranking_does_not_put_first_counts_less() -> None:
    people = [person((0, 1.0, 0.5, 1.0), (1, 0.0, 0.5, 0.25))]
    assert estimated_watch(people, ["score"], 5)["score"].mean() == pytest.approx(0.8)


def test_the_mean_over_people_is_the_estimate_over_all_impressions() -> None:
    people = [person((0, 1.0, 0.5, 1.0)), person((1, 0.0, 0.5, 1.0), (2, 0.5, 0.5, 1.0)), person()]
    values = estimated_watch(people, ["score"], 5)["score"]
    assert values.mean() == pytest.approx(0.5) and values[2] == pytest.approx(0.5)  # who saw nothing moves nothing
    assert values[0] > 0.5 > values[1]


def test_without_logged_propensities_they_are_estimated_for_all() -> None:
    people = [person((0, 1.0, NAN, 1.0), (1, 0.0, NAN, 1.0)), person((1, 0.0, 0.001, 1.0))]
    # row 0 was shown once and row 1 twice: propensities 2/6 and 3/6 of three items
    expected = 3 / (3 + 2 + 2)
    assert estimated_watch(people, ["score"], 3)["score"].mean() == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, 1.5])
def test_propensities_that_are_no_chances_are_estimated_like_missing_ones(bad: float) -> None:
    logged, missing = (
        [person((0, 1.0, value, 1.0), (1, 0.0, value, 1.0)), person((1, 0.0, 0.5, 1.0))] for value in (bad, NAN)
    )
    values = [estimated_watch(people, ["score"], 3)["score"].tolist() for people in (logged, missing)]
    assert values[0] == values[1]


def test_a_ranking_without_scores_and_a_log_without_impressions_have_no_estimate() -> None:
    assert np.isnan(estimated_watch([person((0, 1.0, 0.5, 1.0))], ["engine"], 5)["engine"]).all()
    assert np.isnan(estimated_watch([person()], ["score"], 5)["score"]).all()
    assert effective_impressions([person()], "score", 5) == 0.0


def test_equal_impressions_are_worth_their_number() -> None:
    people = [person(*((row, 0.5, 0.5, 1.0) for row in range(4)))]
    assert effective_impressions(people, "score", 5) == pytest.approx(4)


def test_a_feed_that_was_sure_of_its_items_does_not_tell_how_likely_others_were() -> None:
    sure = [person((0, 1.0, 1.0, 1.0), (1, 0.0, 1.0, 1.0)), person((1, 0.0, 0.01, 1.0))]
    unlogged = [person((0, 1.0, NAN, 1.0), (1, 0.0, NAN, 1.0)), person((1, 0.0, NAN, 1.0))]
    first, second = (estimated_watch(people, ["score"], 3)["score"].mean() for people in (sure, unlogged))
    assert first == second
