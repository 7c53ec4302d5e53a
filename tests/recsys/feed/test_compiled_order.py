"""The compiled order of a page is that of the reference, to the bit, whatever the parts of the scores are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.feed import scorers as score
from recsys.feed.compiled_order import unite_compiled
from recsys.feed.pipeline import unite
from recsys.feed.scorers import ordered, ordered_in_numpy
from recsys.messages import FeedRequest
from recsys.types import Candidates

ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38], np.float32)


@pytest.fixture(scope="module")
def query(make_service, evening):
    service = make_service().is_adult("casa-adult")
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def page_of(rng, query, n, share_odd, n_values):
    """A query and its candidates, with parts of few or many values, of which some are no numbers."""
    numbers = rng.choice(np.arange(1, len(query.items)), n, replace=False).astype(np.int32)
    numbers = numbers if rng.random() < 0.3 else np.sort(numbers)
    columns = {"tier": rng.choice(np.arange(5, dtype=np.int8), n, p=[0.5, 0.2, 0.2, 0.05, 0.05])}
    for name in (*score.SCORERS, "own"):
        part = rng.choice(rng.normal(size=n_values), n).astype(np.float32)
        is_odd = rng.random(n) < share_odd
        part[is_odd] = rng.choice(ODD, is_odd.sum())
        columns[f"p_{name}"] = part
    codes = dict.fromkeys([*query.items.codes.values(), 0])
    items = replace(
        query.items,
        language=rng.choice([*codes], len(query.items)).astype(np.int16),
        confidence=rng.choice([0.5, 0.7, 0.7, 0.9], len(query.items)).astype(np.float32),
    )
    names = [*query.items.codes, "xx"]
    spoken = rng.choice(names, min(len(names), int(rng.integers(5))), replace=False).tolist()
    asked = replace(
        query,
        items=items,
        size=int(rng.integers(1, 40)),
        weights={name: float(rng.choice([0, 1, -2, 0.3])) for name in score.SCORERS}
        | {"language": float(rng.choice([0, 2, 0.5])), "own": 1.5},
        caller_parts={"own": columns["p_own"]},
        wanted_languages={name: 1 / (len(spoken) + 1) for name in spoken},
    )
    return asked, Candidates(numbers, columns)


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 60),
    share_odd=st.sampled_from([0.0, 0.0, 0.02, 0.3]),
    n_values=st.sampled_from([1, 3, 100]),
)
def test_the_order_is_that_of_the_reference_to_the_bit(native, query, seed, n, share_odd, n_values):
    asked, candidates = page_of(np.random.default_rng(seed), query, n, share_odd, n_values)
    found = score._ordered_compiled(native, asked, candidates)
    if found is None:  # a score to calibrate is not finite
        assert share_odd > 0
        return
    with np.errstate(all="ignore"):
        expected = ordered_in_numpy(asked, candidates)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()
    assert (found[0][candidates["tier"] == 1] <= 0).all()  # none is there for its language


def test_unknown_confidences_and_scores_are_left_to_the_reference(native, query):
    asked, candidates = page_of(np.random.default_rng(1), query, 20, 0.0, 3)
    unsure = replace(asked.items, confidence=np.full(len(asked.items), np.nan, np.float32))
    odd = candidates.with_columns({"p_own": np.full(20, np.inf, np.float32), "p_cf": np.full(20, np.inf, np.float32)})
    heavy = replace(asked, weights={"own": 2.0, "cf": 2.0, "language": 1.0}, wanted_languages={})
    assert score._ordered_compiled(native, replace(asked, items=unsure), candidates) is None
    with np.errstate(all="ignore"):
        for one, other in zip(ordered(heavy, odd), ordered_in_numpy(heavy, odd), strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=300, deadline=None)
@given(lists=st.lists(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 30), max_size=20), max_size=5))
def test_lists_are_united_as_in_the_reference(native, lists):
    arrays = [np.array(numbers, np.int32) for numbers in lists]
    expected, found = unite(arrays), unite_compiled(native, arrays)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
