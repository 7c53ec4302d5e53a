"""What a person said holds, also when they ask for no feed until the log lets go of it."""

import pytest

from recsys.clock import DAY, SECOND
from recsys.services.compaction import compact_events
from recsys.services.events import accept_events


def send(service, at, user_id="casa-adult", **fields):
    events = [{"event_id": f"{kind}-{at}", "user_id": user_id, "kind": kind, **more} for kind, more in fields.items()]
    assert accept_events(service.engine, events, at).accepted == len(events)


def prune(service, at):
    settled = compact_events(service.engine, service.store.retention_cutoff(at), at)
    service.store.prune(at)
    return settled


def test_no_accepted_event_is_lost_when_its_person_stays_away(service, evening):
    service.is_adult("casa-adult")
    service.ask(size=1)
    send(service, evening + SECOND, hide_creator={"creator_id": "c0001"}, too_much={"item_id": "v00001"})
    assert prune(service, evening + 31 * DAY) == 1
    assert service.store.events.since("casa-adult", 0) == ()
    state = service.store.users.read("casa-adult").state
    assert [creator for creator, _ in state.interactions.hidden] == ["c0001"]
    assert state.safety.loop.level == 1 and state.safety.loop.raised_at == evening + SECOND


def test_somebody_who_never_asked_for_a_feed_is_heard_too(service, evening):
    send(service, evening, "newcomer", hide_creator={"creator_id": "c0001"})
    prune(service, evening + 31 * DAY)
    assert service.store.users.read("newcomer").state.interactions.hidden != ()


@pytest.mark.parametrize("is_settled", [False, True])
def test_settling_counts_nothing_twice_and_nothing_early(service, evening, by_tier_r2, is_settled):
    """What is younger stays for the next feed, which alone writes deliveries."""
    service.is_adult("casa-adult")
    send(service, evening, view={"item_id": by_tier_r2[0]})
    send(service, evening + 9 * DAY, view={"item_id": by_tier_r2[1]})
    if is_settled:
        assert compact_events(service.engine, evening + DAY, evening + 9 * DAY) == 1
        assert compact_events(service.engine, evening + DAY, evening + 9 * DAY) == 0
        assert service.store.users.read("casa-adult").state.interactions.log_seq == 1
    service.ask(size=1, at=evening + 9 * DAY + SECOND)
    ledger = service.store.users.read("casa-adult").state.safety.ledger
    assert ledger.capped["R2"] == (evening + 9 * DAY,) and sum(d.is_open for d in ledger.last) == 2


@pytest.fixture
def by_tier_r2(tiny):
    """Items of R2."""
    return [row["item_id"] for row in tiny.items.iter_rows(named=True) if row["risk_tier"] == "R2"]
