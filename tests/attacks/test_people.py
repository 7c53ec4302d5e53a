"""Attacks through events, ages and controls (policy-spec 11): whatever is said about a person, a feed gets calmer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue.items import is_unlearnable
from recsys.clock import DAY, HOUR, MINUTE, SECOND, to_text
from recsys.errors import DataError
from recsys.feed.slate import select
from recsys.messages import Context, FeedRequest
from recsys.policy.limits import is_at_least_as_strict
from recsys.safety.ledger import room
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile
from recsys.services.rights import get_guardian, put_controls, put_guardian
from recsys.vocabulary import COUNTERS, EVENT_KINDS

KINDS = sorted(set(EVENT_KINDS) - {"search", "follow", "hide_creator", "undo", "support_requested"})


def ids(page):
    return [item.item_id for item in page.items]


def send(service, events, at, user_id="casa-adult"):
    return accept_events(service.engine, [{"user_id": user_id, **event} for event in events], at)


# 5: forged, replayed, late, out-of-order, duplicated events; millions of likes


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_attack_05_no_events_in_any_order_loosen_anything(make_service, by_tier, evening, data):
    """Two twins with one past; one of them is flooded with forged events. No window admits that twin more."""
    every = [item_id for tier in ("R0", "R1", "R2", None, "R3") for item_id in by_tier[tier]]
    forged = data.draw(
        st.lists(
            st.tuples(st.sampled_from(KINDS), st.sampled_from(every), st.integers(0, 7 * DAY), st.sampled_from([0, 1])),
            min_size=1, max_size=60,
        )
    )  # fmt: skip
    twins = []
    for is_flooded in (False, True):
        service = make_service().is_adult("casa-adult")
        service.ask(size=12, candidate_ids=(*by_tier["R2"][:5], *by_tier["R1"][:5], *by_tier["R0"][:20]))
        if is_flooded:
            events = [
                {"event_id": f"e{n // 2}", "kind": kind, "item_id": item_id, "at": to_text(evening - late),
                 "watch_fraction": float(full)}
                for n, (kind, item_id, late, full) in enumerate(forged)
            ]  # fmt: skip
            send(service, events, evening + SECOND)
        twins.append(service.engine.context(FeedRequest(user_id="casa-adult"), evening + 2 * SECOND))
    calm, flooded = twins
    assert is_at_least_as_strict(flooded.query.limits, calm.query.limits)
    assert flooded.state.safety.loop.level >= calm.state.safety.loop.level
    assert flooded.state.safety.ledger.n_delivered == calm.state.safety.ledger.n_delivered
    for counter in COUNTERS:
        left = [room(t.state.safety.ledger, t.query.limits, counter, t.at) for t in twins]
        assert left[1] <= left[0], counter
    for rows in ("R1", "R2"):  # what could stand on the very next page, gaps and last-20 included
        assert _admitted(flooded, by_tier[rows]) <= _admitted(calm, by_tier[rows])


def _admitted(turn, item_ids):
    """How many of these items a page of 20 would take, with nothing but them to choose from."""
    numbers = np.array([turn.query.items.index[item_id] for item_id in item_ids], np.intp)
    fresh = numbers[~np.isin(numbers, turn.query.shown)]
    candidates = turn.query.whole.take(fresh).with_columns({"score": np.zeros(len(fresh), np.float32)})
    return len(
        select(
            candidates, ledger=turn.state.safety.ledger, limits=turn.query.limits, supply=turn.supply,
            supply_factor=1.5, size=20, at=turn.at, rng=np.random.default_rng(0), explore_slots=0,
        ).rows
    )  # fmt: skip


def test_attack_05_reported_opens_never_make_room(service, by_tier, evening):
    """Opens elsewhere count, and do not push what was served out of the last 20."""
    service.is_adult("casa-adult")
    assert len(service.ask(size=1, candidate_ids=tuple(by_tier["R2"])).items) == 1
    hope = [row for row in by_tier["R0"] if "S4" in service.store.catalogue.get(row).fields.get("topics", ())]
    opens = [*by_tier["R1"], *hope]
    assert len(opens) > 20
    send(service, [{"event_id": f"o{n}", "kind": "view", "item_id": i} for n, i in enumerate(opens)], evening + SECOND)
    page = service.ask(size=20, candidate_ids=tuple(by_tier["R2"]), at=evening + 2 * SECOND)
    assert page.items == [] and page.safety.remaining["R1"]["rolling_24h"] == 0
    ledger = service.store.users.read("casa-adult").state.safety.ledger
    assert sum(d.is_open for d in ledger.last) <= 40 and ledger.n_delivered == 1  # 20 of each kind
    assert page.safety.remaining["R2"]["last_20"] == 1


def test_attack_05_opens_of_one_kind_never_push_out_those_of_another(service, by_tier, evening):
    service.is_adult("casa-adult")
    risky = by_tier["R2"]
    hope = [row for row in by_tier["R0"] if "S4" in service.store.catalogue.get(row).fields.get("topics", ())]
    for n, item_id in enumerate([*risky[:2], *hope[:25]]):
        send(service, [{"event_id": f"k{n}", "kind": "view", "item_id": item_id}], evening + n)
    assert service.ask(size=20, candidate_ids=tuple(risky[2:]), at=evening + MINUTE).items == []


def test_attack_05_events_count_once_and_only_in_time(service, by_tier, evening):
    service.is_adult("casa-adult")
    like = {"event_id": "e", "kind": "like", "item_id": by_tier["R0"][0]}
    assert send(service, [like] * 500, evening).accepted == 1
    assert send(service, [like] * 500, evening + MINUTE).duplicates == 500
    late = {**like, "event_id": "late", "at": to_text(evening - 7 * DAY - 1)}
    early = {**like, "event_id": "early", "at": to_text(evening + HOUR)}
    assert send(service, [late, early], evening).accepted == 0
    with pytest.raises(DataError, match="at most 1000"):
        send(service, [{**like, "event_id": f"e{n}"} for n in range(1_001)], evening)


def test_attack_05_a_million_likes_of_r2_are_no_taste_and_no_room(service, by_tier, evening, limits_now):
    service.is_adult("casa-adult")
    before = limits_now(service, "casa-adult", evening)
    for n in range(5):
        flood = [
            {"event_id": f"e{n}-{k}", "kind": "like", "item_id": by_tier["R2"][k % (len(by_tier["R2"]) // 2)]}
            for k in range(1_000)
        ]
        send(service, flood, evening + n * SECOND)
    after = limits_now(service, "casa-adult", evening + MINUTE)
    assert after == before
    page = service.ask(size=50, candidate_ids=tuple(by_tier["R2"]), at=evening + MINUTE)
    assert len(page.items) == 1
    assert service.store.users.read("casa-adult").state.interactions.items == ()


# 13: user whose whole history is risky


def test_attack_13_somebody_whose_whole_history_is_risky_gets_a_calm_full_feed(service, by_tier, evening):
    service.is_adult("heavy")
    kinds = ("complete", "rewatch", "like", "share")
    watched = [{"kind": kind, "item_id": i} for i in (*by_tier["R2"], *by_tier[None]) for kind in kinds]
    service.tell(*watched, {"kind": "share", "item_id": by_tier["R3"][0]}, user_id="heavy")
    page = service.ask("heavy", at=evening + MINUTE)
    assert page.safety.loop_level == 2
    assert len(page.items) == 20 and {item.tier for item in page.items} <= {"R0", "R1"}
    supportive = {f"S{n}" for n in range(1, 11)}
    assert sum(item.tier == "R0" and bool(supportive & set(item.topics)) for item in page.items) >= 16  # 80 %
    assert not any({"cf", "content"} & set(item.sources) for item in page.items)  # nothing was learned
    assert {"trending", "local", "resources"} & {source for item in page.items for source in item.sources}
    assert [card.card_id for card in page.cards if card.after_position == 0] == ["level-2"]


def test_attack_13_nothing_of_it_is_learned_by_training(tiny, service, by_tier):
    items = service.engine.resources.catalogue_cache.items
    numbers = [items.index[item_id] for tier in ("R2", "R3", "R4", None) for item_id in by_tier[tier]]
    assert is_unlearnable(items)[numbers].all()
    rows = {int(items.row[number]) for number in numbers}
    learned = [history for history in tiny.histories.values() if len(history)]
    assert learned
    for history in learned:
        assert not [
            row for row, weight in zip(history.items, history.weights, strict=True) if row in rows and weight > 0
        ]


# 14: minor, unknown age, age edited to 18


@pytest.mark.parametrize(
    ("stored", "source", "said", "counts_as"),
    [
        ("13-15", "verified", "18+", "13-15"),
        ("16-17", "verified", "18+", "16-17"),
        ("18+", "declared", "18+", "13-15"),
        ("16-17", "declared", None, "13-15"),
        ("18+", "none", None, "13-15"),
        (None, "none", "18+", "13-15"),
        ("unknown", "verified", "18+", "13-15"),
        ("under_13", "declared", "18+", "under_13"),
        ("18+", "verified", "16-17", "16-17"),
        ("18+", "verified", "unknown", "13-15"),
        ("18+", "verified", None, "18+"),
    ],
)
def test_attack_14_the_stricter_band_counts_until_it_is_verified(service, evening, stored, source, said, counts_as):
    put_profile(service.engine, "person", {"age_band": stored, "age_source": source}, evening)
    assert service.ask("person", context=Context(age_band=said)).safety.age_band == counts_as


def test_attack_14_growing_up_frees_no_window(service, by_tier, evening):
    put_profile(service.engine, "person", {"age_band": "16-17", "age_source": "verified"}, evening)
    listed = tuple(by_tier["R2"])
    service.ask("person", candidate_ids=listed)
    before = service.store.users.read("person").state.safety.ledger
    assert len(before.capped["R2"]) == 1
    put_profile(service.engine, "person", {"age_band": "18+", "age_source": "verified"}, evening)
    assert service.store.users.read("person").state.safety.ledger == before
    page = service.ask("person", candidate_ids=listed, at=evening + SECOND)
    assert page.items == [] and page.safety.remaining["R2"]["rolling_24h"] == 5  # of 6, one is used


# 20: guardian vs teen vs user conflict


def test_attack_20_the_strictest_of_guardian_person_and_market_wins(service, evening, limits_now):
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified"}, evening)
    alone = limits_now(service, "teen", evening)
    own = {"daily_minutes": 600, "night_rules": False, "muted_topics": ["S8"], "guardian_consent": True}
    put_controls(service.engine, "teen", own, evening)
    put_guardian(
        service.engine, "teen", {"daily_minutes": 30, "night": ["20:00-21:00"], "max_tier": "R0"}, evening
    )  # fmt: skip
    both = limits_now(service, "teen", evening)
    assert is_at_least_as_strict(both, alone)
    assert both.daily_minutes == 30 and both.blocked_tiers == {1, 2, 3, 4} and both.blocked_topics == {"S8"}
    assert both.night > alone.night
    put_guardian(service.engine, "teen", {"daily_minutes": 1_440, "max_tier": "R4"}, evening)
    assert is_at_least_as_strict(limits_now(service, "teen", evening), alone)  # no value loosens the market's


def test_attack_20_a_guardian_cannot_hide_the_help_card_and_sees_none(service, evening):
    put_profile(service.engine, "teen", {"age_band": "16-17", "age_source": "verified"}, evening)
    put_controls(service.engine, "teen", {"guardian_consent": True}, evening)
    put_guardian(service.engine, "teen", {"daily_minutes": 0, "max_tier": "R0", "calm_mode": True}, evening)
    service.tell({"kind": "support_requested"}, user_id="teen")
    together = service.ask("teen", surface="together", at=evening + SECOND)
    assert together.cards == []  # a page that a guardian looks at too
    page = service.ask("teen", at=evening + MINUTE)
    assert page.items == [] and page.pause.kind == "guardian"
    assert [card.card_id for card in page.cards] == ["support"]
    seen = get_guardian(service.engine, "teen")
    assert set(seen) == {"user_id", "daily_minutes", "night", "calm_mode", "max_tier", "labelled_only"}
