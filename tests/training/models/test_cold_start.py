"""Laws of the cold-start mapping, on a world where text and creator decide the vector, so that the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.cold_start import MIN_WARM_ITEMS, WarmItems, fit, map_cold_vectors

N, N_CREATORS, T, D = 600, 30, 12, 5


def world(seed: int = 0, *, words: float = 1.0, creators: float = 1.0) -> WarmItems:
    """Places that are a line of the words, plus the maker's own direction, plus a little of neither."""
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((N, T))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    creator = rng.integers(N_CREATORS, size=N)
    line, own = rng.standard_normal((T, D)), rng.standard_normal((N_CREATORS, D))
    vectors = words * texts @ line + creators * own[creator] + 0.1 * rng.standard_normal((N, D)) + 2
    return WarmItems(
        texts=texts.astype(np.float32), creators=creator.astype(np.int32), vectors=vectors.astype(np.float32)
    )


@pytest.mark.parametrize(("words", "creators"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_an_item_without_interactions_gets_the_vector_of_its_text_and_creator(words: float, creators: float) -> None:
    truth = world(words=words, creators=creators)
    cold = np.arange(N) % 4 == 0
    seen = np.where(cold[:, None], 0, truth.vectors).astype(np.float32)
    everything = np.ones(N, np.bool_)
    mapped, n = map_cold_vectors(seen, truth.texts, truth.creators, everything, np.random.default_rng(1))
    assert n == cold.sum()
    missed = np.square(mapped[cold] - truth.vectors[cold]).sum()
    spread = np.square(truth.vectors[cold] - truth.vectors.mean(axis=0)).sum()
    assert missed < 0.15 * spread


def test_learned_vectors_stay_and_nothing_is_mapped_without_text_or_below_r2() -> None:
    truth = world()
    seen = truth.vectors.copy()
    seen[:50] = 0
    texts, may = truth.texts.copy(), np.ones(N, np.bool_)
    texts[:10] = 0
    may[10:30] = False  # R2 and above, or unlabelled
    mapped, n = map_cold_vectors(seen, texts, truth.creators, may, np.random.default_rng(1))
    np.testing.assert_array_equal(mapped[50:], seen[50:])
    assert n == 20 and not mapped[:30].any() and mapped[30:50].any(axis=1).all()


def test_an_item_that_may_not_be_mapped_is_not_learned_from() -> None:
    truth = world()
    seen, other, may = truth.vectors.copy(), truth.vectors.copy(), np.ones(N, np.bool_)
    seen[:50] = other[:50] = 0
    may[100:200] = False
    other[100:200] *= -7
    found = [map_cold_vectors(v, truth.texts, truth.creators, may, np.random.default_rng(1))[0] for v in (seen, other)]
    np.testing.assert_array_equal(found[0][:50], found[1][:50])


def test_vectors_that_text_and_creator_do_not_explain_get_no_mapping() -> None:
    truth = world()
    rng = np.random.default_rng(2)
    noise = WarmItems(
        texts=truth.texts, creators=rng.permutation(truth.creators), vectors=rng.permutation(truth.vectors)
    )
    mapping = fit(noise, N_CREATORS, np.random.default_rng(1))
    assert mapping is None or mapping.explained < 0.02
    assert fit(truth.take(np.arange(MIN_WARM_ITEMS - 1)), N_CREATORS, np.random.default_rng(1)) is None
    nobody, n = map_cold_vectors(np.zeros((N, D), np.float32), truth.texts, truth.creators, np.ones(N, np.bool_), rng)
    assert n == 0 and not nobody.any()


def test_texts_that_only_their_neighbours_explain_are_mapped_by_neighbours() -> None:
    """Sixty tight groups of texts in few dimensions: a line cannot tell them apart, the nearest texts can."""
    rng = np.random.default_rng(3)
    group = rng.integers(60, size=N)
    texts = rng.standard_normal((60, 3))[group] + 0.01 * rng.standard_normal((N, 3))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    vectors = rng.standard_normal((60, D))[group]
    teachers = WarmItems(
        texts=texts.astype(np.float32), creators=np.zeros(N, np.int32), vectors=vectors.astype(np.float32)
    )
    mapping = fit(teachers, 1, np.random.default_rng(1))
    assert mapping is not None and mapping.neighbour_share >= 0.75 and mapping.explained > 0.7


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=20))
def test_the_vector_of_an_item_depends_on_that_item_only(rows: list[int]) -> None:
    truth = world()
    mapping = fit(truth, N_CREATORS, np.random.default_rng(1))
    assert mapping is not None
    whole = mapping.predict(truth.texts, truth.creators)
    np.testing.assert_allclose(
        mapping.predict(truth.texts[rows], truth.creators[rows]), whole[rows], rtol=1e-4, atol=1e-4
    )
