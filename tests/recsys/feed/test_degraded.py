"""Sources fail open, everything else fails closed: fallback page, empty page, safe feed."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from recsys.clock import HOUR
from recsys.errors import SourceError, StoreError
from recsys.feed.engine import feed
from recsys.feed.filters import FILTERS
from recsys.feed.scorers import SCORERS
from recsys.feed.sources import FOR_YOU
from recsys.messages import FeedRequest
from recsys.models.blend import Blend
from recsys.services.items import delete_item
from recsys.services.rights import put_controls


def ids(page):
    return ids_of(page.items)


def ids_of(items):
    return [item.item_id for item in items]


def boom(*_):
    raise ValueError("broken on purpose")


class Failing:
    """A store whose named calls raise."""

    def __init__(self, store, *names):
        self.store, self.names = store, names

    def __getattr__(self, name):
        if name in self.names:
            return self.fail
        return getattr(self.store, name)

    def fail(self, *_, **__):
        raise StoreError("no disk")


def test_a_source_that_fails_is_left_out_and_named(service, monkeypatch):
    def unavailable(query):
        raise SourceError("index gone")

    monkeypatch.setitem(FOR_YOU, "cf", unavailable)
    monkeypatch.setitem(FOR_YOU, "fresh", boom)
    page = service.ask()
    assert len(page.items) == 20
    assert page.degraded == ["source:cf", "source:fresh"]
    assert not any({"cf", "fresh"} & set(item.sources) for item in page.items)
    assert service.alerts[0] == "source cf left out: SourceError: index gone"


def test_a_scorer_that_fails_means_the_fallback_page_under_the_same_rules(service, monkeypatch, by_tier):
    service.is_adult("casa-adult")
    first = service.ask(size=50)
    monkeypatch.setitem(SCORERS, "cf", boom)
    second = service.ask(size=50)
    assert second.degraded == ["ranking"] and second.items
    assert not set(ids(first)) & set(ids(second))  # the same `seen`
    assert service.store.users.read("casa-adult").state.safety.ledger.n_delivered == len(first.items + second.items)


def test_a_person_whose_tastes_cannot_be_placed_gets_the_fallback_page(service, tiny, monkeypatch):
    class Broken:
        scores = staticmethod(boom)

    model = service.engine.resources.model
    known = replace(service.engine.resources, model=replace(model, blend=Blend({"ials": Broken()}, {"ials": 1.0})))
    page = service.broken(resources=known).ask("casa-adult")
    assert page.degraded == ["ranking"] and page.items


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_that_fails_means_an_empty_page(service, monkeypatch, name):
    monkeypatch.setitem(FILTERS, name, boom)
    page = service.ask(request_id="r")
    assert page.items == [] and page.degraded == ["ranking", "filters"]
    assert page.shortfall.missing == 20
    assert service.store.users.read("casa-adult").state.safety.ledger.n_delivered == 0
    assert service.ask(request_id="r").items == []
    assert any("empty page" in alert for alert in service.alerts)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_that_breaks_its_contract_means_an_empty_page(service, monkeypatch, name):
    monkeypatch.setitem(FILTERS, name, lambda query, candidates: np.ones(len(candidates), np.float32))
    assert service.ask().items == []


def test_a_filter_that_fails_after_a_page_empties_its_repeat(service, monkeypatch):
    service.ask(request_id="r")
    monkeypatch.setitem(FILTERS, "hidden", boom)
    assert service.ask(request_id="r").items == []


@pytest.mark.parametrize("call", ["read", "write_if", "deliveries"])
def test_a_store_that_fails_means_the_safe_feed(service, evening, call):
    users = service.store.users
    if call == "deliveries":  # asked only when a label was raised
        item = service.ask().items[0]
        service.edit(item.item_id, risk_tier="R2", risk_family="despair")
    hidden = service.engine.resources.model.safe_feed[0]
    delete_item(service.store.catalogue, hidden, evening)
    service.ask("u0007")  # this worker has seen the takedown
    page = service.broken(users=Failing(users, call)).ask()
    assert page.degraded == ["ledger"] and len(page.items) > 0
    assert hidden not in ids(page)
    for item in page.items:
        row = service.store.catalogue.get(item.item_id).fields
        assert row["risk_tier"] == "R0" and row["topics"] and not {"S4", "S11"} & set(row["topics"])
        assert item.reasons


def test_the_safe_feed_never_holds_what_was_raised_since(service, evening):
    safe = service.engine.resources.model.safe_feed[:3]
    service.edit(safe[0], risk_tier="R1")
    service.edit(safe[1], topics=["S3", "S11"])
    service.edit(safe[2], risk_tier=None)
    service.ask("u0007")
    page = service.broken(users=Failing(service.store.users, "read")).ask(size=50)
    assert page.items and not set(safe) & set(ids(page))


def test_the_safe_feed_holds_what_is_asked_for_and_nothing_else(service):
    broken = service.broken(users=Failing(service.store.users, "read"))
    whole = broken.ask(size=50).items
    topic, language = whole[0].topics[0], next(item.language for item in whole if item.language)
    on = broken.ask(size=5, topics=(topic,)).items
    spoken = broken.ask(size=5, languages_only=(language,)).items
    assert ids_of(on) == ids_of(item for item in whole if topic in item.topics)[:5] != ids_of(whole[:5])
    assert ids_of(spoken) == ids_of(item for item in whole if item.language == language)[:5] != ids_of(whole[:5])
    assert broken.ask(topics=()).items == broken.ask(languages_only=("tlh",)).items == []


def test_a_write_that_always_loses_means_an_empty_page_and_a_time_to_come_back(service, evening):
    class Busy:
        read, deliveries = service.store.users.read, service.store.users.deliveries
        write_if = staticmethod(lambda *_: False)

    page = feed(service.broken(users=Busy()).engine, FeedRequest(user_id="casa-adult"), evening)
    assert page.retry_after_s == 1
    answer = msgspec.json.decode(page.answer)
    assert answer["items"] == [] and answer["degraded"] == ["busy"]
    assert service.store.users.read("casa-adult").version == 0


def test_an_adult_who_switched_the_night_rules_off_is_not_told_of_a_night(service, evening):
    service.is_adult("casa-adult")
    midnight = evening + 8 * HOUR
    assert service.ask(at=midnight, dry_run=True).safety.is_night
    put_controls(service.engine, "casa-adult", {"night_rules": False}, evening)
    assert not service.ask(at=midnight, dry_run=True).safety.is_night
