"""The parts of a score by hand, and what an unknown part does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import DAY
from recsys.feed import scorers as score
from recsys.messages import FeedRequest


@pytest.fixture(scope="module")
def query(make_service, evening):
    service = make_service().is_adult("casa-adult")
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def test_fresh_halves_every_7_days_and_the_future_is_now(query):
    published = np.full(len(query.items), query.at, np.int64)
    published[1], published[2], published[3] = query.at - 7 * DAY, query.at - 14 * DAY, query.at + DAY
    items = replace(query.items, published_at=published)
    found = score.fresh(replace(query, items=items), query.whole)
    assert found[[1, 2, 3, 4]].tolist() == pytest.approx([0.5, 0.25, 1.0, 1.0])


def test_content_scores_in_standard_deviations_over_the_catalogue(query):
    scores = score.content(replace(query, weights={"content": 1.0}), query.whole)
    known = scores[np.isfinite(scores)]
    assert len(known) and known.mean() == pytest.approx(0, abs=0.02) and known.std() == pytest.approx(1, abs=0.02)


def test_what_weighs_nothing_is_not_worked_out_and_of_nobody_every_score_is_zero(query):
    nobody = replace(query, history=type(query.history).empty())
    for name, scorer in {"cf": score.blend, "content": score.content}.items():
        assert np.isnan(scorer(replace(query, weights={name: 0.0}), query.whole)).all()
        assert not scorer(replace(nobody, weights={name: 1.0}), query.whole).any()


def test_an_unknown_part_counts_as_the_mean(query):
    rows = query.whole.take(np.array([1, 2, 3]))
    parts = {f"p_{name}": np.array([1, np.nan, 0], np.float32) for name in score.SCORERS}
    asked = replace(query, weights={"cf": 2.0, "local": 0.5})
    assert score.value(asked, rows.with_columns(parts)).tolist() == [2.5, 0.0, 0.0]


def test_supportive_followed_and_local_are_what_the_columns_say(query):
    creators = frozenset({int(query.items.creator_no[4])})
    asked = replace(query, followed=creators)
    assert (score.supportive(query, query.whole) == query.whole["is_supportive"]).all()
    assert (score.followed(asked, query.whole) == (query.items.creator_no == query.items.creator_no[4])).all()
    near = score.local(query, query.whole)
    assert ((near >= 0) & (near <= 1)).all() and not near[np.isnan(query.nearness.score)].any()


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=50), st.integers(0, 100))
def test_a_percentile_is_that_of_numpy(values, percent):
    numbers = np.array(values, np.float32) / np.float32(4)  # differences stay finite
    np.testing.assert_array_equal(score.percentile_of(numbers, percent), np.percentile(numbers, percent))
