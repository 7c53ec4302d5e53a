"""What the catalogue still offers a person for the floors, worked out by hand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from recsys.clock import MINUTE
from recsys.feed.query import count_eligible
from recsys.feed.supply import remaining_supply
from recsys.messages import FeedRequest
from recsys.safety.ledger import deliver
from recsys.user.state import Delivery, Ledger


@pytest.fixture
def query(service, evening):
    """The query of an adult, of whom nothing is known."""
    service.is_adult("casa-adult")
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def offering(query, *, hope: int, calm: int):
    """The query with so many supportive items eligible: stories of hope and others, each by a creator of its own."""
    whole, creators = query.whole, query.items.creator_row
    is_eligible, used = np.zeros(len(whole), np.bool_), set()
    wanted = {True: hope, False: calm}
    rarest_first = sorted(np.flatnonzero(whole["is_supportive"]).tolist(), key=lambda n: not whole["is_s4"][n])
    for item_no in rarest_first:
        is_s4 = bool(whole["is_s4"][item_no])
        if wanted[is_s4] and int(creators[item_no]) not in used:
            wanted[is_s4] -= 1
            used.add(int(creators[item_no]))
            is_eligible[item_no] = True
    assert wanted == {True: 0, False: 0}, "found too few creators of supportive items in the tiny world"
    return replace(query, eligible=count_eligible(query, is_eligible))


def told(n: int, at: int) -> Ledger:
    """A ledger in which the newest deliveries are n stories of hope."""
    page = [Delivery(at=at, item_no=k, creator_no=k, is_s4=True, is_supportive=True) for k in range(n)]
    return deliver(Ledger(session_started_at=at, active_at=at), page, at)


@pytest.mark.parametrize(
    ("hope", "calm", "before", "supportive"),
    [
        (6, 3, 0, 7),  # 4 of 20 may be stories of hope
        (2, 3, 0, 5),
        (6, 3, 1, 7),  # one stands in the run, three more may come
        (6, 3, 6, 7),  # the session's 6 are told: those that stand in the run are all it can have, and 4 at most
        (6, 0, 0, 4),
    ],
)
def test_stories_of_hope_are_supply_as_far_as_their_own_windows_admit_them(
    query, evening, hope, calm, before, supportive
):
    found = remaining_supply(offering(query, hope=hope, calm=calm), told(before, evening), evening + MINUTE)
    assert found.supportive == supportive


def test_a_day_without_room_for_hope_asks_for_none(query, evening):
    """Twelve told earlier in the day, none of them in the last 20: no run can hold another one."""
    ledger = told(12, evening)
    other = [Delivery(at=evening, item_no=k, creator_no=k) for k in range(100, 120)]
    found = remaining_supply(offering(query, hope=6, calm=3), deliver(ledger, other, evening), evening + MINUTE)
    assert found.supportive == 3


@pytest.mark.parametrize("n_head", [0, 5, 10_000])
@pytest.mark.parametrize("cap", [None, 1, 2])
def test_supply_is_counted_by_hand_however_short_the_head_of_the_popular_is(
    make_service, evening, monkeypatch, n_head, cap
):
    monkeypatch.setattr("recsys.catalogue.rankings.HEAD_ITEMS", n_head)
    service = make_service().is_adult("casa-adult")
    query = service.engine.context(FeedRequest(user_id="casa-adult"), evening).query
    query = replace(query, limits=replace(query.limits, creator_last_20=cap))
    rng = np.random.default_rng(5)
    whole, creators = query.whole, query.items.creator_row
    for share in (0.02, 0.1, 1.0):
        mask = query.is_eligible & (rng.random(len(whole)) < share)
        found = remaining_supply(replace(query, eligible=count_eligible(query, mask)), Ledger(), evening)
        is_calm = mask & (whole["tier"] == 0)
        is_near = query.nearness.is_floor_eligible
        for wanted, meant in ((found.supportive, whole["is_supportive"]), (found.local, is_near)):
            calm, hope = Counter[int](), Counter[int]()
            for n in np.flatnonzero(is_calm & meant):
                (hope if whole["is_s4"][n] else calm)[int(creators[n])] += 1
            most = cap or 20
            filled = {creator: min(most, n) for creator, n in calm.items()}
            stories = sum(min(n, most - filled.get(creator, 0)) for creator, n in hope.items())
            assert wanted == min(20, sum(filled.values()) + min(4, stories))
        assert found.local_share == pytest.approx((mask & is_near).sum() / max(1, mask.sum()))
