"""The loop breaker: each signal just over and just under, and levels that only clean days loosen."""

from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recsys.catalogue.items import Items, apply, empty, topic_bits
from recsys.clock import DAY, HOUR, MINUTE, SECOND, from_text
from recsys.feed.events import apply_events, record_page
from recsys.messages import FeedRequest
from recsys.policy.limits import is_at_least_as_strict
from recsys.safety.harm_terms import harm_terms_of, kept_of
from recsys.safety.ledger import server_time, touch
from recsys.safety.loop.levels import (
    calm,
    evaluate,
    expires_at,
    note_harm_seeking,
    note_page,
    reduced,
    remains,
    shown,
    topic_factors,
    topic_limits,
)
from recsys.safety.loop.signals import (
    LoopContext,
    awake,
    loop_context_of,
    night_number,
    signals,
    topics_shown,
    week_entropy,
)
from recsys.stores.protocols import CatalogueDelta, ItemRow, Logged
from recsys.types import Event
from recsys.user.state import (
    Controls,
    Delivery,
    Guardian,
    Ledger,
    LoopState,
    PersonState,
    Reason,
    SafetyState,
    Span,
    UserState,
    pack,
    unpack,
    unpack_safety,
)
from recsys.vocabulary import FAMILIES

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca
TODAY = AT // DAY
PLACEHOLDER = harm_terms_of(["zzforbidden", "zz two words"])
TABLE = [  # item_no 1, 2, ...
    {"risk_tier": "R0", "topics": ["S3"]},
    {"risk_tier": "R1", "topics": ["S11"]},
    {"risk_tier": "R2", "risk_family": "despair", "topics": ["S1"]},
    {"risk_tier": "R3", "creator_id": "risky"},
    {"topics": ["S3"]},  # unlabelled
    {"risk_tier": "R2", "risk_family": "body"},
    *({"risk_tier": "R2", "risk_family": "despair"} for _ in range(4)),
    *({"risk_tier": "R0", "topics": ["S10"]} for _ in range(6)),
    {"risk_tier": "R2", "risk_source": "model"},  # not sure: R3 for minors
]


@pytest.fixture(scope="module")
def items(market) -> Items:
    rows = tuple(
        ItemRow(
            item_no=n, cluster_id="", cluster_no=n, cluster_peak=0, revision=1, peak_tier=0, is_edited=False,
            fields={"item_id": f"v{n}", "creator_id": "calm", "published_at": 0, "title": f"T{n}"}
            | {"risk_source": "human", **fields},
        )
        for n, fields in enumerate(TABLE, start=1)
    )  # fmt: skip
    return apply(
        empty(), CatalogueDelta(revision=1, newest_raise=0, rows=rows), market=market, creators={}, rows={}
    )  # fmt: skip


@pytest.fixture(scope="module")
def loop_context(policy) -> LoopContext:
    return loop_context_of(policy, "18+", None, PLACEHOLDER)


@dataclass
class Someone:
    """A person who scrolls and reacts, through the same functions as a feed."""

    loop_context: LoopContext
    items: Items
    state: UserState = field(default_factory=UserState)
    at: int = AT
    n_events: int = 0

    @property
    def loop(self) -> LoopState:
        return self.state.safety.loop

    def page(self, *tiers: int, refusals: int = 0, wait: int = 0, topics: int = 0) -> "Someone":
        rules, counted = self.loop_context.market.session, self.state.safety
        self.at = server_time(counted.ledger, self.at + wait)
        counted = msgspec.structs.replace(counted, ledger=touch(counted.ledger, self.at, rules))
        self.state = evaluate(msgspec.structs.replace(self.state, safety=counted), self.loop_context, self.at)
        n = self.state.safety.ledger.n_delivered
        deliveries = tuple(
            Delivery(at=self.at, item_no=n + k, cluster_no=n + k, creator_no=n + k, tier=tier, topics=topics)
            for k, tier in enumerate(tiers)
        )
        self.state = record_page(self.state, deliveries, self.at, self.loop_context.market)
        self.state = note_page(
            self.state, refusals=refusals, deliveries=deliveries, loop_context=self.loop_context, at=self.at
        )  # fmt: skip
        return self

    def tell(self, kind: str, item: int | None = None, *, event_id: str | None = None, **fields: object) -> "Someone":
        self.n_events += 1
        fields["query"] = kept_of(self.loop_context.harm_terms, fields.get("query"))  # as the intake keeps it
        event = Event(
            event_id=event_id or f"e{self.n_events}", user_id="u", kind=kind, at=0,
            item_id=None if item is None else f"v{item}", **fields,
        )  # fmt: skip
        logged = Logged(seq=self.n_events, received_at=self.at, event=event)
        self.state = apply_events(self.state, [logged], items=self.items, loop_context=self.loop_context).state
        return self


@pytest.fixture
def someone(loop_context, items) -> Someone:
    return Someone(loop_context, items)


# Signals a to e: just over raises together with one other, just under does not


def last(n_risky: int, n: int, tier: int = 1) -> Ledger:
    kinds = [tier] * n_risky + [0] * (n - n_risky)
    deliveries = tuple(
        Delivery(at=AT - HOUR, item_no=k, cluster_no=k, creator_no=k, tier=t) for k, t in enumerate(kinds)
    )
    return Ledger(last=deliveries, session_started_at=AT, active_at=AT)


