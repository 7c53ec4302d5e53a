"""Laws of the ranker as the engine uses it, on real trees over the tiny world."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.feed import scorers as score
from recsys.messages import FeedRequest
from recsys.models import ranker
from recsys.models.artifact import load_artifact, save_artifact
from recsys.models.ranker import FeatureScale
from recsys.services.explain import replay, why
from recsys.vocabulary import HEADS


@pytest.fixture
def service(make_service, ranked_tiny):
    return make_service(artifact=load_artifact(ranked_tiny)).is_adult("casa-adult")


@pytest.fixture
def query(service, evening):
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def test_heads_are_read_back_as_they_were_written(ranked_tiny, query):
    again = load_artifact(ranked_tiny).ranker
    assert (
        again is not None
        and tuple(again.heads) == HEADS
        and (again.mixing_weight, again.base_scale, again.head_scale) == (0.5, 0.6, 4)
    )
    table = np.random.default_rng(1).standard_normal((50, len(again.features))).astype(np.float32)
    for name, chances in query.model.ranker.heads.predict(table).items():
        np.testing.assert_array_equal(again.predict(table)[name], chances)
        assert ((chances > 0) & (chances < 1)).all()


def test_a_ranker_of_other_spaces_is_refused_with_a_sentence(tiny, ranked_tiny, contents_of, tmp_path):
    ranker = load_artifact(ranked_tiny).ranker
    assert ranker is not None
    contents = contents_of(tiny, replace(ranker, features=ranker.features[::-1]))
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


def test_compiled_deviations_have_the_bits_of_the_reference(native, monkeypatch):
    monkeypatch.setattr(ranker, "library", lambda: native)
    rng = np.random.default_rng(5)
    mean, deviation = rng.normal(size=(2, 34)).astype(np.float32)
    table = (rng.normal(size=(200, 34)) * 3).astype(np.float32)
    table[rng.random(table.shape) < 0.2] = 1.0
    odd = rng.random(table.shape) < 0.1
    table[odd] = rng.choice(np.array([np.nan, np.inf, -np.inf, -0.0, 1e30, -1e-40], np.float32), odd.sum())
    scale = FeatureScale(mean, np.abs(deviation))
    np.testing.assert_array_equal(scale.standardise(table), scale.standardise_in_numpy(table))
