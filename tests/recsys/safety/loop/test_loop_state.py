"""The loop breaker's memory: nights, exposures and topics of the last days, and no more."""

import numpy as np
import pytest

from recsys.catalogue.items import topic_bits
from recsys.clock import DAY, HOUR, MINUTE, from_text
from recsys.safety.harm_terms import harm_terms_of
from recsys.safety.loop.signals import signals
from recsys.safety.loop.state import (
    loop_context_of,
    night_number,
    note_activity,
    note_topics,
    retain_after_erasure,
    week_entropy,
)
from recsys.user.state import (
    Delivery,
    Guardian,
    Ledger,
    LoopState,
    SafetyState,
)

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


TODAY = AT // DAY


PLACEHOLDER = harm_terms_of(["zzforbidden", "zz two words"])


def from_day(day: str) -> int:
    return np.datetime64(day).astype(object).toordinal()


def test_a_flood_of_watches_counts_three_a_day(someone):
    """Ten R2 items watched to the end in a day are three exposures; R0 has its own three."""
    for item in (3, 6, 7, 8, 9, 10):
        someone.tell("complete", item)
    for item in range(11, 17):
        someone.tell("view", item, watch_fraction=0.5)
    assert len(someone.loop.r2_watched) == len(someone.loop.r0_today) == 3
    assert someone.loop.r0_today == ((11, False), (12, False), (13, False))


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
    assert someone.loop.r0_completion == pytest.approx((3 / np.e, 3 / np.e))
    assert someone.loop.r0_today == ((13, False),)


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
def test_nights_move_with_ramadan(policy, instant, adult, minor):
    """Africa/Casablanca is at UTC+1 but for Ramadan: at UTC+0 from 15 February to 22 March 2026, 02:00 UTC."""
    for band, expected in (("18+", adult), ("13-15", minor)):
        loop_context = loop_context_of(policy, band, None, PLACEHOLDER)
        start = from_text(instant)
        loop = note_activity(LoopState(active_until=start), Ledger(active_at=start + 3 * MINUTE), loop_context)
        assert sum(ms for _, ms in loop.nights) == (3 * MINUTE if expected else 0)


def test_a_night_is_counted_from_noon_to_noon_and_a_gap_as_5_minutes(policy):
    loop_context = loop_context_of(policy, "13-15", None, PLACEHOLDER)
    evening, morning = from_text("2026-06-21T21:58:00Z"), from_text("2026-06-22T05:30:00Z")  # 22:58 and 06:30 local
    assert (
        night_number(evening, loop_context.zone) == night_number(morning, loop_context.zone) == from_day("2026-06-21")
    )
    loop = note_activity(LoopState(active_until=evening - 2 * HOUR), Ledger(active_at=evening), loop_context)
    assert sum(ms for _, ms in loop.nights) == 0  # 20:58 to 21:03
    loop = note_activity(loop, Ledger(active_at=evening + 2 * MINUTE), loop_context)
    loop = note_activity(loop, Ledger(active_at=morning), loop_context)
    assert loop.nights == ((from_day("2026-06-21"), 7 * MINUTE),)
    assert note_activity(loop, Ledger(active_at=evening), loop_context) == loop  # an older clock


def test_a_guardians_hours_lengthen_the_night(policy):
    late = from_text("2026-06-21T19:30:00Z")  # 20:30 local
    for guardian, ms in ((None, 0), (Guardian(night=((20 * 60, 22 * 60),)), MINUTE)):
        loop_context = loop_context_of(policy, "13-15", guardian, PLACEHOLDER)
        loop = note_activity(LoopState(active_until=late), Ledger(active_at=late + MINUTE), loop_context)
        assert sum(found for _, found in loop.nights) == ms


def test_twenty_minutes_of_three_nights_are_frequent_night_use(someone):
    """Pages every 4 minutes from midnight: five gaps a night are 20 minutes."""
    someone.at = from_text("2026-09-21T00:00:00Z")
    for night in range(3):
        start = from_text("2026-09-21T00:00:00Z") + night * DAY
        for n in range(6):
            someone.at = start + n * 4 * MINUTE
            someone.page(0)
        assert ("d" in signals(someone.state.safety, someone.loop_context, someone.at)) == (night == 2)


def test_entropy_is_that_of_the_last_seven_days(loop_context):
    delivered = [Delivery(at=AT, item_no=0, creator_no=0, topics=topic_bits([t])) for t in ("S1", "S2")]
    loop = LoopState()
    for day in range(3):
        loop = note_topics(loop, delivered * 10, loop_context, AT + day * DAY)
    assert week_entropy(loop, loop_context.rules, TODAY + 2) == 1.0  # 60 items on two topics
    assert week_entropy(loop, loop_context.rules, TODAY + 7) is None  # 40 left
    assert loop.entropy is None  # 40 items before the third day
    loop = note_topics(loop, delivered[:1] * 100, loop_context, AT + 3 * DAY)
    assert (loop.entropy, loop.entropy_day) == (1.0, TODAY + 3)
    narrow = week_entropy(loop, loop_context.rules, TODAY + 3)
    assert narrow == pytest.approx(-(130 / 160) * np.log2(130 / 160) - (30 / 160) * np.log2(30 / 160))  # 0.696 bits
    assert "e" in signals(SafetyState(loop=loop), loop_context, AT + 3 * DAY)  # 30.4 % below 1
    later = note_topics(loop, delivered, loop_context, AT + 5 * DAY)
    pull = 1 - (27 / 28) ** 2
    assert later.entropy == pytest.approx(1 + pull * (narrow - 1))


def test_a_delivery_counts_under_its_first_topic(loop_context):
    deliveries = [Delivery(at=AT, item_no=0, creator_no=0, topics=bits) for bits in (0, 0b1100, 0b100)]
    assert note_topics(LoopState(), deliveries, loop_context, AT).daily[0][1][:4] == (1, 0, 0, 2)


def test_an_erasure_leaves_the_level_and_its_clock(someone):
    someone.tell("too_much", 1).tell("not_interested", 3).tell("complete", 3)
    assert retain_after_erasure(someone.loop) == LoopState(level=1, raised_at=AT, clean_since=AT)
