"""Items that came after the artifact compete by their creator and by what they are about."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.feed.scorers import of_head
from recsys.feed.sources import LARGE_SOURCE_ITEMS, affinity
from recsys.messages import FeedRequest
from recsys.models.affinity import Form
from recsys.models.artifact import load_artifact
from recsys.services.items import put_item


@pytest.fixture
def service(make_service, tmp_path_factory, ranked_tiny):
    return make_service(artifact=load_artifact(ranked_tiny)).is_adult("casa-adult")


def put(service, item_id: str, at: int, **fields) -> None:
    known = {"title": "x", "language": "fr", "risk_tier": "R0", "risk_source": "human", "topics": ["S1"]}
    put_item(service.store.catalogue, item_id, {**known, **fields}, at)


def query_of(service, at: int):
    return service.engine.context(FeedRequest(user_id="casa-adult"), at).query


def chance(query, item_id: str) -> float:
    numbers = np.array([query.items.index[item_id]], np.intp)
    return float(of_head("complete")(query, query.whole.take(numbers))[0])


def test_a_new_item_has_the_rates_of_its_creator_and_its_own_topics_and_place(service, tiny, evening) -> None:
    creator = tiny.items["creator_id"][5]
    rows = np.flatnonzero(tiny.items["creator_id"] == creator)
    put(service, "new", evening, creator_id=creator, topics=["S2", "S5"])
    rankable = query_of(service, evening + 1).rankable
    inputs = rankable.inputs
    number = query_of(service, evening + 1).items.index["new"]
    new = rankable.rows[number]
    n = inputs.rates.shape[1] // 2
    assert new == len(tiny.items)
    of_creator = [np.tile(inputs.rates[row, n:], 2).tolist() for row in rows]
    assert inputs.rates[new].tolist() in of_creator
    assert inputs.facts.creator[new] == inputs.facts.creator[rows[0]]
    assert np.flatnonzero(inputs.facts.topics[new]).tolist() == [1, 4]
    assert np.isnan(inputs.facts.duration_s[new])


def test_a_new_item_is_of_the_kind_of_its_creator_and_of_no_length(make_service, tiny, ranked_tiny, evening) -> None:
    artifact = load_artifact(ranked_tiny)
    whole = artifact.ranker.item_features.copy()
    whole[:, -3:-1] = np.eye(2, dtype=np.float32)[np.arange(len(whole)) % 2]  # two kinds, then one group of lengths
    artifact = replace(artifact, ranker=replace(artifact.ranker, form=Form(2, 1), item_features=whole))
    service = make_service(artifact=artifact).is_adult("casa-adult")
    creator = tiny.items["creator_id"][5]
    put(service, "known", evening, creator_id=creator)
    query = query_of(service, evening + 1)
    features = query.rankable.inputs.item_features[query.rankable.rows[query.items.index["known"]]]
    example = np.flatnonzero(tiny.items["creator_id"] == creator)
    assert features[-3:-1].tolist() in whole[example, -3:-1].tolist()
    assert features[-1] == 0


def test_the_rows_of_the_artifact_stay_as_they_are(service, tiny, evening) -> None:
    before = query_of(service, evening).rankable.inputs
    put(service, "new", evening, creator_id=tiny.items["creator_id"][0])
    after = query_of(service, evening + 1).rankable.inputs
    np.testing.assert_array_equal(after.rates[: len(tiny.items)], before.rates)
    np.testing.assert_array_equal(after.item_features[: len(tiny.items)], before.item_features)


def test_risk_and_what_nobody_labelled_get_the_same_chance_for_everybody(service, tiny, evening) -> None:
    creator = tiny.items["creator_id"][0]
    put(service, "risky", evening, creator_id=creator, risk_tier="R2", risk_family="despair")
    put(service, "calm", evening, creator_id=creator)
    query = query_of(service, evening + 1)
    prior = query.model.ranker.heads.heads["complete"].prior
    assert chance(query, "risky") == pytest.approx(prior)
    assert chance(query, "calm") != pytest.approx(prior)


def test_the_source_of_affinity_finds_new_items_and_no_risk(service, tiny, evening) -> None:
    put(service, "calm", evening, creator_id=tiny.items["creator_id"][0])
    put(service, "risky", evening, creator_id=tiny.items["creator_id"][0], risk_tier="R2", risk_family="despair")
    query = query_of(service, evening + 1)
    found = {query.items.item_ids[n] for n in affinity(query)}
    assert "calm" in found and "risky" not in found
    assert all(query.items.tier[query.items.index[name]] < 2 for name in found)


def test_by_affinity_come_the_calm_items_of_which_most_would_be_watched(service, evening) -> None:
    query = query_of(service, evening)
    rankable, user = query.rankable, query.user()
    numbers = np.flatnonzero(query.is_eligible & (rankable.rows >= 0) & (query.whole["tier"] < 2))
    rows = rankable.rows[numbers]
    expected = rankable.inputs.rates[rows, 0] + rankable.inputs.item_features[rows] @ user[:-1]
    best = numbers[np.lexsort((numbers, -expected))][:LARGE_SOURCE_ITEMS]
    assert affinity(query).tolist() == best.tolist()
