"""What people have seen does not come back, whoever delivered it, and no report of it hides an exposure."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.clock import DAY, MINUTE, from_text
from recsys.messages import Context
from recsys.models.histories import SeenInLog
from recsys.services.rights import erase, reset

EVENING = from_text("2026-11-20T18:30:00Z")
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


@pytest.fixture
def logged(tiny, make_service):
    """A service over an artifact whose log says that one person saw every second R0 item."""
    rows = np.flatnonzero(tiny.items["risk_tier"].eq("R0").fill_null(value=False).to_numpy())[::2].astype(np.int32)
    users = list(tiny.histories)
    lengths = np.array([len(rows) if user_id == "casa-adult" else 0 for user_id in users])
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    seen = SeenInLog(rows=tiny.histories.rows, indptr=indptr, item_rows=rows, until=EVENING - DAY)
    service = make_service(artifact=replace(tiny, seen=seen)).is_adult("casa-adult")
    return service, {tiny.items["item_id"][int(row)] for row in rows}


def test_what_the_training_log_says_was_seen_is_on_no_page_for_30_days(logged):
    service, seen = logged
    for days in (0, 15, 29):
        page = ids(service.ask(size=50, at=EVENING + days * DAY, dry_run=True))
        assert page and not seen & set(page)
    assert seen & set(ids(service.ask(size=50, at=EVENING + 31 * DAY, dry_run=True)))


def test_it_counts_from_the_first_activation_and_is_taken_once(logged):
    service, seen = logged
    service.ask(size=1)
    state = service.store.users.read("casa-adult").state
    assert len(seen) - 9 < len(state.seen.reported) <= len(seen)  # copies count once
    assert set(state.seen.reported_at) == {EVENING}
    service.ask(size=1, at=EVENING + MINUTE)
    assert service.store.users.read("casa-adult").state.seen.reported == state.seen.reported


def test_of_an_erased_person_the_artifacts_copy_is_not_used(logged):
    service, seen = logged
    service.ask(size=1)
    erase(service.engine, "casa-adult", EVENING)
    page = service.ask(
        size=50, at=EVENING + MINUTE, candidate_ids=tuple(seen), context=Context(languages=("ary", "fr"))
    )
    assert service.store.users.read("casa-adult").state.seen.reported == ()
    assert page.shortfall.because.get("seen", 0) == 0


def test_a_reset_keeps_what_the_log_said(logged):
    service, seen = logged
    service.ask(size=1)
    reset(service.engine, "casa-adult", EVENING)
    assert not seen & set(ids(service.ask(size=50, at=EVENING + MINUTE)))
