"""The signals of a harmful loop: each just over and just under its threshold."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from recsys.catalogue.items import apply_delta, empty_items
from recsys.clock import DAY, HOUR, MINUTE, SECOND, from_text
from recsys.messages import FeedRequest
from recsys.safety.harm_terms import harm_terms_of
from recsys.safety.loop.levels import (
    note_harm_seeking,
    update_level,
)
from recsys.safety.loop.signals import harm_match_of_request, signals
from recsys.stores.protocols import CatalogueDelta, ItemRow, StatedWording
from recsys.user.state import (
    Delivery,
    Ledger,
    LoopState,
    SafetyState,
    Span,
    UserState,
)

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


TODAY = AT // DAY


PLACEHOLDER = harm_terms_of(["zzforbidden", "zz two words"])


def last(n_risky: int, n: int, tier: int = 1) -> Ledger:
    kinds = [tier] * n_risky + [0] * (n - n_risky)
    deliveries = tuple(Delivery(at=AT - HOUR, item_no=k, creator_no=k, tier=t) for k, t in enumerate(kinds))
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
        "b", session(), LoopState(r0_completion=(10, 20), r0_day=TODAY, r2_watched=r2(True, True, False)), True,
    ),
    "b: 0.667 against 0.75": (
        "b", session(), LoopState(r0_completion=(12, 20), r0_day=TODAY, r2_watched=r2(True, True, False)), False,
    ),
    "b: exactly 1.25 times": (
        "b", session(), LoopState(r0_completion=(8, 20), r0_day=TODAY, r2_watched=r2(True, False, True, False)), True,
    ),
    "b: two exposures are too few": (
        "b", session(), LoopState(r0_completion=(0, 20), r0_day=TODAY, r2_watched=r2(True, True)), False,
    ),
    "b: eight days ago is too long ago": (
        "b", session(), LoopState(r0_completion=(0, 20), r2_watched=r2(True, True, True, day=TODAY - 7)), False,
    ),
    "b: nothing watched to the end": (
        "b", session(), LoopState(r0_completion=(0, 20), r2_watched=r2(*[False] * 3)), False,
    ),
    "b: no baseline, all R2 watched to the end": ("b", session(), LoopState(r2_watched=r2(True, True, True)), True),
    "b: no baseline, not all": ("b", session(), LoopState(r2_watched=r2(True, True, False)), False),
    "b: always watches to the end, R2 too": (
        "b", session(), LoopState(r0_completion=(20, 20), r2_watched=r2(True, True, True)), True,
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
    after = update_level(UserState(safety=counted), loop_context, AT).safety.loop
    assert after.level == int(is_true)
    assert [r.signal for r in after.reasons] == (sorted({letter, "a" if letter == "c" else "c"}) if is_true else [])


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


def test_a_share_of_an_uncertain_item_is_no_share_of_r3(new_someone, items):
    """For minors an R2 label that is not sure counts as R3; nobody looked for R3 by sharing such an item."""
    young = new_someone("13-15")
    assert int(items.minor_tier[17]) == 3
    assert young.tell("share", 17).loop.level == 0


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (FeedRequest(user_id="u", request_id="r", surface="search", query="zzforbidden"), "exact"),
        (FeedRequest(user_id="u", request_id="r", surface="search", query="zzforbidn"), "near"),
        (FeedRequest(user_id="u", request_id="r", surface="search", query="calm"), None),
        (FeedRequest(user_id="u", request_id="r", query="zzforbidden"), None),  # not a search
        (FeedRequest(user_id="u", request_id="r", surface="related", anchor_item_id="v4"), "exact"),
        (FeedRequest(user_id="u", request_id="r", surface="related", anchor_item_id="v3"), None),
    ],
)
def test_a_request_for_r3_brings_a_card_raises_once_where_it_is_exact_and_keeps_no_query(someone, request_, match):
    assert harm_match_of_request(request_, someone.items, someone.loop_context.harm_terms) == match
    state = note_harm_seeking(someone.state, request_.request_id, match, AT)
    again = note_harm_seeking(state, request_.request_id, match, AT + SECOND)
    assert state.safety.loop.level == again.safety.loop.level == int(match == "exact")
    assert state.safety.loop.cards_due == (() if match is None else ("crisis",))
    assert b"forbidden" not in msgspec.msgpack.encode(state)
    assert "forbidden" not in repr(someone.loop_context)


def test_a_reported_search_that_is_nearly_one_for_harm_brings_the_card_and_raises_nothing(someone):
    someone.tell("search", query="zzforbidn")
    assert (someone.loop.level, someone.loop.reasons, someone.loop.clean_since) == (0, (), 0)
    assert someone.loop.cards_due == ("crisis",)


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
            item_no=n, wordings=(StatedWording(None, 0, 0),), revision=1, peak_tier=0, is_edited=False,
            fields={"item_id": f"w{n}", "creator_id": "maker", "published_at": 0, "title": f"T{n}", "is_hidden": n < 2}
            | {"risk_source": "human", "risk_tier": tier},
        )
        for n, tier in enumerate([*tiers[:n_harm], *["R0"] * n_calm], start=1)
    )  # fmt: skip
    someone.items = apply_delta(
        empty_items(), CatalogueDelta(revision=1, newest_raise=0, rows=rows), market=market, creators={}, rows={}
    )
    rules = replace(someone.loop_context.rules, follow_share=share)
    someone.loop_context = replace(someone.loop_context, market=replace(someone.loop_context.market, loop=rules))
    assert someone.tell("follow", creator_id="maker").loop.level == int(is_known_for_it)