def session(**fields: object) -> Ledger:
    return Ledger(**({"session_started_at": AT, "active_at": AT} | fields))


def minutes_long(ms: int) -> Ledger:
    return Ledger(session_started_at=AT - ms, active_at=AT, active=(Span(start=AT - ms, end=AT),))


def r2(*done: bool, day: int = TODAY) -> tuple[tuple[int, int, bool], ...]:
    return tuple((n, day, is_done) for n, is_done in enumerate(done))


def nights(*minutes: float, before: int = 0) -> tuple[tuple[int, int], ...]:
    """Minutes on tonight (the night that AT belongs to) and the nights before it."""
    tonight = from_day("2026-09-21")
    return tuple((tonight - before - n, int(m * MINUTE)) for n, m in enumerate(minutes))


def from_day(day: str) -> int:
    return np.datetime64(day).astype(object).toordinal()


def topics(*counts: int, day: int = TODAY) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return ((day, counts),)


OVER_AND_UNDER = {
    "a: 3 of 20 are R1, 15 %": ("a", last(3, 20), LoopState(), True),
    "a: 2 of 20, 10 %": ("a", last(2, 20), LoopState(), False),
    "a: 8 of 50 are R2, 16 %": ("a", last(8, 50, tier=2), LoopState(), True),
    "a: 7 of 50, 14 %": ("a", last(7, 50, tier=2), LoopState(), False),
    "a: 19 deliveries are too few": ("a", last(19, 19), LoopState(), False),
    "a: 3 refusals in this session": ("a", session(), LoopState(refusals=3, refused_session_at=AT), True),
    "a: 2 refusals": ("a", session(), LoopState(refusals=2, refused_session_at=AT), False),
    "a: 3 refusals in an earlier session": ("a", session(), LoopState(refusals=3, refused_session_at=AT - DAY), False),
    # own 10 of 20 = 0.5; 1.25 x 0.5 = 0.625; 2 of 3 = 0.667
    "b: 0.667 against 0.625": (
        "b", session(), LoopState(own_completion=(10, 20), own_day=TODAY, r2_watched=r2(True, True, False)), True,
    ),
    "b: 0.667 against 0.75": (
        "b", session(), LoopState(own_completion=(12, 20), own_day=TODAY, r2_watched=r2(True, True, False)), False,
    ),
    "b: exactly 1.25 times": (
        "b", session(), LoopState(own_completion=(8, 20), own_day=TODAY, r2_watched=r2(True, False, True, False)), True,
    ),
    "b: two exposures are too few": (
        "b", session(), LoopState(own_completion=(0, 20), own_day=TODAY, r2_watched=r2(True, True)), False,
    ),
    "b: eight days ago is too long ago": (
        "b", session(), LoopState(own_completion=(0, 20), r2_watched=r2(True, True, True, day=TODAY - 7)), False,
    ),
    "b: nothing watched to the end": (
        "b", session(), LoopState(own_completion=(0, 20), r2_watched=r2(*[False] * 3)), False,
    ),
    "b: no baseline, all R2 watched to the end": ("b", session(), LoopState(r2_watched=r2(True, True, True)), True),
    "b: no baseline, not all": ("b", session(), LoopState(r2_watched=r2(True, True, False)), False),
    "b: always watches to the end, R2 too": (
        "b", session(), LoopState(own_completion=(20, 20), r2_watched=r2(True, True, True)), True,
    ),
    "c: 60 minutes and a bit": ("c", minutes_long(60 * MINUTE + 1), LoopState(), True),
    "c: 60 minutes": ("c", minutes_long(60 * MINUTE), LoopState(), False),
    "c: 151 items": ("c", session(session_n=151), LoopState(), True),
    "c: 150 items": ("c", session(session_n=150), LoopState(), False),
    "d: 20 minutes on 3 nights": ("d", session(), LoopState(nights=nights(0, 20, 0, 20, 20)), True),
    "d: one of them a second shorter": ("d", session(), LoopState(nights=nights(20, 20, 20 - 1 / 60)), False),
    "d: the third is the eighth night": (
        "d", session(), LoopState(nights=(*nights(20, 20), *nights(20, before=7))), False,
    ),
    "d: the third is the seventh night": (
        "d", session(), LoopState(nights=(*nights(20, 20), *nights(20, before=6))), True,
    ),
    # two topics, 25 each: 1 bit
    "e: 1 bit after 1.43, 30.07 % less": ("e", session(), LoopState(daily=topics(0, 25, 25), entropy=1.43), True),
    "e: 1 bit after 1.42, 29.58 % less": ("e", session(), LoopState(daily=topics(0, 25, 25), entropy=1.42), False),
    "e: 49 items are too few": ("e", session(), LoopState(daily=topics(49), entropy=3.0), False),
    "e: no memory yet": ("e", session(), LoopState(daily=topics(50)), False),
}  # fmt: skip


@pytest.mark.parametrize(("letter", "ledger", "loop", "is_true"), OVER_AND_UNDER.values(), ids=OVER_AND_UNDER)
def test_each_signal_raises_with_another_one_and_not_from_just_under(loop_context, letter, ledger, loop, is_true):
    counted = SafetyState(ledger=ledger, loop=loop)
    assert signals(counted, loop_context, AT) == ((letter,) if is_true else ())
    if letter == "c":  # its partner is a
        counted = SafetyState(
            ledger=ledger,
            loop=msgspec.structs.replace(loop, refusals=3, refused_session_at=ledger.session_started_at),
        )
    else:
        counted = SafetyState(ledger=msgspec.structs.replace(ledger, session_n=151), loop=loop)
    after = evaluate(UserState(safety=counted), loop_context, AT).safety.loop
    assert after.level == int(is_true)
    assert [r.signal for r in after.reasons] == (sorted({letter, "a" if letter == "c" else "c"}) if is_true else [])


