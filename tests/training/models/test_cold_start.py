"""Laws of the bridge, on a world where words and makers decide the place, so that the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.cold_start import FEWEST, Teachers, bridged, fit

N, N_MAKERS, T, D = 600, 30, 12, 5


def world(seed: int = 0, *, words: float = 1.0, makers: float = 1.0) -> Teachers:
    """Places that are a line of the words, plus the maker's own direction, plus a little of neither."""
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((N, T))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    maker = rng.integers(N_MAKERS, size=N)
    line, own = rng.standard_normal((T, D)), rng.standard_normal((N_MAKERS, D))
    vectors = words * texts @ line + makers * own[maker] + 0.1 * rng.standard_normal((N, D)) + 2
    return Teachers(texts=texts.astype(np.float32), makers=maker.astype(np.int32), vectors=vectors.astype(np.float32))


@pytest.mark.parametrize(("words", "makers"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_who_has_no_reactions_is_placed_where_words_and_makers_put_them(words: float, makers: float) -> None:
    truth = world(words=words, makers=makers)
    cold = np.arange(N) % 4 == 0
    seen = np.where(cold[:, None], 0, truth.vectors).astype(np.float32)
    everything = np.ones(N, np.bool_)
    placed, n = bridged(seen, truth.texts, truth.makers, everything, np.random.default_rng(1))
    assert n == cold.sum()
    missed = np.square(placed[cold] - truth.vectors[cold]).sum()
    spread = np.square(truth.vectors[cold] - truth.vectors.mean(axis=0)).sum()
    assert missed < 0.15 * spread


def test_what_was_learned_stays_as_it_is_and_nothing_is_placed_without_words_or_leave() -> None:
    truth = world()
    seen = truth.vectors.copy()
    seen[:50] = 0
    texts, may = truth.texts.copy(), np.ones(N, np.bool_)
    texts[:10] = 0
    may[10:30] = False  # R2 and above, or unlabelled
    placed, n = bridged(seen, texts, truth.makers, may, np.random.default_rng(1))
    np.testing.assert_array_equal(placed[50:], seen[50:])
    assert n == 20 and not placed[:30].any() and placed[30:50].any(axis=1).all()


def test_who_may_not_be_placed_teaches_nothing_either() -> None:
    truth = world()
    seen, other, may = truth.vectors.copy(), truth.vectors.copy(), np.ones(N, np.bool_)
    seen[:50] = other[:50] = 0
    may[100:200] = False
    other[100:200] *= -7
    found = [bridged(v, truth.texts, truth.makers, may, np.random.default_rng(1))[0] for v in (seen, other)]
    np.testing.assert_array_equal(found[0][:50], found[1][:50])


def test_places_that_words_and_makers_say_nothing_about_get_no_bridge() -> None:
    truth = world()
    rng = np.random.default_rng(2)
    noise = Teachers(texts=truth.texts, makers=rng.permutation(truth.makers), vectors=rng.permutation(truth.vectors))
    bridge = fit(noise, N_MAKERS, np.random.default_rng(1))
    assert bridge is None or bridge.explained < 0.02
    assert fit(truth.take(np.arange(FEWEST - 1)), N_MAKERS, np.random.default_rng(1)) is None
    nobody, n = bridged(np.zeros((N, D), np.float32), truth.texts, truth.makers, np.ones(N, np.bool_), rng)
    assert n == 0 and not nobody.any()


def test_texts_that_only_their_neighbours_explain_are_placed_by_neighbours() -> None:
    """Sixty tight groups of texts in few dimensions: a line cannot tell them apart, the nearest texts can."""
    rng = np.random.default_rng(3)
    group = rng.integers(60, size=N)
    texts = rng.standard_normal((60, 3))[group] + 0.01 * rng.standard_normal((N, 3))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    vectors = rng.standard_normal((60, D))[group]
    teachers = Teachers(
        texts=texts.astype(np.float32), makers=np.zeros(N, np.int32), vectors=vectors.astype(np.float32)
    )
    bridge = fit(teachers, 1, np.random.default_rng(1))
    assert bridge is not None and bridge.share >= 0.75 and bridge.explained > 0.7


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=20))
def test_the_place_of_a_video_depends_on_that_video_only(rows: list[int]) -> None:
    truth = world()
    bridge = fit(truth, N_MAKERS, np.random.default_rng(1))
    assert bridge is not None
    whole = bridge.place(truth.texts, truth.makers)
    np.testing.assert_allclose(bridge.place(truth.texts[rows], truth.makers[rows]), whole[rows], rtol=1e-4, atol=1e-4)
