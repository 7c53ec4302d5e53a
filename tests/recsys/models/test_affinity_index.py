"""The best by affinity are those of a pass over all items, whatever the items, the user and the rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import StageError
from recsys.models import affinity_index
from recsys.models.affinity_index import best_by_affinity, best_compiled, best_in_numpy, index_affinity

SCALES = st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e4])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 300),
    n_labels=st.integers(1, 5),
    n_words=st.integers(0, 9),
    k=st.integers(1, 40),
    scales=st.tuples(SCALES, SCALES, SCALES),
    n_alike=st.integers(1, 4),
)
def test_no_item_that_is_left_out_is_better_and_both_searches_find_the_same(
    native, seed, n, n_labels, n_words, k, scales, n_alike
):
    """Items repeat, so that scores are equal; labels, words and what is expected are of any size to each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (n, n_labels)) * rng.choice([0.5, 1.0, -2.0], n_labels)
    features = np.hstack([labels, scales[0] * rng.normal(size=(n, n_words))]).astype(np.float32)
    expected = (scales[1] * rng.normal(size=n)).astype(np.float32)
    same = rng.integers(0, -(-n // n_alike), n)
    features, expected = features[same], expected[same]
    user = (scales[2] * rng.normal(size=n_labels + n_words)).astype(np.float32)
    allowed = rng.random(n) < rng.random()
    index = index_affinity(features, expected)
    k = min(k, int(allowed.sum()))
    if k:
        best = sorted(best_compiled(native, index, user, k, allowed).tolist())
        assert best == sorted(best_in_numpy(index, user, k, allowed).tolist())
        scores = features.astype(np.float64) @ user + expected
        others = np.setdiff1d(np.flatnonzero(allowed), best)
        assert scores[others].max(initial=-np.inf) <= scores[best].min() + 1e-9 * np.abs(scores).max()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 300),
    n_words=st.integers(1, 11),
    k=st.integers(1, 20),
    is_close=st.booleans(),
)
def test_words_that_move_an_item_as_far_as_they_can_are_never_passed_over(native, seed, n, n_words, k, is_close):
    """
    Their direction is the user's own, so that the bound of an item is what it gets: a narrower one loses it. Where
    scores are close, 32 bits of rounding are too much.
    """
    rng = np.random.default_rng(seed)
    direction, k = rng.normal(size=n_words), min(k, n)
    labels = rng.integers(0, 2, (n, 2))
    features = np.hstack([labels, rng.normal(size=(n, 1)) * direction]).astype(np.float32)
    user = np.concatenate([rng.normal(size=2), direction]).astype(np.float32)
    expected = (3 - features.astype(np.float64) @ user if is_close else rng.normal(size=n)).astype(np.float32)
    index, allowed = index_affinity(features, expected), np.ones(n, np.bool_)
    scores = features.astype(np.float64) @ user + expected
    least = np.sort(scores)[-k] - 1e-13 * np.abs(scores).max()
    for best in (best_compiled(native, index, user, k, allowed), best_in_numpy(index, user, k, allowed)):
        assert len(best) == k and scores[best].min() >= least


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_words=st.integers(3, 11), k=st.integers(1, 20))
def test_sums_that_differ_in_their_last_bit_alone_are_told_apart_alike(native, seed, n_words, k):
    """The same words in other orders: which item gets more is a matter of the order of additions."""
    rng = np.random.default_rng(seed)
    words = rng.permuted(np.tile(rng.normal(size=n_words) * 10.0 ** rng.integers(-9, 9, n_words), (60, 1)), axis=1)
    features = np.hstack([np.ones((60, 1)), words]).astype(np.float32)
    user = np.array([0.5, *np.full(n_words, 0.3)], np.float32)
    index, allowed = index_affinity(features, np.full(60, 0.7, np.float32)), np.ones(60, np.bool_)
    best = sorted(best_compiled(native, index, user, k, allowed).tolist())
    assert best == sorted(best_in_numpy(index, user, k, allowed).tolist())


def test_two_items_worked_by_hand(monkeypatch):
    """Topics 1 and 2, one word; item 1: .5 + .2 - .3 = .4, item 2: .6 + 0 + .1 = .7, item 0: .9 - .4 = .5."""
    features = np.array([[0, 1, -1], [1, 0, 3], [0, 0, -1]], np.float32)
    expected = np.array([0.9, 0.5, 0.6], np.float32)
    index = index_affinity(features, expected)
    user = np.array([0.2, -0.5, -0.1], np.float32)
    for library in (affinity_index.library(), None):
        monkeypatch.setattr(affinity_index, "library", lambda found=library: found)
        assert best_by_affinity(index, user, 1, np.ones(3, np.bool_)).tolist() == [2]
        assert sorted(best_by_affinity(index, user, 5, np.array([True, True, False])).tolist()) == [0, 1]
        assert best_by_affinity(index, user, 5, np.zeros(3, np.bool_)).tolist() == []


def test_features_without_labels_or_with_more_than_a_number_has_bits_are_searched_too(native):
    rng = np.random.default_rng(0)
    for labels in (rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 70))):
        features = np.hstack([labels, rng.normal(size=(60, 2))]).astype(np.float32)
        index = index_affinity(features, rng.random(60).astype(np.float32))
        user, allowed = rng.normal(size=features.shape[1]).astype(np.float32), np.ones(60, np.bool_)
        best = best_compiled(native, index, user, 7, allowed)
        assert sorted(best.tolist()) == sorted(best_in_numpy(index, user, 7, allowed).tolist())


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_items_that_are_not_finite_are_refused(odd):
    features, expected = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    for place in (0, 2):
        broken = features.copy()
        broken[1, place] = odd
        with pytest.raises(StageError, match="train again"):
            index_affinity(broken, expected)
    with pytest.raises(StageError, match="train again"):
        index_affinity(features, np.array([0, odd], np.float32))


def test_no_items_have_no_best():
    index = index_affinity(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    assert best_by_affinity(index, np.zeros(3, np.float32), 5, np.zeros(0, np.bool_)).tolist() == []
