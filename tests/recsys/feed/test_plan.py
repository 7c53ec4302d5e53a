"""A plan is the page that a feed would reserve, and reserves nothing."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from recsys.clock import MINUTE
from recsys.feed.engine import feed
from recsys.feed.filters import FILTERS
from recsys.feed.pipeline import RETRIEVE_UNTIL, fallback
from recsys.feed.plan import RANK_UNTIL, make_plan
from recsys.feed.sources import FOR_YOU
from recsys.messages import FeedRequest, FeedResponse
from recsys.services.explain import replay

REQUEST = FeedRequest(user_id="casa-adult", request_id="q")


def page_of(plan):
    ids = plan.context.query.items.item_ids
    return [ids[plan.candidates.item_nos[row]] for row in plan.selection.rows]


def test_a_plan_is_the_page_that_the_feed_reserves(service, evening):
    service.is_adult("casa-adult")
    planned = page_of(service.engine.plan(REQUEST, evening))
    assert planned == [item.item_id for item in service.send(REQUEST, evening).items]
    assert planned


def test_a_plan_writes_nothing(service, evening):
    service.ask(request_id="before")
    read, decisions = service.store.users.read("casa-adult"), len(service.decisions())
    committed_at = service.store.users.committed_at()
    service.engine.plan(REQUEST, evening + MINUTE)
    service.engine.context(REQUEST, evening + MINUTE)
    assert service.store.users.read("casa-adult") == read
    assert (len(service.decisions()), service.store.users.committed_at()) == (decisions, committed_at)


def test_equal_states_give_equal_plans(service, evening):
    first, second = (service.engine.plan(REQUEST, evening) for _ in range(2))
    assert page_of(first) == page_of(second)
    assert first.deliveries == second.deliveries
    assert np.array_equal(first.selection.propensities, second.selection.propensities)


@pytest.fixture
def replanned(service, evening):
    """Plans a request again on the state as it is now, with the scores of an earlier plan."""

    def again(previous, at=evening):
        read = service.engine.stores.users.read("casa-adult", "q")
        pending = service.engine._pending(REQUEST, read, at)
        return make_plan(service.engine.resources, REQUEST, read.state, pending, at, previous)

    return again


def test_an_overtaken_plan_keeps_its_scores_and_counts_the_other_page(service, evening, replanned):
    first = service.engine.plan(REQUEST, evening)
    taken = {item.item_id for item in service.ask(request_id="other").items}
    second = replanned(first)
    assert not taken & set(page_of(second))
    scores = dict(zip(first.candidates.item_nos.tolist(), first.candidates["p_cf"].tolist(), strict=True))
    kept = zip(second.candidates.item_nos.tolist(), second.candidates["p_cf"].tolist(), strict=True)
    assert all(np.array_equal(scores[item_no], score, equal_nan=True) for item_no, score in kept)


def test_scores_made_of_a_history_are_not_kept_once_the_person_took_it_back(service, evening, replanned):
    first = service.engine.plan(REQUEST, evening)
    unpersonal = replace(first.context.query.viewer, personalised=not first.context.query.viewer.personalised)
    other = replace(first.context, query=replace(first.context.query, viewer=unpersonal))
    emptied = replace(first.ranked, candidates=first.ranked.candidates.take(np.empty(0, np.intp)))
    again = replanned(replace(first, context=other, ranked=emptied))
    assert page_of(again) == page_of(first)


def test_a_plan_that_a_filter_emptied_is_ranked_again_once_the_filter_works(service, evening, monkeypatch, replanned):
    def boom(query, candidates):
        raise ValueError("no")

    with monkeypatch.context() as patch:
        patch.setitem(FILTERS, "hidden", boom)
        first = service.engine.plan(REQUEST, evening)
    assert page_of(first) == [] and first.degraded == ("ranking", "filters") and first.alerts
    assert page_of(replanned(first)) and replanned(first).degraded == ()


@pytest.fixture
def hurried(service, evening):
    """The pages of requests that have used a share of their time; each is reserved."""

    def ask(used, **more):
        late = replace(service.engine, time_used=lambda: used)
        request = FeedRequest(user_id="casa-adult", request_id=f"{used} {more}", **more)
        return msgspec.json.decode(feed(late, request, evening).answer, type=FeedResponse)

    return ask


def test_sources_that_cost_are_left_out_late_and_the_ranking_later(hurried):
    assert hurried(RETRIEVE_UNTIL).degraded == []
    assert set(hurried(RETRIEVE_UNTIL + 0.01).degraded) == {
        f"source:{name}" for name in (*FOR_YOU,)[1:] if name not in fallback().sources
    }
    assert hurried(RANK_UNTIL + 0.01).degraded == ["ranking"]


def test_whoever_is_in_a_hurry_gets_full_pages_under_every_limit(service, hurried, evening):
    """Thirty pages by the fallback, counted by what the ledger holds."""
    service.is_adult("casa-adult")
    for n in range(30):
        assert hurried(1 + n, size=20).degraded == ["ranking"]
    delivered = service.store.users.deliveries("casa-adult", 0)
    assert len(delivered) > 60
    assert sum(delivery.tier == 2 for delivery in delivered) <= 3


def test_in_a_hurry_a_search_for_harm_is_still_answered_by_what_supports(service, hurried):
    page = hurried(2.0, surface="search", query="how to kill myself")
    assert page.cards and page.items
    assert all("resources" in item.sources for item in page.items)


def test_in_a_hurry_candidates_of_the_caller_are_still_the_only_ones(service, hurried):
    ids = tuple(service.engine.resources.catalogue_cache.items.item_ids[1:40])
    page = hurried(2.0, candidate_ids=ids)
    assert page.items and {item.item_id for item in page.items} <= set(ids)


def test_a_hurried_page_is_replayed_from_its_record(service, hurried):
    page = hurried(2.0)
    assert replay(service.engine, page.request_id)["identical"]
