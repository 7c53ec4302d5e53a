"""A plan is the page that a feed would reserve, and reserves nothing."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.clock import MINUTE
from recsys.feed.filters import FILTERS
from recsys.feed.plan import make_plan
from recsys.messages import FeedRequest

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
