"""Events into a state: once each, undo takes back a taste and never a tightening, risk is never learned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue.rankings import index_catalogue
from recsys.clock import DAY, HOUR, MINUTE
from recsys.feed.events import apply_events
from recsys.feed.history import history_of
from recsys.policy.compiled import CompiledPolicy
from recsys.safety.harm_terms import NO_TERMS
from recsys.safety.loop.state import loop_context_of
from recsys.stores.protocols import Logged
from recsys.types import Event, History
from recsys.user.state import MAX_INTERACTIONS, InteractionHistory, UserState


def unlearnable_rows(items):
    """The rows of the artifact from which nothing positive may be learned."""
    return index_catalogue(items, len(items) - 1).is_unlearnable_row


@pytest.fixture(scope="module")
def items(make_service):
    return make_service().engine.resources.catalogue_cache.items


@pytest.fixture(scope="module")
def frame(morocco):
    return loop_context_of(CompiledPolicy(morocco), "18+", None, NO_TERMS)


@pytest.fixture(scope="module")
def of_tier(items):
    """Item ids by the tier that counts for adults, without stories of hope, which have a counter of their own."""
    return lambda tier: [
        items.item_ids[n] for n in range(1, len(items)) if items.tier[n] == tier and not items.topics[n] & 8
    ]


def logged(start, *events):
    return [
        Logged(n + 1, start + n, Event(event_id=fields.pop("event_id", f"e{n}"), user_id="u", at=start + n, **fields))
        for n, fields in enumerate(dict(event) for event in events)
    ]


def test_every_event_counts_once_and_the_last_is_remembered(items, frame, of_tier, evening):
    log = logged(evening, {"kind": "like", "item_id": of_tier(0)[0]}, {"kind": "save", "item_id": of_tier(0)[1]})
    state = apply_events(UserState(), log, items=items, loop_context=frame).state
    assert state.interactions.weights == (1.5, 2.0) and state.interactions.log_seq == 2
    assert apply_events(state, [], items=items, loop_context=frame).state == state


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_folding_in_one_go_or_in_pieces_is_the_same(items, frame, of_tier, evening, data):
    ids = [of_tier(tier)[n] for tier in (0, 1, 2) for n in range(4)]
    kinds = ["view", "like", "complete", "not_interested", "too_much", "save", "impression"]
    of_item = st.builds(lambda k, i: {"kind": k, "item_id": i}, st.sampled_from(kinds), st.sampled_from(ids))
    of_creator = st.builds(
        lambda k, n: {"kind": k, "creator_id": f"c{n}"}, st.sampled_from(["follow", "hide_creator"]), st.integers(0, 2)
    )
    undo = st.builds(lambda n: {"kind": "undo", "value": f"e{n}"}, st.integers(0, 14))
    events = data.draw(st.lists(of_item | of_creator | undo, max_size=14))
    log = logged(evening, *events)
    cut = data.draw(st.integers(0, len(log)))
    whole = apply_events(UserState(), log, items=items, loop_context=frame)
    first = apply_events(UserState(), log[:cut], items=items, loop_context=frame)
    second = apply_events(first.state, log[cut:], items=items, loop_context=frame)
    assert second.state == whole.state
    assert (*first.opens, *second.opens) == whole.opens
    state = UserState()
    for entry in log:
        state = apply_events(state, [entry], items=items, loop_context=frame).state
    assert state == whole.state


def test_an_undo_takes_back_a_taste_a_follow_and_a_mute(items, frame, of_tier, evening):
    log = logged(
        evening, {"kind": "like", "item_id": of_tier(0)[0]}, {"kind": "follow", "creator_id": "c1"},
        {"kind": "hide_creator", "creator_id": "c2"},
        *({"kind": "undo", "value": f"e{n}", "event_id": f"u{n}"} for n in range(3)),
    )  # fmt: skip
    taste = apply_events(UserState(), log, items=items, loop_context=frame).state.interactions
    assert (taste.items, taste.followed, taste.hidden) == ((), (), ())


@pytest.mark.parametrize("kind", ["view", "too_much", "not_interested", "report", "share"])
def test_an_undo_never_takes_back_a_tightening(items, frame, of_tier, evening, kind):
    before = logged(evening, {"kind": kind, "item_id": of_tier(2)[0]})
    after = [*before, Logged(2, evening + 1, Event(event_id="u", user_id="u", kind="undo", at=evening, value="e0"))]
    tight, undone = (
        apply_events(UserState(), log, items=items, loop_context=frame).state.safety for log in (before, after)
    )
    assert undone.ledger.capped == tight.ledger.capped and undone.ledger.last == tight.ledger.last
    assert undone.loop == tight.loop


def test_an_undo_may_come_before_what_it_undoes(items, frame, of_tier, evening):
    events = [
        {"event_id": "like", "kind": "like", "item_id": of_tier(0)[0]},
        {"event_id": "follow", "kind": "follow", "creator_id": "c1"},
        {"event_id": "hide", "kind": "hide_creator", "creator_id": "c2"},
    ]
    undos = [{"event_id": f"not {e['event_id']}", "kind": "undo", "value": e["event_id"]} for e in events]
    for order in ([*events, *undos], [*undos, *events]):
        taste = apply_events(UserState(), logged(evening, *order), items=items, loop_context=frame).state.interactions
        assert (taste.items, taste.followed, taste.hidden) == ((), (), ())


def test_an_open_elsewhere_counts_once_and_only_what_is_capped(items, frame, of_tier, evening):
    r2, r1, r0 = of_tier(2)[0], of_tier(1)[0], of_tier(0)[0]
    log = logged(evening, *({"kind": kind, "item_id": i} for i in (r2, r1, r0) for kind in ("view", "complete")))
    folded = apply_events(UserState(), log, items=items, loop_context=frame)
    assert [items.item_ids[d.item_no] for d in folded.opens] == [r2, r1]
    assert {name: len(times) for name, times in folded.state.safety.ledger.capped.items() if ":" not in name} == {
        "R1": 1, "R2": 1,
    }  # fmt: skip
    assert folded.state.safety.ledger.session_n == 0  # no delivery of ours


def test_what_was_delivered_here_is_no_open_elsewhere(service, of_tier, evening):
    service.is_adult("casa-adult")
    page = service.ask(candidate_ids=tuple(of_tier(2)))
    service.tell({"kind": "view", "item_id": page.items[0].item_id}, at=evening + MINUTE)
    service.ask(at=evening + 2 * MINUTE, size=1)
    assert len(service.store.users.read("casa-adult").state.safety.ledger.capped["R2"]) == 1


def test_what_is_opened_again_after_its_delivery_aged_out_counts_again(service, of_tier, evening):
    """It still counts as seen, and is not served; but opened elsewhere three weeks on, it is another exposure."""
    service.is_adult("casa-adult")
    item_id = service.ask(candidate_ids=tuple(of_tier(2))).items[0].item_id
    for days, n_counted in ((7, 1), (20, 1), (21, 1)):
        service.tell({"kind": "view", "item_id": item_id}, at=evening + days * DAY)
        service.ask(size=1, at=evening + days * DAY)
        counted = service.store.users.read("casa-adult").state.safety.ledger.capped["R2"]
        assert len(counted) == n_counted and (counted[-1] == evening) == (days == 7)


def test_events_only_prolong_a_session(items, frame, of_tier, evening):
    log = logged(evening, {"kind": "view", "item_id": of_tier(0)[0]})
    assert apply_events(UserState(), log, items=items, loop_context=frame).state.safety.ledger.session_started_at == 0


def test_a_taste_keeps_the_newest_200(items, frame, of_tier, evening):
    log = logged(evening, *({"kind": "like", "item_id": of_tier(0)[n % 50]} for n in range(MAX_INTERACTIONS + 30)))
    taste = apply_events(UserState(), log, items=items, loop_context=frame).state.interactions
    assert len(taste.items) == len(taste.weights) == len(taste.at) == len(taste.event_ids) == MAX_INTERACTIONS
    assert taste.event_ids[-1] == f"e{MAX_INTERACTIONS + 29}"


@pytest.mark.parametrize(("kind", "name"), [("follow", "followed"), ("hide_creator", "hidden")])
def test_creators_followed_and_hidden_are_the_newest_2_000(items, frame, evening, kind, name):
    """A state that grows with every event of a flood makes each page dearer than the last."""
    events = ({"kind": kind, "creator_id": f"c{n}"} for n in range(2_050))
    taste = apply_events(UserState(), logged(evening, *events), items=items, loop_context=frame).state.interactions
    assert [creator for creator, _ in getattr(taste, name)] == [f"c{n}" for n in range(50, 2_050)]


def test_an_event_of_an_unknown_item_teaches_nothing(items, frame, evening):
    state = apply_events(
        UserState(), logged(evening, {"kind": "like", "item_id": "never"}), items=items, loop_context=frame
    ).state
    assert state.interactions.items == () and state.interactions.log_seq == 1


def test_an_event_from_the_future_is_dated_when_it_came(items, frame, of_tier, evening):
    event = Event(event_id="e", user_id="u", kind="like", at=evening + HOUR, item_id=of_tier(0)[0])
    assert apply_events(
        UserState(), [Logged(1, evening, event)], items=items, loop_context=frame
    ).state.interactions.at == (evening,)


@settings(max_examples=40, deadline=None)
@given(n_calm=st.integers(0, 5), n_risky=st.integers(0, 8))
def test_a_history_has_no_positive_from_r2_and_is_the_same_without_them(items, of_tier, evening, n_calm, n_risky):
    numbers = [items.index[i] for i in (*of_tier(0)[:n_calm], *of_tier(2)[:n_risky], *of_tier(3)[:n_risky])]
    trained = History(
        items.row[numbers], np.ones(len(numbers), np.float32), np.arange(len(numbers), dtype=np.int64) + evening
    )
    taste = InteractionHistory(
        items=tuple(numbers), weights=(1.0,) * len(numbers), at=tuple(evening + DAY + n for n in range(len(numbers))),
        event_ids=tuple(map(str, numbers)),
    )  # fmt: skip
    with_risk = history_of(taste, trained, items, unlearnable_rows(items))
    keep = [n for n, number in enumerate(numbers) if items.tier[number] < 2]
    calm = InteractionHistory(
        **{name: tuple(getattr(taste, name)[n] for n in keep) for name in ("items", "weights", "at", "event_ids")}
    )
    trained = History(trained.items[keep], trained.weights[keep], trained.at[keep])
    without = history_of(calm, trained, items, unlearnable_rows(items))
    assert with_risk.items.tolist() == without.items.tolist() and with_risk.weights.tolist() == without.weights.tolist()


def test_the_first_item_of_an_artifact_can_be_learned_from(items, evening):
    """Number 0 is no item; it once lent its risk to the artifact's row 0."""
    number = int(np.flatnonzero(items.row == 0)[0])
    taste = InteractionHistory(items=(number,), weights=(1.0,), at=(evening,), event_ids=("e",))
    expected = [] if items.tier[number] >= 2 or items.minor_tier[number] >= 2 else [0]
    assert history_of(taste, None, items, unlearnable_rows(items)).items.tolist() == expected


def test_a_reset_forgets_what_training_knew(items, of_tier, evening):
    row = items.row[items.index[of_tier(0)[0]]]
    trained = History(np.array([row]), np.array([1.0], np.float32), np.array([evening]))
    assert len(history_of(InteractionHistory(reset_at=evening), trained, items, unlearnable_rows(items))) == 0
    assert len(history_of(InteractionHistory(reset_at=evening - 1), trained, items, unlearnable_rows(items))) == 1
