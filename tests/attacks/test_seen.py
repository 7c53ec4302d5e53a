"""What people have seen does not come back, whoever delivered it, and no report of it hides an exposure."""

import pytest

from recsys.clock import DAY, MINUTE
from recsys.services.rights import reset

KINDS = ("impression", "view", "rewatch", "complete", "like", "share", "comment", "save", "helped")


def ids(page):
    return [item.item_id for item in page.items]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_event_says_was_seen_is_on_no_page_for_30_days(service, evening, kind):
    service.is_adult("casa-adult")
    shown = ids(service.ask(size=10, dry_run=True))
    service.tell(*({"kind": kind, "item_id": item_id} for item_id in shown))
    for days in (0, 1, 29):
        assert not set(shown) & set(ids(service.ask(size=20, at=evening + days * DAY + MINUTE, dry_run=True)))
    later = evening + 30 * DAY + MINUTE
    assert ids(service.ask(at=later, candidate_ids=tuple(shown), dry_run=True))


def test_a_search_may_show_again_what_a_person_asks_for(service, evening):
    service.is_adult("casa-adult")
    [item] = service.ask(size=1).items
    title = service.store.catalogue.get(item.item_id).fields["title"]
    assert item.item_id not in ids(service.ask(size=20, at=evening + MINUTE))
    assert item.item_id in ids(service.ask(surface="search", query=title, at=evening + 2 * MINUTE))


def test_a_reset_keeps_what_was_seen(service, evening):
    service.is_adult("casa-adult")
    shown = ids(service.ask(size=5, dry_run=True))
    service.tell(*({"kind": "like", "item_id": item_id} for item_id in shown))
    service.ask(size=1)
    reset(service.engine, "casa-adult", evening)
    assert not set(shown) & set(ids(service.ask(size=20, at=evening + MINUTE)))


def test_a_reported_impression_never_hides_that_risk_was_opened(service, by_tier, evening):
    service.is_adult("casa-adult")
    risky = by_tier["R2"][:2]
    service.tell(*({"kind": "impression", "item_id": item_id} for item_id in risky))
    service.ask(size=1, at=evening + MINUTE)
    service.tell(*({"kind": "view", "item_id": item_id} for item_id in risky), at=evening + 2 * MINUTE)
    service.ask(size=1, at=evening + 3 * MINUTE)
    assert len(service.store.users.read("casa-adult").state.safety.ledger.capped["R2"]) == 2
