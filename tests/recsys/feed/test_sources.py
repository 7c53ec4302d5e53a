"""Where candidates come from, by hand on the tiny world."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.feed import sources
from recsys.feed.sources import (
    LARGE_SOURCE_ITEMS,
    MEDIUM_SOURCE_ITEMS,
    SMALL_SOURCE_ITEMS,
    blend,
    content,
    explore,
    followed,
    fresh,
    listed,
    matching,
    related,
    resources,
    trending,
    trending_local,
)
from recsys.messages import FeedRequest
from recsys.models.artifact import load_artifact


@pytest.fixture(scope="module")
def turn(make_service, evening):
    service = make_service().is_adult("casa-adult")

    def ask(**fields):
        request = FeedRequest(user_id="casa-adult", **{"request_id": "r", **fields})
        return service.engine.context(request, evening).query

    return ask


def test_fresh_is_the_newest_first(turn):
    query = turn()
    times = query.items.published_at[fresh(query)]
    assert len(times) == MEDIUM_SOURCE_ITEMS and (np.diff(times) <= 0).all()
    assert times[-1] >= np.sort(query.items.published_at[query.is_eligible])[-MEDIUM_SOURCE_ITEMS]


def test_trending_is_the_most_popular_of_the_market_first(turn):
    query = turn()
    scores = query.model.popularity_scores("MA", query.items.row)
    assert (np.diff(scores[trending(query)]) <= 0).all()
    assert scores[trending(query)].min() >= np.sort(scores[query.is_eligible])[-MEDIUM_SOURCE_ITEMS]


def test_the_nearest_are_those_of_a_plain_product_among_what_is_eligible(turn):
    query = turn()
    vectors = np.asarray(query.model.spaces["text"].space.item_vectors)
    scores = np.where(query.eligible.rows, vectors @ query.vector("text"), -np.inf)
    expected = np.sort(scores)[::-1][: min(LARGE_SOURCE_ITEMS, int(query.eligible.rows.sum()))]
    found = scores[query.items.row[content(weighted(query, content=0.1))]]
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_weighs_nothing_is_not_searched_and_a_person_without_history_finds_nothing(turn):
    query, nobody = turn(), turn(mode="non_personalised")
    assert len(content(weighted(query, content=0.0))) == len(blend(weighted(query, cf=0.0))) == 0
    assert len(blend(weighted(query, cf=0.1))) > 0
    assert len(content(weighted(nobody, content=1.0))) == len(blend(weighted(nobody, cf=1.0))) == 0


@pytest.mark.parametrize("n_head", [0, 3, 10_000])
def test_a_short_head_of_the_popular_changes_nothing(make_service, evening, monkeypatch, n_head):
    monkeypatch.setattr("recsys.catalogue.rankings.HEAD_ITEMS", n_head)
    service = make_service().is_adult("casa-adult")
    query = service.engine.context(FeedRequest(user_id="casa-adult", request_id="r"), evening).query
    popular, near = query.rankings.popular, query.nearness
    is_floor_eligible = near.is_floor_eligible & query.is_eligible
    is_near = near.is_local & ~near.is_floor_eligible & query.is_eligible
    is_supportive = query.whole["is_supportive"]

    def first(mask, k):
        return popular[mask[popular]][:k].tolist()

    floor = first(is_floor_eligible, MEDIUM_SOURCE_ITEMS)
    assert trending_local(query).tolist() == floor + first(is_near, SMALL_SOURCE_ITEMS)
    near_support = first(is_floor_eligible & is_supportive, MEDIUM_SOURCE_ITEMS)
    far_support = first(query.is_eligible & ~near.is_floor_eligible & is_supportive, MEDIUM_SOURCE_ITEMS)
    assert resources(query).tolist() == near_support + far_support


def weighted(query, **weights):
    """The query with other weights of the score."""
    return replace(query, weights={**query.weights, **weights})


def test_followed_is_of_followed_creators_only(turn):
    query = turn()
    creators = frozenset(query.items.creator_no[np.flatnonzero(query.is_eligible)[:2]].tolist())
    found = followed(replace(query, followed=creators))
    assert len(found) and set(query.items.creator_no[found].tolist()) <= creators
    assert len(followed(replace(query, followed=frozenset()))) == 0


def test_resources_are_supportive_near_ones_first(turn):
    query = turn()
    found = resources(query)
    assert query.whole["is_supportive"][found].all()
    is_floor_eligible = query.nearness.is_floor_eligible[found]
    assert 0 < is_floor_eligible.sum() < len(found) and not is_floor_eligible[int(is_floor_eligible.sum()) :].any()


def test_exploring_draws_uniformly_and_by_the_seed_alone(turn):
    query = turn()
    assert explore(query).tolist() == explore(turn()).tolist()
    assert explore(query).tolist() != explore(replace(query, seed=query.seed + 1)).tolist()
    pool = np.flatnonzero(query.is_eligible & query.whole["is_explorable"])
    n_drawn = np.zeros(len(query.items))
    for seed in range(600):
        n_drawn[explore(replace(query, seed=seed))] += 1
    share, most = n_drawn[pool] / 600, query.market.exploration.pool
    new = query.whole["is_new_creator"][pool]
    first, second = min(1.0, most / len(pool)), min(1.0, most / max(1, int(new.sum())))
    expected = np.where(new, 1 - (1 - first) * (1 - second), first)  # new creators' items are drawn from twice
    assert n_drawn.sum() == n_drawn[pool].sum() and np.abs(share - expected).max() < 0.1 and 0 < new.sum() < len(pool)


def test_a_search_finds_all_words_before_some(turn):
    query = turn()
    number = int(np.flatnonzero(query.is_eligible)[0])
    words = query.items.texts[number].split()[:3]
    asked = replace(query, text=" ".join(words).upper())
    found = matching(asked)
    hits = [sum(word in query.items.texts[n] for word in set(words)) for n in found]
    assert number in found and hits == sorted(hits, reverse=True) and min(hits) >= 1
    assert len(matching(replace(query, text=None))) == len(matching(replace(query, text="  "))) == 0


def test_related_is_near_the_anchor_and_nothing_for_one_that_no_model_knows(turn):
    query = turn()
    number = int(np.flatnonzero(query.items.row >= 0)[0])
    assert len(related(replace(query, anchor=number))) > 0
    assert len(related(replace(query, anchor=None))) == 0
    assert len(related(replace(query, anchor=0))) == 0


def test_the_callers_list_is_taken_as_far_as_it_is_eligible(turn, tiny):
    query = turn(candidate_ids=(*tiny.items["item_id"][:30], "never"))
    assert set(listed(query).tolist()) == {n for n in query.only.tolist() if query.is_eligible[n]}
    assert len(listed(turn())) == 0


def test_one_product_finds_what_an_index_finds_by_affinity(make_service, ranked_tiny, evening, monkeypatch):
    service = make_service(artifact=load_artifact(ranked_tiny)).is_adult("casa-adult")
    query = service.engine.context(FeedRequest(user_id="casa-adult"), evening).query
    by_product = sources.affinity(query)
    monkeypatch.setattr(sources, "MAX_SCORED_ROWS", 0)
    assert len(by_product) and by_product.tolist() == sources.affinity(query).tolist()