# Signals f to h: alone


@pytest.mark.parametrize(
    ("kind", "item", "fields", "signal"),
    [
        ("search", None, {"query": "what is ZZ-forbidden"}, None),  # another word
        ("search", None, {"query": "a zzforbidden thing"}, "f"),
        ("search", None, {"query": "ZZ  twoo WORDS!"}, "f"),  # elongated
        ("search", None, {"query": "z z f o r b i d d e n"}, "f"),
        ("search", None, {"query": "zz two"}, None),
        ("search", None, {"query": "football"}, None),
        ("follow", None, {"creator_id": "risky"}, "f"),  # who makes an R3 item
        ("follow", None, {"creator_id": "calm"}, None),
        ("share", 4, {}, "f"),
        ("share", 3, {}, None),  # R2 is not R3
        ("like", 4, {}, None),
        ("too_much", 1, {}, "g"),
        ("too_much", 3, {}, "g"),
        ("report", 1, {"value": "distressing"}, "g"),
        ("report", 3, {"value": "spam"}, None),
        ("report", 2, {}, "g"),  # a heavy item, no reason given
        ("report", 1, {}, None),
        ("not_interested", 3, {}, None),  # once
        ("undo", None, {"value": "e1"}, None),
        ("support_requested", None, {}, None),  # asking for help is no sign of a loop
    ],
)
def test_what_a_person_says_raises_by_itself(someone, kind, item, fields, signal):
    someone.tell(kind, item, **fields)
    assert (someone.loop.level, [r.signal for r in someone.loop.reasons]) == ((1, [signal]) if signal else (0, []))


def test_a_share_of_an_uncertain_item_is_no_share_of_r3(policy, items):
    """For minors an R2 label that is not sure counts as R3; nobody looked for R3 by sharing such an item."""
    young = Someone(loop_context_of(policy, "13-15", None, PLACEHOLDER), items)
    assert int(items.minor_tier[17]) == 3
    assert young.tell("share", 17).loop.level == 0


@pytest.mark.parametrize(("gaps", "level"), [((0, 0), 1), ((3, 4), 1), ((4, 4), 0), ((0,), 0)])
def test_three_refusals_in_seven_days_are_repeated(someone, gaps, level):
    someone.tell("not_interested", 2)
    for days in gaps:
        someone.at += days * DAY
        someone.tell("not_interested", 2)
    assert someone.loop.level == level


def test_at_most_three_refusals_count_in_a_day(someone):
    """Ten in a day raise once; three more on the next day, after 24 hours and a moment, raise again."""
    for _ in range(10):
        someone.tell("not_interested", 2)
    assert someone.loop.level == 1
    someone.at += DAY
    assert someone.tell("not_interested", 2).loop.level == 1  # exactly 24 h old still counts
    someone.at += 1
    for level in (1, 1, 2):
        assert someone.tell("not_interested", 2).loop.level == level


@pytest.mark.parametrize(
    ("request_", "is_attempt"),
    [
        (FeedRequest(user_id="u", request_id="r", surface="search", query="zzforbidden"), True),
        (FeedRequest(user_id="u", request_id="r", surface="search", query="calm"), False),
        (FeedRequest(user_id="u", request_id="r", query="zzforbidden"), False),  # not a search
        (FeedRequest(user_id="u", request_id="r", surface="related", anchor_item_id="v4"), True),
        (FeedRequest(user_id="u", request_id="r", surface="related", anchor_item_id="v3"), False),
    ],
)
def test_a_request_for_r3_raises_once_and_keeps_no_query(someone, request_, is_attempt):
    state = note_harm_seeking(someone.state, request_, someone.items, someone.loop_context, AT)
    again = note_harm_seeking(state, request_, someone.items, someone.loop_context, AT + SECOND)
    assert state.safety.loop.level == again.safety.loop.level == int(is_attempt)
    assert state.safety.loop.cards_due == (("crisis",) if is_attempt else ())
    assert b"forbidden" not in msgspec.msgpack.encode(state)
    assert "forbidden" not in repr(someone.loop_context)


def test_calm_mode_raises_once_and_holds_level_1(someone):
    someone.state = calm(someone.state, "controls:1", AT)
    someone.state = calm(someone.state, "controls:1", AT)
    assert someone.loop.level == 1
    someone.state = msgspec.structs.replace(someone.state, person=PersonState(controls=Controls(calm_mode=True)))
    for _ in range(10):
        assert someone.page(0, wait=7 * DAY).loop.level == 1
    someone.state = msgspec.structs.replace(someone.state, person=PersonState())
    assert someone.page(0, wait=7 * DAY - 1).loop.level == 1  # the clean time starts when calm mode ends
    assert someone.page(0, wait=1).loop.level == 0


def test_a_guardians_calm_mode_holds_level_1(someone):
    someone.state = msgspec.structs.replace(someone.state, person=PersonState(guardian=Guardian(calm_mode=True)))
    assert someone.page(0).loop.level == 1
    assert [r.signal for r in someone.loop.reasons] == ["h"]


# Levels


