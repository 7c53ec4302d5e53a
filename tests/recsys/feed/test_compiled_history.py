"""The compiled loop over what a person reacted to and saw tells models what its reference tells them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.feed.compiled_history import learn_compiled
from recsys.feed.history import history_of, responses_of
from recsys.messages import FeedRequest
from recsys.types import History
from recsys.user.state import InteractionHistory, Seen, UserState

WEIGHTS = (-2.0, -0.3, 0.0, 0.25, 0.7, 1.0, 1.5, 5.0)
NO_LOG = np.empty(0, np.int32)


@pytest.fixture(scope="module")
def catalogue(make_service, evening):
    return make_service().is_adult("a").engine.context(FeedRequest(user_id="a"), evening).query.items


def person_of(rng, n_items, n_rows, n_times):
    """A trained history and a state, with few videos and few instants, so that many of them are the same."""
    n, m, k = rng.integers(12, size=3)
    recent = InteractionHistory(
        items=tuple(rng.integers(n_items, size=m).tolist()),
        weights=tuple(rng.choice(WEIGHTS, m).tolist()),
        at=tuple(sorted(rng.integers(n_times, size=m).tolist())),
        reset_at=int(rng.choice([0, 0, rng.integers(n_times)])),
    )
    seen = Seen(
        reported=tuple(rng.integers(n_items + 2, size=k).tolist()),
        reported_at=tuple(sorted(rng.integers(n_times, size=k).tolist())),
    )
    trained = History(
        rng.integers(n_rows, size=n).astype(np.int32),
        rng.choice(WEIGHTS, n).astype(np.float32),
        np.sort(rng.integers(n_times, size=n)),
    )
    return trained, msgspec.structs.replace(UserState(), interactions=recent, seen=seen)


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 12), n_times=st.sampled_from([1, 5, 1_000]))
def test_history_and_responses_are_those_of_the_reference(native, catalogue, seed, n_rows, n_times):
    rng = np.random.default_rng(seed)
    items = replace(catalogue, row=rng.integers(-1, n_rows, len(catalogue)).astype(np.int32))
    risky = rng.random(n_rows) < 0.3
    trained, state = person_of(rng, min(20, len(items)), n_rows, n_times)
    history = history_of(state.interactions, trained, items, risky)
    expected = responses_of(state, history, NO_LOG, items, risky)
    found = learn_compiled(native, state.interactions, trained, state.seen, items, risky)
    assert found is not None
    for one, other in zip(found, (history, expected), strict=True):
        for name in one.__slots__:
            assert getattr(one, name).dtype == getattr(other, name).dtype
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


@pytest.mark.parametrize("broken", ["a row of training", "a row of a video", "a number", "a number below 0"])
def test_rows_and_numbers_that_there_are_not_are_left_to_the_reference(native, catalogue, broken):
    items = replace(catalogue, row=np.zeros(len(catalogue), np.int32))
    trained = History(np.zeros(1, np.int32), np.ones(1, np.float32), np.ones(1, np.int64))
    recent, seen = InteractionHistory(items=(1,), weights=(1.0,), at=(2,)), Seen(reported=(1,), reported_at=(2,))
    risky = np.zeros(1, np.bool_)
    assert learn_compiled(native, recent, trained, seen, items, risky) is not None
    if broken == "a row of training":
        trained = History(np.ones(1, np.int32), np.ones(1, np.float32), np.ones(1, np.int64))
    elif broken == "a row of a video":
        items = replace(items, row=np.ones(len(items), np.int32))
    elif broken == "a number":
        recent = InteractionHistory(items=(len(items),), weights=(1.0,), at=(2,))
    else:
        seen = Seen(reported=(-1,), reported_at=(2,))
    assert learn_compiled(native, recent, trained, seen, items, risky) is None
