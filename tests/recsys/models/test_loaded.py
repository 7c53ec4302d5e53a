"""Models as the ranker uses them: statistics over the catalogue, and what is unknown stays unknown."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.errors import StageError
from recsys.models.loaded import _centre_and_spread, blend_scores, build_models
from recsys.models.reranker import Reranker, count_features


@pytest.fixture(scope="module")
def model(tiny):
    return build_models(tiny)


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
    assert np.isnan(model.popularity_scores("MA", rows)).tolist() == [True, False]


def test_nobody_scores_zero(model):
    for ranked in model.spaces.values():
        d = ranked.space.item_vectors.shape[1]
        assert not ranked.scores(np.zeros(d, np.float32), np.array([-1, 0, 1], np.int32)).any()


def test_an_unknown_market_is_the_world(model):
    rows = np.arange(model.n_rows, dtype=np.int32)
    assert (model.popularity_scores("XX", rows) == model.popularity_scores(None, rows)).all()
    assert model.popularity_scores(None, rows).mean() == pytest.approx(0, abs=1e-3)


def test_nearest_are_allowed_and_at_most_k(model):
    allowed = np.zeros(model.n_rows, np.bool_)
    allowed[10:15] = True
    for ranked in model.spaces.values():
        vector = np.asarray(ranked.space.item_vectors)[ranked.is_known][0]
        assert set(ranked.nearest(vector, 3, allowed).tolist()) <= set(range(10, 15))
        assert len(ranked.nearest(vector, 50, allowed)) == 5


def test_the_reranker_orders_what_may_be_shown(model):
    """Trees that turn the order around: of the open items alone, and of no more than may be shown."""
    import lightgbm

    names = tuple(model.blend.base_models)
    table = np.random.default_rng(0).random((200, count_features(model.blend.base_models)))
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 0}
    trees = lightgbm.train(settings, lightgbm.Dataset(table, table[:, 0] < 0.5), 1)
    use = np.ones(model.n_rows, np.float32)
    turned = replace(model.blend, reranker=Reranker(trees, (-1e3, 0.0, 0.0), names, use))
    history = next(history for history in model.histories.values() if (history.weights > 0).any())
    plain = model.blend_scores(history, "MA")
    known = np.setdiff1d(np.flatnonzero(np.isfinite(plain)), history.items)
    few = np.zeros(model.n_rows, np.bool_)
    few[known[::7][:20]] = True
    found = blend_scores(turned, model.popularity, history, "MA", few)
    np.testing.assert_allclose(found[~few], plain[~few], rtol=0, atol=1e-5)  # summed in another order
    best = np.argsort(-plain[few], kind="stable")
    assert np.allclose(found[few][best], plain[few][best][::-1])
    assert np.array_equal(blend_scores(model.blend, model.popularity, history, "MA", few), plain, equal_nan=True)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38])
def test_a_popularity_without_a_spread_is_refused(odd):
    with pytest.raises(StageError, match="train again"):
        _centre_and_spread(np.array([1, odd, -odd], np.float32))


def test_the_spread_of_equal_popularity_is_no_zero():
    assert _centre_and_spread(np.full(3, 2, np.float32)) == (2.0, 1e-6)
    assert _centre_and_spread(np.empty(0, np.float32)) == (0.0, 1e-6)
