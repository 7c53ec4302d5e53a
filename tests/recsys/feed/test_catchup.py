"""What happened since a state was written is counted by whoever reads it, in any interleaving with other processes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recsys.catalogue.cache import CatalogueCache
from recsys.clock import DAY, SECOND
from recsys.feed.catchup import PendingUpdates, read_pending
from recsys.feed.locks import Locks
from recsys.services.events import accept_events
from recsys.services.items import put_item
from recsys.services.rights import erase, exposure

HEAVY = {"creator_id": "newcomer", "title": "a title of my own", "language": "ary", "risk_tier": "R2",
         "risk_family": "despair", "risk_source": "human"}  # fmt: skip


class Beside:
    """A store or a log beside which something happens once, just before one of its calls is answered."""

    def __init__(self, real: Any, call: str, happens: Callable[[], object]) -> None:
        self.real, self.call, self.happens = real, call, happens

    def __getattr__(self, name: str) -> Any:
        if name == self.call:
            happens, self.happens = self.happens, lambda: None
            happens()
        return getattr(self.real, name)


class InParts:
    """A store of people that looks for events a little after it read the revision, as one may."""

    def __init__(self, real, between):
        self.real, self.between = real, between

    def read(self, user_id, request_id=None):
        first, between = self.real.read(user_id, request_id), self.between
        self.between = lambda: None
        between()
        return replace(first, logged=self.real.read(user_id).logged)

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.fixture
def calm(tiny) -> list[str]:
    """Items of R0."""
    return [row["item_id"] for row in tiny.items.iter_rows(named=True) if row["risk_tier"] == "R0"]


def ledger_of(service):
    return service.store.users.read("casa-adult").state.safety.ledger


def other_process(service):
    """The same stores behind another view and other locks."""
    known = service.engine.resources
    view = CatalogueCache(
        catalogue=service.store.catalogue,
        market=known.catalogue_cache.market,
        creators=known.catalogue_cache.creators,
        rows=known.catalogue_cache.rows,
    )
    return service.broken(resources=replace(known, catalogue_cache=view), locks=Locks())


def test_an_open_of_an_item_that_came_while_a_page_was_made_counts(service, evening):
    """The state was read before the item came; its event must not be folded in as one of an unknown item."""
    service.is_adult("casa-adult")
    service.ask(size=1)

    def comes_and_is_opened():
        put_item(service.store.catalogue, "new", HEAVY, evening)
        view = {"event_id": "v", "user_id": "casa-adult", "kind": "view", "item_id": "new"}
        assert accept_events(other_process(service).engine, [view], evening).accepted == 1

    service.broken(users=InParts(service.store.users, comes_and_is_opened)).ask(size=1, at=evening + SECOND)
    assert len(ledger_of(service).capped["R2"]) == 1


def test_a_page_of_another_process_with_a_newer_item_breaks_no_recount(service, evening, calm):
    service.is_adult("casa-adult")
    service.ask(size=1)
    service.edit(calm[0], risk_tier="R2", risk_family="body")

    def serves_what_is_new():
        put_item(service.store.catalogue, "new", HEAVY, evening)
        other_process(service).ask(size=5, candidate_ids=("new",))

    racing = service.broken(users=Beside(service.store.users, "deliveries", serves_what_is_new))
    page = racing.ask(size=1, at=evening + SECOND)
    assert page.degraded == [] and ledger_of(service).n_delivered == 3
    assert len(ledger_of(service).capped["R2"]) == 1


def test_a_raise_is_counted_in_what_a_person_is_shown(service, evening, calm):
    service.is_adult("casa-adult")
    shown = service.ask(candidate_ids=tuple(calm)).items[:3]
    for item in shown:
        service.edit(item.item_id, risk_tier="R2", risk_family="body")
    used = exposure(service.engine, "casa-adult", evening + SECOND)["counters"]["R2"]["rolling_24h"]["used"]
    assert used == len(shown) == 3


def test_erasing_before_a_raise_is_counted_frees_no_window(service, evening, calm):
    service.is_adult("casa-adult")
    shown = service.ask(candidate_ids=tuple(calm)).items[:3]
    for item in shown:
        service.edit(item.item_id, risk_tier="R2", risk_family="body")
    erase(service.engine, "casa-adult", evening + SECOND)
    assert ledger_of(service).capped["R2"] == (evening,) * 3


@pytest.mark.parametrize("is_raised", [False, True])
def test_the_past_is_read_after_a_raise_only(service, evening, calm, is_raised):
    service.is_adult("casa-adult")
    service.ask(size=1)
    if is_raised:
        service.edit(calm[0], risk_tier="R2")
    engine, read = service.engine, service.store.users.read("casa-adult")
    cache = engine.resources.catalogue_cache
    found = read_pending(engine.stores, cache, "casa-adult", read, evening + DAY)
    assert isinstance(found, PendingUpdates) and len(found.past) == is_raised
