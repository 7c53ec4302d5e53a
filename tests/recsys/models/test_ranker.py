"""Laws of the ranker as the engine uses it, on real trees over the tiny world."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.feed import scorers as score
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact, ArtifactContents, load_artifact, save_artifact
from recsys.models.ranker import FeatureScale, RankerHead, RankerHeads
from recsys.services.explain import replay, why
from recsys.vocabulary import HEADS


@pytest.fixture(scope="module")
def with_heads(tiny: Artifact, tmp_path_factory) -> Path:
    """The tiny artifact with heads that were fitted on noise: their quality is not tested here, only how it is used."""
    import lightgbm

    from recsys.models.features import feature_names

    names = feature_names(tiny.spaces)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((400, len(names))).astype(np.float32)
    heads = {}
    for n, name in enumerate(HEADS):
        data = lightgbm.Dataset(table, (table[:, n] + rng.standard_normal(400) > 0).astype(int))
        trees = lightgbm.train({"objective": "binary", "num_leaves": 4, "verbosity": -1, "num_threads": 1}, data, 5)
        heads[name] = RankerHead(
            coefficients=rng.normal(0, 0.1, len(names)).astype(np.float32), booster=trees if n % 2 else None, slope=1.5,
            intercept=-1.0, prior=0.1 + n / 100,
        )  # fmt: skip
    ranker = RankerHeads(
        features=names, scale=FeatureScale(table.mean(axis=0), table.std(axis=0)), heads=heads,
        rates=rng.random((len(tiny.items), 8)).astype(np.float32),
        item_features=rng.random((len(tiny.items), 12)).astype(np.float32), mixing_weight=0.5, base_scale=0.6,
        head_scale=4.0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("ranked") / "artifact"
    save_artifact(folder, _contents(tiny, ranker), msgspec.structs.replace(tiny.manifest, features=names))
    return folder


def _contents(tiny: Artifact, ranker: RankerHeads) -> ArtifactContents:
    return ArtifactContents(
        items=tiny.items, creators=tiny.creators, users=tiny.users, spaces=tiny.spaces, blend=tiny.blend,
        popularity=tiny.popularity, histories=tiny.histories, safe_feed=tiny.safe_feed, ranker=ranker,
    )  # fmt: skip


@pytest.fixture
def service(make_service, with_heads):
    return make_service(artifact=load_artifact(with_heads)).is_adult("casa-adult")


@pytest.fixture
def query(service, evening):
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def test_heads_are_read_back_as_they_were_written(with_heads, query):
    again = load_artifact(with_heads).ranker
    assert (
        again is not None
        and tuple(again.heads) == HEADS
        and (again.mixing_weight, again.base_scale, again.head_scale) == (0.5, 0.6, 4)
    )
    table = np.random.default_rng(1).standard_normal((50, len(again.features))).astype(np.float32)
    for name, chances in query.model.ranker.heads.predict(table).items():
        np.testing.assert_array_equal(again.predict(table)[name], chances)
        assert ((chances > 0) & (chances < 1)).all()


def test_a_ranker_of_other_spaces_is_refused_with_a_sentence(tiny, with_heads, tmp_path):
    ranker = load_artifact(with_heads).ranker
    assert ranker is not None
    contents = _contents(tiny, replace(ranker, features=ranker.features[::-1]))
    save_artifact(tmp_path / "other", contents, tiny.manifest)
    with pytest.raises(ArtifactError, match=r"the ranker reads the features position, .* expected space_cf"):
        load_artifact(tmp_path / "other")


def test_weights_by_hand(query):
    given = {"cf": 1.0, "content": 0.5, "local": 0.7, "like": 2.0, "not_interested": 3.0}
    found = query.model.ranker.heads.weights(given)
    assert found == pytest.approx({"cf": 0.6, "content": 0.3, "local": 0.7, "like": 8.0, "not_interested": -12.0})
    assert query.weights["not_interested"] == pytest.approx(-8.0) and query.weights["supportive"] == 0.3


@pytest.mark.parametrize("name", HEADS)
def test_risk_and_unknown_items_are_never_predicted(query, name):
    prior = np.float32(query.model.ranker.heads.heads[name].prior)
    found = score.of_head(name)(query, query.whole)
    is_unmet = (query.whole["tier"] >= 2) | (query.items.row < 0)
    assert is_unmet.sum() > 1 and (found[is_unmet] == prior).all() and len(np.unique(found[~is_unmet])) > 1


@pytest.mark.parametrize("name", HEADS)
def test_a_probability_depends_on_the_query_and_its_row_only(query, name):
    whole = score.of_head(name)(query, query.whole)
    rows = np.random.default_rng(2).permutation(len(query.whole))[:40]
    np.testing.assert_allclose(score.of_head(name)(query, query.whole.take(rows)), whole[rows], rtol=1e-5)


def test_a_page_is_replayed_byte_for_byte_and_records_its_probabilities(service, evening):
    page = service.ask(explain="full")
    assert replay(service.engine, page.request_id)["identical"]
    assert set(HEADS) <= set(page.items[0].score_parts)
    first = next(item for item in page.items if item.tier == "R0")
    told = {part["name"]: part for part in why(service.engine, page.request_id, first.item_id)["score_parts"]}
    assert told["not_interested"]["weight"] == pytest.approx(-8.0) and 0 < told["like"]["value"] < 1


def test_without_a_ranker_heads_are_unknown_and_weigh_nothing(make_service, evening):
    plain = make_service().is_adult("casa-adult")
    asked = plain.engine.context(FeedRequest(user_id="casa-adult"), evening).query
    assert np.isnan(score.of_head("like")(asked, asked.whole)).all()
    assert not set(HEADS) & set(plain.ask(explain="full").items[0].score_parts)
