"""Models as the ranker uses them: statistics over the catalogue, and what is unknown stays unknown."""

import numpy as np
import pytest

from recsys.model import build_model


@pytest.fixture(scope="module")
def model(tiny):
    return build_model(tiny)


def test_the_statistics_are_those_of_the_scores_themselves(model):
    rng = np.random.default_rng(5)
    for ranked in model.spaces.values():
        vectors = np.asarray(ranked.space.item_vectors)
        vector = rng.standard_normal(vectors.shape[1]).astype(np.float32)
        known = vectors[np.any(vectors, axis=1)] @ vector
        expected = (vectors @ vector - known.mean()) / known.std()
        found = ranked.scores(vector, np.arange(model.n_rows, dtype=np.int32))
        is_known = np.isfinite(found)
        assert (is_known == ranked.is_known).all()
        assert np.allclose(found[is_known], expected[is_known], atol=1e-3)


def test_a_row_that_is_not_in_the_artifact_is_unknown(model):
    rows = np.array([-1, 0], np.int32)
    for ranked in model.spaces.values():
        vector = np.asarray(ranked.space.item_vectors)[ranked.is_known][0]
        assert np.isnan(ranked.scores(vector, rows)[0])
    assert np.isnan(model.popular("MA", rows)).tolist() == [True, False]


def test_nobody_scores_zero(model):
    for ranked in model.spaces.values():
        d = ranked.space.item_vectors.shape[1]
        assert not ranked.scores(np.zeros(d, np.float32), np.array([-1, 0, 1], np.int32)).any()


def test_an_unknown_market_is_the_world(model):
    rows = np.arange(model.n_rows, dtype=np.int32)
    assert (model.popular("XX", rows) == model.popular(None, rows)).all()
    assert model.popular(None, rows).mean() == pytest.approx(0, abs=1e-3)


def test_nearest_are_allowed_and_at_most_k(model):
    allowed = np.zeros(model.n_rows, np.bool_)
    allowed[10:15] = True
    for ranked in model.spaces.values():
        vector = np.asarray(ranked.space.item_vectors)[ranked.is_known][0]
        assert set(ranked.nearest(vector, 3, allowed).tolist()) <= set(range(10, 15))
        assert len(ranked.nearest(vector, 50, allowed)) == 5
