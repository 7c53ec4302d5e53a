"""What is stored about a person: packed by position, small, and told from bytes that are no state."""

import msgspec
import numpy as np
import pytest

from recsys.clock import DAY, MINUTE, from_text
from recsys.user.state import (
    Controls,
    Delivery,
    Guardian,
    InteractionHistory,
    Ledger,
    LoopState,
    PersonState,
    Profile,
    Reason,
    SafetyState,
    Seen,
    Span,
    UserState,
    pack,
    unpack,
    unpack_safety,
)
from recsys.vocabulary import FAMILIES

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


TODAY = AT // DAY


def test_the_safety_state_of_a_heavy_user_stays_under_4_kb(market):
    """Every counter at its cap of 7 days and every list as long as it gets; times and numbers at random."""
    rng = np.random.default_rng(0)

    def times(n: int) -> tuple[int, ...]:
        return tuple(sorted((AT - rng.integers(0, 7 * DAY, n)).tolist()))

    caps = {name: market.ages["18+"].windows[name].rolling_7d for name in ("R1", "R2", "S4")}
    caps |= {"R2:despair": 11, "R2:body": 10}  # half of 21 each
    deliveries = tuple(
        Delivery(at=int(at), item_no=int(n), creator_no=int(creator), tier=2, family=1, topics=int(bits))
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
        active_signals=("a", "b", "c", "d", "e"), raised_session_at=AT,
        one_shot_events=tuple(rng.integers(2**31, 2**32, 4).tolist()),
        refusals=500, daily=tuple((TODAY - n, tuple(rng.integers(0, 99, 13).tolist())) for n in range(7)),
        entropy=2.1, entropy_day=TODAY, r0_completion=(70.1, 80.2),
        r2_watched=tuple((10**9 + n, TODAY, True) for n in range(9)),
        nights=tuple((738_000 - n, int(300.5 * MINUTE)) for n in range(7)),
        topic_off=tuple((name, AT - n) for n, name in enumerate((*FAMILIES, "S11", "S12"))),
        negative_feedback_times=times(3), refused_session_at=AT,
        r0_day=TODAY, r0_today=tuple((10**9 + n, True) for n in range(3)),
        active_until=AT, negative_feedback_raised_at=AT, cards_due=("crisis", "support"),
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


LAYOUT = {
    Profile: ("country", "region", "languages", "age_band", "age_source", "guardian_id", "consent"),
    Controls: (
        "muted_topics", "muted_creators", "muted_words", "calm_mode", "personalised", "daily_minutes", "local_weight",
        "languages", "night_rules", "guardian_consent",
    ),
    Guardian: ("daily_minutes", "night", "calm_mode", "max_tier", "labelled_only"),
    PersonState: ("format", "profile", "controls", "guardian", "is_put"),
    Delivery: (
        "at", "item_no", "unused_no", "creator_no", "tier", "family", "is_s4", "is_supportive", "is_local", "topics",
        "is_open", "is_new_creator",
    ),
    LoopState: (
        "level", "reasons", "raised_at", "clean_since", "active_signals", "raised_session_at", "one_shot_events",
        "refusals", "daily", "entropy", "entropy_day", "r0_completion", "r2_watched", "nights", "topic_off",
        "negative_feedback_times", "refused_session_at", "r0_day", "r0_today", "active_until",
        "negative_feedback_raised_at", "cards_due",
    ),
    Ledger: (
        "format", "last", "capped", "n_delivered", "session_started_at", "session_n", "active_at", "active", "revision",
        "pause_answered", "stopped",
    ),
    SafetyState: ("format", "ledger", "loop", "is_erased"),
    Seen: ("format", "item_nos", "at", "reported", "reported_at", "log_version"),
    InteractionHistory: (
        "format", "items", "weights", "at", "event_ids", "followed", "hidden", "log_seq", "reset_at", "cards_shown",
        "undone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUT, ids=lambda kind: kind.__name__)
def test_fields_are_packed_by_position_and_new_ones_stand_at_the_end(kind):
    """A field may get another name. Put one in between or reorder two, and every state file is read wrongly."""
    assert kind.__struct_fields__ == LAYOUT[kind]