def test_one_session_raises_once_and_only_for_something_new(someone):
    """a and c raise in the first session; a and c again in the next are nothing new; d is."""
    risky = [1] * 5 + [0] * 15
    for _ in range(8):
        someone.page(*risky, wait=MINUTE)
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "c")
    someone.page(*risky, refusals=3)
    assert someone.loop.level == 1
    someone.page(0, wait=SECOND)
    assert someone.loop.level == 1  # the same session
    for _ in range(8):  # c falls with the new session, and comes again
        someone.page(*risky, wait=HOUR if _ == 0 else MINUTE)
    assert someone.loop.level == 1
    someone.page(0, wait=SECOND)
    assert someone.loop.level == 2  # c is new since the last raise: it was false in between


def test_a_second_pair_of_signals_waits_for_the_next_session(someone):
    """a and d raise; e, new in the same session, raises in the next one only."""
    narrow = LoopState(nights=nights(20, 20, 20), entropy=3.0, entropy_day=TODAY)
    someone.state = UserState(safety=SafetyState(ledger=last(10, 20), loop=narrow))
    assert someone.page(*[1] * 50, topics=1).loop.level == 1
    assert someone.page(wait=MINUTE).loop.level == 1
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "d", "e")
    assert someone.page(wait=HOUR).loop.level == 2


def test_days_with_two_true_signals_are_not_clean_though_they_raise_nothing(someone):
    """a and d hold from the raise on; a week later they still do, so the level stays, and so for 7 more days."""
    someone.state = UserState(safety=SafetyState(ledger=last(10, 20), loop=LoopState(nights=nights(20, 20, 20))))
    someone.page(1)
    someone.page(1, wait=4 * DAY)
    assert signals(someone.state.safety, someone.loop_context, someone.at) == ("a", "d")
    assert someone.page(wait=7 * DAY - 1).loop.level == 1  # 11 days after the raise
    assert someone.page(wait=1).loop.level == 0


def test_refusals_near_each_other_keep_the_days_from_being_clean(someone):
    """The third one raises; a fourth, counted towards no raise of its own yet, renews the clean time."""
    for _ in range(3):
        someone.tell("not_interested", 2)
    someone.at += 6 * DAY
    assert someone.tell("not_interested", 2).loop.level == 1
    assert someone.page(wait=7 * DAY - 1).loop.level == 1
    assert someone.page(wait=1).loop.level == 0


def test_a_signal_that_stays_true_raises_nothing_again(someone):
    counted = SafetyState(ledger=last(10, 20), loop=LoopState(nights=nights(20, 20, 20)))
    someone.state = UserState(safety=counted)
    assert someone.page(1).loop.level == 1
    assert someone.page(1, wait=HOUR).loop.level == 1
    assert someone.loop.held == ("a", "d")


def test_a_starred_event_counts_beside_the_session_limit(someone):
    someone.tell("too_much", 1)
    someone.tell("too_much", 1)
    assert someone.loop.level == 2
    assert someone.tell("too_much", 1).loop.level == 2


@pytest.mark.parametrize(("band", "days"), [("18+", 7), ("16-17", 14), ("13-15", 14), ("under_13", 14)])
def test_each_clean_period_loosens_one_level_and_a_millisecond_less_none(policy, items, band, days):
    someone = Someone(loop_context_of(policy, band, None, PLACEHOLDER), items)
    someone.tell("too_much", 1).tell("too_much", 1)
    assert expires_at(someone.loop, policy.market.loop, is_minor=someone.loop_context.is_minor) == AT + days * DAY
    assert someone.page(0, wait=days * DAY - 1).loop.level == 2
    assert someone.page(0, wait=1).loop.level == 1
    assert someone.page(0, wait=days * DAY - 1).loop.level == 1
    assert someone.page(0, wait=1).loop.level == 0
    assert someone.loop.reasons == ()


def test_a_long_absence_is_clean(someone):
    someone.tell("too_much", 1).tell("too_much", 1)
    assert someone.page(0, wait=14 * DAY).loop.level == 0


def test_two_true_signals_keep_the_days_from_being_clean(someone):
    someone.tell("too_much", 1)
    someone.page(wait=6 * DAY)
    for _ in range(8):
        someone.page(*[1] * 5, *[0] * 15, wait=MINUTE)
    someone.page(0)  # a and c hold: raised, and the clean time starts here
    unclean = someone.at
    assert someone.loop.level == 2
    assert someone.page(*[0] * 50, wait=HOUR).loop.level == 2
    someone.at = unclean
    assert someone.page(wait=7 * DAY - 1).loop.level == 2
    assert someone.page(wait=1).loop.level == 1


def test_a_clock_that_goes_back_loosens_nothing(someone):
    someone.tell("too_much", 1)
    someone.at -= 30 * DAY
    assert someone.page(0).loop.level == 1
    someone.at = AT + 7 * DAY - 1
    assert someone.page(0).loop.level == 1


# Events: duplicates, order, floods


EVENTS = st.lists(
    st.sampled_from(
        [("too_much", 1), ("not_interested", 3), ("report", 2), ("share", 4), ("view", 3), ("complete", 6), ("like", 1)]
    ),
    max_size=12,
)


def told(someone: Someone, events, *, every: int = 0) -> LoopState:
    for n, (kind, item) in events:
        someone.at += every
        someone.tell(kind, item, event_id=f"id{n}", watch_fraction=1.0)
    return someone.page(0).loop


