"""Pages, events and clocks in any order: nothing but clean days loosens a level."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recsys.clock import DAY, HOUR, MINUTE
from recsys.safety.ledger import server_time
from recsys.safety.loop.signals import signals
from recsys.user.state import (
    LoopState,
    pack,
    unpack_safety,
)

EVENTS = st.lists(
    st.sampled_from(
        [("too_much", 1), ("not_interested", 3), ("report", 2), ("share", 4), ("view", 3), ("complete", 6), ("like", 1)]
    ),
    max_size=12,
)


def loop_after(someone, events) -> LoopState:
    for n, (kind, item) in events:
        someone.tell(kind, item, event_id=f"id{n}", watch_fraction=1.0)
    return someone.page(0).loop


@given(EVENTS, st.data())
@settings(max_examples=60, deadline=None)
def test_events_twice_or_in_another_order_change_no_level(new_someone, events, data):
    """Events of one moment. The log refuses a second event of the same id; should one come through, nothing loosens."""
    numbered = list(enumerate(events))
    once = loop_after(new_someone(), numbered)
    order = data.draw(st.permutations(numbered))
    assert loop_after(new_someone(), order).level == once.level
    assert loop_after(new_someone(), [*order, *order]).level >= once.level


@given(
    st.lists(st.tuples(st.sampled_from(["page", "wait", "event"]), st.integers(0, 6)), max_size=40),
    st.integers(0, 40),
    st.sampled_from([("too_much", 1), ("not_interested", 3), ("report", 2), ("share", 4), ("complete", 3)]),
)
@settings(max_examples=150, deadline=None)
def test_one_more_event_never_ends_a_tightening_earlier(new_someone, script, where, extra):
    """The same days with and without a forged event: the level with it is never below the level without."""
    waits = (MINUTE, HOUR, DAY, 3 * DAY, 6 * DAY, 7 * DAY, 7 * DAY - 1)
    events = (("too_much", 1), ("not_interested", 1), ("not_interested", 3), ("report", 2), ("share", 4))
    without, forged = new_someone(), new_someone()
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


class Days(RuleBasedStateMachine):
    """Pages, events, nights and clocks in any order: only clean days loosen."""

    new_someone: Callable[[], Any]

    @initialize()
    def begin(self) -> None:
        self.person = self.new_someone()
        self.level, self.unclean_at, self.session_raises = 0, 0, {}

    def check(self, *, is_page: bool) -> None:
        """Compares with a bookkeeping of its own: when a raise condition held last, and what a session raised."""
        loop = self.person.loop
        now = server_time(self.person.state.safety.ledger, self.person.at)
        if loop.level < self.level:
            assert is_page
            clean = now - self.unclean_at
            assert self.level - loop.level <= clean // (7 * DAY)
            # not all of `clean`: at the highest level an act starts the clean time anew, which no level shows
            self.unclean_at += (self.level - loop.level) * 7 * DAY
        is_condition = is_page and len(signals(self.evaluated, self.person.loop_context, now)) >= 2
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
        item=st.integers(1, 17),
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


def test_no_sequence_of_pages_and_events_loosens_but_by_clean_days(new_someone):
    machine = type("Machine", (Days,), {"new_someone": staticmethod(new_someone)})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
