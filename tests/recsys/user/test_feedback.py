"""Laws of confidence."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import DAY
from recsys.user import feedback
from recsys.vocabulary import EVENT_KINDS

fractions = st.one_of(st.none(), st.floats(0, 1, width=32))


@given(st.sampled_from(EVENT_KINDS), fractions)
def test_one_event_and_many_events_agree(kind, fraction):
    code = np.array([EVENT_KINDS.index(kind)], np.uint8)
    column = np.array([np.nan if fraction is None else fraction], np.float32)
    assert feedback.confidences(code, column)[0] == np.float32(feedback.confidence(kind, fraction))


def test_every_kind_has_a_confidence():
    assert set(feedback.FIXED) == set(EVENT_KINDS) - {"view"}


def test_refusals_are_negative_and_being_shown_says_nothing():
    for kind in ("not_interested", "too_much", "report", "hide_creator"):
        assert feedback.confidence(kind, None) < 0
    for kind in ("impression", "search", "support_requested", "undo"):
        assert feedback.confidence(kind, None) == 0


@pytest.mark.parametrize(("fraction", "expected"), [(None, 0.25), (0.0, 0.0), (0.1, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_a_view_counts_by_what_was_watched_and_a_swipe_away_not_at_all(fraction, expected):
    assert feedback.confidence("view", fraction) == expected


def test_a_reaction_halves_with_each_half_life_and_the_future_counts_as_new():
    assert feedback.decay(0) == 1
    assert feedback.decay(30 * DAY, 30 * DAY) == 0.5
    assert feedback.decay(60 * DAY, 30 * DAY) == 0.25
    assert feedback.decay(-DAY) == 1


@given(st.integers(-DAY, 1_000 * DAY))
def test_one_age_and_many_ages_agree(age):
    assert feedback.decays(np.array([age]))[0] == pytest.approx(feedback.decay(age), rel=1e-5)


@given(st.floats(-5, 5, width=32), st.booleans())
def test_risk_is_never_a_positive_signal_and_a_refusal_always_stays(weight, is_risky):
    learned = feedback.learnable(weight, is_risky)
    assert learned == (min(weight, 0) if is_risky else weight)
    assert feedback.learnables(np.array([weight], np.float32), np.array([is_risky]))[0] == learned


@pytest.mark.parametrize(("tier", "expected"), [("R0", False), ("R1", False), ("R2", True), ("R4", True), (None, True)])
def test_an_unlabelled_item_counts_as_risky(tier, expected):
    assert feedback.is_r2_plus(tier) is expected


def test_a_response_is_the_largest_watch_and_acts_that_cost_more_count_only_without_one():
    items = np.array([0, 0, 1, 2, 2, 3], np.int32)
    weights = np.array([0.6, 1.5, 2.0, 1.0, -1.0, 0.3], np.float32)
    assert feedback.responses(items, weights, 5).tolist() == pytest.approx([0.6, 1.0, 0.0, 0.3, 0.0])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-2.0, -1.0, 0.0, 0.25, 0.7, 1.0, 1.5, 3.0])), max_size=20)
)
def test_responses_are_the_same_in_a_table_and_in_arrays(pairs):
    items = np.array([item for item, _ in pairs], np.int32)
    weights = np.array([weight for _, weight in pairs], np.float32)
    table = (
        pl.DataFrame({"item": items, "confidence": weights})
        .group_by("item")
        .agg(response=feedback.response_column(pl.col("confidence")))
    )
    expected = feedback.responses(items, weights, 4)
    for item, response in table.iter_rows():
        assert response == pytest.approx(expected[item])
