"""A policy tried on logged requests: the same one changes nothing, a stricter one is obeyed."""

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys.clock import HOUR, from_text
from recsys.feed.record import candidates_of
from recsys.feed.slate import delivered
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import meet
from recsys.safety.validator import violations
from recsys.services.preview import again, preview
from recsys.services.profiles import update_state
from recsys.user.state import Controls

PEOPLE = ["casa-adult", "agadir-teen", "rabat-parent", "new"]


@pytest.fixture(scope="session")
def risky(tiny):
    rows = tiny.items.select("item_id", "risk_tier").rows()
    return tuple(item_id for item_id, tier in rows if tier in ("R1", "R2", None))


def logged(make_service, risky, evening, sizes):
    service, at = make_service(), evening
    service.is_adult("casa-adult")
    for n, size in enumerate(sizes):
        at += (n % 3) * HOUR + 1
        only = risky if n % 2 else None
        for user_id in PEOPLE:
            service.ask(user_id, at=at, size=size, candidate_ids=only)
    return [decision for user_id in PEOPLE for decision in service.decisions(user_id)]


@example(sizes=[16, 1])
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_the_same_policy_changes_nothing_and_a_stricter_one_is_obeyed_on_every_page(
    make_service, risky, evening, morocco, strict, sizes
):
    """Where stricter caps refuse an R1 item, the page may hold an R2 item that it did not hold before."""
    decisions = logged(make_service, risky, evening, sizes)
    same = preview(CompiledPolicy(morocco), decisions)
    assert same.n_requests == len(decisions) and same.changed == ()
    assert same.tiers_before == same.tiers_after and same.missing_before == same.missing_after
    policy = CompiledPolicy(strict)
    for decision in decisions:
        page = again(policy, decision, candidates_of(decision))
        key = (decision.age_band, decision.loop_level, decision.is_bound_by_night)
        limits = meet(policy.limits[key], decision.personal_limits)
        deliveries = delivered(page, np.arange(len(page)), decision.at)
        assert violations(decision.ledger, deliveries, limits, at=decision.at) == ()
    stricter = preview(policy, decisions)
    assert stricter.tiers_after["R3"] == stricter.tiers_after["R4"] == 0
    assert stricter.tiers_before == same.tiers_before


def test_a_night_that_an_adult_switched_off_changes_nothing_either(make_service, risky, morocco):
    service, at_night = make_service(), from_text("2026-11-21T01:30:00Z")
    service.is_adult("casa-adult")

    def switch(state):
        person = msgspec.structs.replace(state.person, controls=Controls(night_rules=False))
        return msgspec.structs.replace(state, person=person)

    update_state(service.engine, "casa-adult", switch)
    for n in range(4):
        page = service.ask(at=at_night + n, candidate_ids=(*risky, *calm_of(service)[: 30 * n]), size=20)
        assert not page.safety.is_night  # of the rules that hold, none is the night's
    assert any(item.tier == "R2" for item in page.items) or len(service.decisions()) == 4
    assert preview(CompiledPolicy(morocco), service.decisions()).changed == ()


def calm_of(service):
    items = service.engine.resources.catalogue_cache.items
    return [items.item_ids[n] for n in range(1, len(items)) if items.tier[n] == 0]


def test_a_preview_of_nothing_is_nothing(morocco):
    empty = preview(CompiledPolicy(morocco), [])
    assert empty.n_requests == 0 and empty.changed == () and sum(empty.tiers_after.values()) == 0


def test_a_change_names_the_request_and_both_pages(make_service, risky, evening, strict):
    service = make_service().is_adult("casa-adult")
    for n in range(6):
        service.ask(candidate_ids=(*risky, *calm_of(service)), at=evening + n * HOUR, size=20, request_id=f"q{n}")
    found = preview(CompiledPolicy(strict), service.decisions())
    pages = {decision.request_id: decision for decision in service.decisions()}
    assert found.changed
    for change in found.changed:
        assert len(change.before) == len(pages[change.request_id].chosen) and change.before != change.after