@given(EVENTS, st.data())
@settings(max_examples=60, deadline=None)
def test_events_twice_or_in_another_order_change_no_level(loop_context, items, events, data):
    """Events of one moment. The log refuses a second event of the same id; should one come through, nothing loosens."""
    numbered = list(enumerate(events))
    once = told(Someone(loop_context, items), numbered)
    order = data.draw(st.permutations(numbered))
    assert told(Someone(loop_context, items), order).level == once.level
    assert told(Someone(loop_context, items), [*order, *order]).level >= once.level


@given(
    st.lists(st.tuples(st.sampled_from(["page", "wait", "event"]), st.integers(0, 6)), max_size=40),
    st.integers(0, 40),
    st.sampled_from([("too_much", 1), ("not_interested", 3), ("report", 2), ("share", 4), ("complete", 3)]),
)
@settings(max_examples=150, deadline=None)
def test_one_more_event_never_ends_a_tightening_earlier(loop_context, items, script, where, extra):
    """The same days with and without a forged event: the level with it is never below the level without."""
    waits = (MINUTE, HOUR, DAY, 3 * DAY, 6 * DAY, 7 * DAY, 7 * DAY - 1)
    events = (("too_much", 1), ("not_interested", 1), ("not_interested", 3), ("report", 2), ("share", 4))
    without, forged = Someone(loop_context, items), Someone(loop_context, items)
    for n, (what, k) in enumerate(script):
        for person in (without, forged):
            if what == "page":
                person.page(*[1] * k, 0, refusals=k // 3)
            elif what == "wait":
                person.at += waits[k]
            else:
                person.tell(*events[k % len(events)], event_id=f"e{n}")
            if person is forged and n == where:
                person.tell(*extra, event_id="forged", watch_fraction=1.0)
        assert forged.loop.level >= without.loop.level
        assert set(without.loop.topic_off) <= set(forged.loop.topic_off) or extra[0] == "not_interested"


def test_an_undo_takes_nothing_back(someone):
    someone.tell("too_much", 1, event_id="x").tell("not_interested", 3, event_id="y")
    before = someone.loop
    someone.tell("undo", value="x").tell("undo", value="y")
    assert someone.loop == before


def test_a_flood_of_watches_counts_three_a_day(someone):
    """Ten R2 items watched to the end in a day are three exposures; R0 has its own three."""
    for item in (3, 6, 7, 8, 9, 10):
        someone.tell("complete", item)
    for item in range(11, 17):
        someone.tell("view", item, watch_fraction=0.5)
    assert len(someone.loop.r2_watched) == len(someone.loop.own_today) == 3
    assert someone.loop.own_today == ((11, False), (12, False), (13, False))


def test_a_view_and_a_completion_are_one_exposure(someone):
    someone.tell("view", 3, watch_fraction=0.89)
    assert someone.loop.r2_watched == ((3, TODAY, False),)
    someone.tell("complete", 3).tell("view", 3, watch_fraction=0.1)
    assert someone.loop.r2_watched == ((3, TODAY, True),)
    assert someone.tell("view", 6, watch_fraction=0.9).loop.r2_watched[-1] == (6, TODAY, True)


def test_the_baseline_fades_over_28_days(someone):
    for item in (1, 11, 12):
        someone.tell("complete", item)
    someone.at += 28 * DAY
    someone.tell("view", 13, watch_fraction=0.0)
    assert someone.loop.own_completion == pytest.approx((3 / np.e, 3 / np.e))
    assert someone.loop.own_today == ((13, False),)


# Every level is as strict as the one below


@pytest.mark.parametrize("band", ["18+", "16-17", "13-15", "under_13"])
@pytest.mark.parametrize("night", [False, True])
def test_a_higher_level_allows_nothing_that_a_lower_one_forbids(policy, band, night):
    """A gap between two of a kind that may not come at all says nothing, so it is left out."""
    for level in (0, 1):
        lower, higher = policy.limits[band, level, night], policy.limits[band, level + 1, night]
        none = {name for name, windows in higher.windows.items() if windows.last_20 == 0}
        gaps = {name: gap for name, gap in lower.gaps.items() if name not in none}
        assert is_at_least_as_strict(higher, replace(lower, gaps=gaps))


class Days(RuleBasedStateMachine):
    """Pages, events, nights and clocks in any order: only clean days loosen."""

    loop_context: LoopContext
    items: Items

    @initialize()
    def begin(self) -> None:
        self.person = Someone(self.loop_context, self.items)
        self.level, self.unclean_at, self.session_raises = 0, 0, {}

    def check(self, *, is_page: bool) -> None:
        """Compares with a bookkeeping of its own: when a raise condition held last, and what a session raised."""
        loop = self.person.loop
        now = server_time(self.person.state.safety.ledger, self.person.at)
        if loop.level < self.level:
            assert is_page
            clean = now - self.unclean_at
            assert self.level - loop.level <= clean // (7 * DAY)
            self.unclean_at = now - clean % (7 * DAY)
        is_condition = is_page and len(signals(self.evaluated, self.loop_context, now)) >= 2
        if loop.level > self.level or is_condition:
            self.unclean_at = max(self.unclean_at, now)
        self.level = loop.level

    @rule(
        wait=st.sampled_from(
            [0, MINUTE, 20 * MINUTE, HOUR, 8 * HOUR, DAY, 7 * DAY, 7 * DAY - 1, 15 * DAY, -5_000, -DAY]
        ),
        tiers=st.lists(st.integers(0, 2), max_size=30),
        refusals=st.integers(0, 3),
        topics=st.integers(0, 4095),
    )
    def page(self, wait: int, tiers: list[int], refusals: int, topics: int) -> None:
        before = self.person.loop
        self.person.page(wait=wait)
        self.evaluated = self.person.state.safety
        raised = self.person.loop.raised_at != before.raised_at
        if raised:
            started = self.evaluated.ledger.session_started_at
            assert self.session_raises.setdefault(started, self.person.at) == self.person.at
            assert self.person.loop.level == before.level + 1 or self.person.at - before.clean_since >= 7 * DAY
        self.check(is_page=True)
        self.person.page(*tiers, refusals=refusals, topics=topics)
        if self.person.loop.raised_at != self.evaluated.loop.raised_at:
            raise AssertionError("the same moment was judged twice and raised twice")
        self.check(is_page=False)

    @rule(
        kind=st.sampled_from(
            ["view", "complete", "like", "not_interested", "too_much", "report", "share", "undo", "search", "follow"]
        ),
        item=st.integers(1, len(TABLE)),
        fraction=st.floats(0, 1),
        again=st.booleans(),
    )
    def event(self, kind: str, item: int, fraction: float, again: bool) -> None:
        fields = {"search": {"query": "zzforbidden"}, "follow": {"creator_id": "risky"}, "undo": {"value": "e1"}}
        subject = None if kind in fields else item
        event_id = "again" if again else None
        before = self.person.loop.level
        self.person.tell(kind, subject, event_id=event_id, watch_fraction=fraction, **fields.get(kind, {}))
        assert self.person.loop.level >= before
        self.check(is_page=False)

    @invariant()
    def levels_and_sizes_are_in_bounds(self) -> None:
        if hasattr(self, "person"):
            loop = self.person.loop
            assert 0 <= loop.level <= 2
            assert unpack_safety(pack(self.person.state)[1]) == self.person.state.safety
            assert len(msgspec.msgpack.encode(loop)) < 900


def test_no_sequence_of_pages_and_events_loosens_but_by_clean_days(loop_context, items):
    machine = type("Machine", (Days,), {"loop_context": loop_context, "items": items})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


# "Not interested" on a risk topic


def test_a_refused_risk_topic_is_off_14_days_then_reduced_for_140(someone, market):
    someone.tell("not_interested", 3)  # R2 despair on S1: the family, never the help
    someone.tell("not_interested", 2)  # R1 on S11, which is not supportive
    loop, rules = someone.loop, market.loop
    for at, off in ((AT, True), (AT + 14 * DAY, True), (AT + 14 * DAY + 1, False)):
        limits = topic_limits(loop, rules, at)
        assert (limits.blocked_families, limits.blocked_topics) == (
            (frozenset({"despair"}), frozenset({"S11"})) if off else (frozenset(), frozenset())
        )
    assert topic_factors(loop, rules, AT + 14 * DAY) == {}
    assert topic_factors(loop, rules, AT + 15 * DAY)["despair"] == pytest.approx(0.2 + 0.8 / 140)
    assert topic_factors(loop, rules, AT + 84 * DAY)["S11"] == pytest.approx(0.6)  # half of the 140 days
    assert topic_factors(loop, rules, AT + 154 * DAY) == {}
    assert someone.page(0, wait=154 * DAY).loop.topic_off != ()
    assert someone.page(0, wait=1).loop.topic_off == ()


def test_refusing_again_starts_anew(someone, market):
    someone.tell("not_interested", 3)
    someone.at += 100 * DAY
    someone.tell("not_interested", 3)
    assert topic_limits(someone.loop, market.loop, someone.at).blocked_families == {"despair"}
    assert len(someone.loop.topic_off) == 1


@pytest.mark.parametrize("item", [1, 5])
def test_r0_and_unlabelled_items_put_no_topic_off(someone, market, item):
    assert someone.tell("not_interested", item).loop.topic_off == ()


def test_a_reduced_score_moves_towards_the_worst_of_the_page():
    scores, factors = np.array([2.0, -1.0, np.nan, 1.0], np.float32), np.array([0.2, 0.2, 0.2, 1.0], np.float32)
    np.testing.assert_allclose(reduced(scores, factors), [-0.4, -1.0, np.nan, 1.0], rtol=1e-6)


# Nights, with real dates


@pytest.mark.parametrize(
    ("instant", "adult", "minor"),
    [
        ("2026-02-14T23:30:00Z", True, True),  # 00:30 at UTC+1
        ("2026-02-15T23:30:00Z", False, True),  # Ramadan began: 23:30 at UTC+0
        ("2026-02-16T00:30:00Z", True, True),
        ("2026-02-14T21:30:00Z", False, True),  # 22:30 at UTC+1
        ("2026-02-15T21:30:00Z", False, False),  # 21:30 at UTC+0
        ("2026-03-20T05:30:00Z", True, True),  # 05:30 at UTC+0
        ("2026-03-22T05:30:00Z", False, True),  # 06:30 at UTC+1
        ("2026-03-22T06:30:00Z", False, False),  # 07:30
        ("2026-09-19T23:30:00Z", True, True),  # 00:30 at UTC+1
        ("2026-09-20T23:30:00Z", False, True),  # 23:30: at UTC+0 for good, says the pinned zone database
    ],
)
def test_nights_move_with_ramadan(policy, items, instant, adult, minor):
    """Africa/Casablanca is at UTC+1 but for Ramadan: at UTC+0 from 15 February to 22 March 2026, 02:00 UTC."""
    for band, expected in (("18+", adult), ("13-15", minor)):
        loop_context = loop_context_of(policy, band, None, PLACEHOLDER)
        start = from_text(instant)
        loop = awake(LoopState(awake_at=start), Ledger(active_at=start + 3 * MINUTE), loop_context)
        assert sum(ms for _, ms in loop.nights) == (3 * MINUTE if expected else 0)


def test_a_night_is_counted_from_noon_to_noon_and_a_gap_as_5_minutes(policy):
    loop_context = loop_context_of(policy, "13-15", None, PLACEHOLDER)
    evening, morning = from_text("2026-06-21T21:58:00Z"), from_text("2026-06-22T05:30:00Z")  # 22:58 and 06:30 local
    assert (
        night_number(evening, loop_context.zone) == night_number(morning, loop_context.zone) == from_day("2026-06-21")
    )
    loop = awake(LoopState(awake_at=evening - 2 * HOUR), Ledger(active_at=evening), loop_context)
    assert sum(ms for _, ms in loop.nights) == 0  # 20:58 to 21:03
    loop = awake(loop, Ledger(active_at=evening + 2 * MINUTE), loop_context)
    loop = awake(loop, Ledger(active_at=morning), loop_context)
    assert loop.nights == ((from_day("2026-06-21"), 7 * MINUTE),)
    assert awake(loop, Ledger(active_at=evening), loop_context) == loop  # an older clock


def test_a_guardians_hours_lengthen_the_night(policy):
    late = from_text("2026-06-21T19:30:00Z")  # 20:30 local
    for guardian, ms in ((None, 0), (Guardian(night=((20 * 60, 22 * 60),)), MINUTE)):
        loop_context = loop_context_of(policy, "13-15", guardian, PLACEHOLDER)
        loop = awake(LoopState(awake_at=late), Ledger(active_at=late + MINUTE), loop_context)
        assert sum(found for _, found in loop.nights) == ms


def test_twenty_minutes_of_three_nights_are_sleepless(someone):
    """Pages every 4 minutes from midnight: five gaps a night are 20 minutes."""
    someone.at = from_text("2026-09-21T00:00:00Z")
    for night in range(3):
        start = from_text("2026-09-21T00:00:00Z") + night * DAY
        for n in range(6):
            someone.at = start + n * 4 * MINUTE
            someone.page(0)
        assert ("d" in signals(someone.state.safety, someone.loop_context, someone.at)) == (night == 2)


# Topics


def test_entropy_is_that_of_the_last_seven_days(loop_context):
    delivered = [Delivery(at=AT, item_no=0, cluster_no=0, creator_no=0, topics=topic_bits([t])) for t in ("S1", "S2")]
    loop = LoopState()
    for day in range(3):
        loop = topics_shown(loop, delivered * 10, loop_context, AT + day * DAY)
    assert week_entropy(loop, loop_context.rules, TODAY + 2) == 1.0  # 60 items on two topics
    assert week_entropy(loop, loop_context.rules, TODAY + 7) is None  # 40 left
    assert loop.entropy is None  # 40 items before the third day
    loop = topics_shown(loop, delivered[:1] * 100, loop_context, AT + 3 * DAY)
    assert (loop.entropy, loop.entropy_day) == (1.0, TODAY + 3)
    narrow = week_entropy(loop, loop_context.rules, TODAY + 3)
    assert narrow == pytest.approx(-(130 / 160) * np.log2(130 / 160) - (30 / 160) * np.log2(30 / 160))  # 0.696 bits
    assert "e" in signals(SafetyState(loop=loop), loop_context, AT + 3 * DAY)  # 30.4 % below 1
    later = topics_shown(loop, delivered, loop_context, AT + 5 * DAY)
    pull = 1 - (27 / 28) ** 2
    assert later.entropy == pytest.approx(1 + pull * (narrow - 1))


def test_a_delivery_counts_under_its_first_topic(loop_context):
    deliveries = [Delivery(at=AT, item_no=0, cluster_no=0, creator_no=0, topics=bits) for bits in (0, 0b1100, 0b100)]
    assert topics_shown(LoopState(), deliveries, loop_context, AT).daily[0][1][:4] == (1, 0, 0, 2)


# What is kept and told


def test_the_person_sees_level_reasons_and_expiry(someone, market):
    someone.tell("too_much", 1).tell("not_interested", 3)
    told = shown(someone.state, market, is_minor=False)
    assert told == {
        "level": 1,
        "reasons": [{"signal": "g", "at": "2026-09-21T14:00:00.000Z"}],
        "expires_at": "2026-09-28T14:00:00.000Z",
        "topics_off": [
            {
                "name": "despair",
                "off_until": "2026-10-05T14:00:00.000Z",
                "reduced_until": "2027-02-22T14:00:00.000Z",
            }
        ],
    }
    assert shown(UserState(), market, is_minor=True)["expires_at"] is None


def test_an_erasure_leaves_the_level_and_its_clock(someone):
    someone.tell("too_much", 1).tell("not_interested", 3).tell("complete", 3)
    assert remains(someone.loop) == LoopState(level=1, raised_at=AT, clean_since=AT)


def test_support_that_was_asked_for_is_due_until_it_was_given(someone):
    someone.tell("support_requested").tell("search", query="zzforbidden")
    assert someone.page(0).loop.cards_due == ("crisis", "support")


@pytest.mark.parametrize(("from_tier", "item", "level"), [("R0", 1, 1), ("R1", 1, 0), ("R1", 2, 1), ("R2", 2, 0)])
def test_which_refusals_are_no_mere_taste_is_the_markets_choice(someone, from_tier, item, level):
    """Item 1 is R0, item 2 is R1; three refusals in a week."""
    rules = replace(someone.loop_context.rules, not_interested_from=from_tier)
    someone.loop_context = replace(someone.loop_context, market=replace(someone.loop_context.market, loop=rules))
    for _ in range(3):
        someone.tell("not_interested", item)
    assert someone.loop.level == level


@pytest.mark.parametrize(
    ("n_harm", "n_calm", "share", "is_known_for_it"),
    [
        (1, 0, 0.1, True),
        (1, 9, 0.1, True),
        (1, 10, 0.1, False),
        (1, 10, 0.0, True),
        (0, 5, 0.0, False),
        (2, 3, 0.5, False),
    ],
)
def test_a_follow_looks_for_harm_when_the_creator_is_known_for_it(
    someone, market, n_harm, n_calm, share, is_known_for_it
):
    """One bad item among many makes nobody a maker of harm; where the share is 0, one is enough. Hidden ones count."""
    tiers = ["R3", "R4"] * n_harm
    rows = tuple(
        ItemRow(
            item_no=n, cluster_id="", cluster_no=n, cluster_peak=0, revision=1, peak_tier=0, is_edited=False,
            fields={"item_id": f"w{n}", "creator_id": "maker", "published_at": 0, "title": f"T{n}", "is_hidden": n < 2}
            | {"risk_source": "human", "risk_tier": tier},
        )
        for n, tier in enumerate([*tiers[:n_harm], *["R0"] * n_calm], start=1)
    )  # fmt: skip
    someone.items = apply(
        empty(), CatalogueDelta(revision=1, newest_raise=0, rows=rows), market=market, creators={}, rows={}
    )
    rules = replace(someone.loop_context.rules, follow_share=share)
    someone.loop_context = replace(someone.loop_context, market=replace(someone.loop_context.market, loop=rules))
    assert someone.tell("follow", creator_id="maker").loop.level == int(is_known_for_it)


def test_the_counted_part_of_a_heavy_user_stays_under_4_kb(market):
    """Every counter at its cap of 7 days and every list as long as it gets; times and numbers at random."""
    rng = np.random.default_rng(0)

    def times(n: int) -> tuple[int, ...]:
        return tuple(sorted((AT - rng.integers(0, 7 * DAY, n)).tolist()))

    caps = {name: market.ages["18+"].windows[name].rolling_7d for name in ("R1", "R2", "S4")}
    caps |= {"R2:despair": 11, "R2:body": 10}  # half of 21 each
    deliveries = tuple(
        Delivery(
            at=int(at), item_no=int(n), cluster_no=int(n), creator_no=int(creator), tier=2, family=1, topics=int(bits)
        )
        for at, n, creator, bits in zip(
            times(50),
            rng.integers(1e6, 1e9, 50),
            rng.integers(2**31, 2**32, 50),
            rng.integers(0, 4096, 50),
            strict=True,
        )
    )
    ledger = Ledger(
        last=deliveries, capped={name: times(n) for name, n in caps.items()}, n_delivered=10**6, session_started_at=AT,
        session_n=10**4, active_at=AT, active=tuple(Span(start=t, end=t + MINUTE) for t in times(32)), revision=10**6,
        pause_answered=((f"budget-{AT}", "continue"), (f"night-{AT}", "continue")), stopped=(f"night-{AT}", AT),
    )  # fmt: skip
    loop = LoopState(
        level=2, reasons=tuple(Reason(signal="a", at=t) for t in times(6)), raised_at=AT, clean_since=AT,
        held=("a", "b", "c", "d", "e"), raised_session_at=AT, starred=tuple(rng.integers(2**31, 2**32, 4).tolist()),
        refusals=500, daily=tuple((TODAY - n, tuple(rng.integers(0, 99, 13).tolist())) for n in range(7)),
        entropy=2.1, entropy_day=TODAY, own_completion=(70.1, 80.2),
        r2_watched=tuple((10**9 + n, TODAY, True) for n in range(9)),
        nights=nights(*[300.5] * 7),
        topic_off=tuple((name, AT - n) for n, name in enumerate((*FAMILIES, "S11", "S12"))),
        asks=times(3), refused_session_at=AT, own_day=TODAY, own_today=tuple((10**9 + n, True) for n in range(3)),
        awake_at=AT, asked_at=AT, cards_due=("crisis", "support"),
    )  # fmt: skip
    state = UserState(safety=SafetyState(ledger=ledger, loop=loop))
    assert len(pack(state)[1]) < 4 * 1024
    assert unpack(pack(state)) == state


def test_broken_bytes_are_no_state():
    packed = pack(UserState(safety=SafetyState(ledger=Ledger(capped={"R1": tuple(range(AT, AT + 400))}))))[1]
    assert packed[:1] == b"\x78"
    for broken in (packed[:-9], packed[:50] + b"\0" * 9, b"\x78", b"\xc0"):
        with pytest.raises(msgspec.DecodeError):
            unpack_safety(broken)
