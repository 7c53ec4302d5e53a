"""The closed form of a blend gives the scores that scoring the whole catalogue gives."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel
from recsys.models.blend import Blend
from recsys.models.linear_blend import linear_blend
from recsys.models.loaded import blend_scores, build_models
from recsys.models.popularity import Popularity
from recsys.types import History

N, D = 60, 5


def world(seed: int, weights: dict[str, float], by_market: dict[str, dict[str, float]] | None = None):
    """A blend of two spaces and popularity over 60 items, of which a few nobody acted on."""
    rng = np.random.default_rng(seed)
    popularity = Popularity(("FR", "MA"), rng.random((3, N)).astype(np.float32))
    popularity.scores[:, ::7] = 0
    spaces = {
        name: LinearSpace(rng.standard_normal((N, D + n)).astype(np.float32), rng.random(N).astype(np.float32), 0.5)
        for n, name in enumerate(("near", "far"))
    }
    models = {**spaces, "popularity": PopularityModel(popularity.scores)}
    blend = Blend(models, weights, popularity.markets, by_market or {})
    items = rng.permutation(N)[:8].astype(np.int32)
    signed = np.where(np.arange(8) == 3, -1.0, 1.0 + rng.random(8)).astype(np.float32)
    return blend, popularity, History(items, signed, np.arange(8, dtype=np.int64))


@pytest.mark.parametrize("country", ["MA", "FR", "XX", None])
@pytest.mark.parametrize(
    "weights",
    [{"near": 1.0}, {"near": 0.7, "far": 0.2}, {"near": 0.7, "far": 0.2, "popularity": 1.3}, {"popularity": 1}],
)
def test_the_closed_form_gives_the_scores_of_the_whole_catalogue(weights, country):
    for seed in range(3):
        blend, popularity, history = world(seed, weights, {"MA": {"near": 0.1, "popularity": 2.0}})
        expected = blend_scores(blend, popularity, history, country)
        closed = linear_blend(blend, popularity)
        assert closed is not None
        user = closed.for_user({name: space.fold_in(history) for name, space in closed.spaces.items()}, country)
        np.testing.assert_allclose(closed.scores(user), expected, atol=2e-4)
        some = np.array([5, 0, 7, 59], np.int32)
        np.testing.assert_array_equal(closed.scores(user, some), closed.scores(user)[some])


def test_a_user_whom_no_space_knows_has_the_popularity_alone():
    blend, popularity, history = world(1, {"near": 1.0, "popularity": 0.5})
    nobody = replace(history, weights=-np.ones(8, np.float32))
    closed = linear_blend(blend, popularity)
    assert closed is not None
    vectors = {name: np.zeros(space.item_vectors.shape[1], np.float32) for name, space in closed.spaces.items()}
    found = closed.scores(closed.for_user(vectors, "MA"))
    np.testing.assert_allclose(found, blend_scores(blend, popularity, nobody, "MA"), atol=2e-4)


def test_other_kinds_of_models_have_no_closed_form():
    blend, popularity, _ = world(1, {"near": 1.0})
    item_item = ItemItemModel(np.eye(N, dtype=np.float32), 0.0)
    assert linear_blend(replace(blend, base_models={"ease": item_item}), popularity) is None


def test_a_fitted_space_of_an_artifact_scores_as_before(tiny):
    model = build_models(tiny)
    models = {"ials": model.spaces["cf"].space, "popularity": PopularityModel(np.asarray(model.popularity.scores))}
    blend = Blend(models, {"ials": 0.7, "popularity": 1.0}, model.popularity.markets)
    closed = linear_blend(blend, model.popularity)
    assert closed is not None
    for history in [history for history in model.histories.values() if len(history)][:20]:
        found = closed.scores(closed.for_user({"ials": closed.spaces["ials"].fold_in(history)}, "MA"))
        np.testing.assert_allclose(found, blend_scores(blend, model.popularity, history, "MA"), atol=2e-4)
