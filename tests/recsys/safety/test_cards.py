"""Recovery and helpline cards: when they come, what they hold, and that nothing outside can touch them."""

import inspect
from dataclasses import replace
from datetime import date

import msgspec
import pytest

from recsys.catalogue.items import topic_bits
from recsys.clock import DAY, HOUR, MINUTE, from_text, to_text
from recsys.errors import ConfigError, StoreError
from recsys.policy.schema import Helpline
from recsys.safety import cards
from recsys.safety.cards import cards_due, cards_for, follow_ups, note_cards
from recsys.safety.harm_terms import NO_TERMS, harm_match, harm_terms_of, load_harm_terms
from recsys.safety.helplines import shown_helplines
from recsys.user.state import Controls, Delivery, Guardian, Ledger, LoopState, PersonState, SafetyState, UserState

AT = from_text("2026-06-21T14:00:00Z")


def person(level: int = 0, *asked: str, session: int = AT, **who: object) -> UserState:
    ledger = Ledger(session_started_at=session, active_at=AT)
    return UserState(
        person=PersonState(**who), safety=SafetyState(ledger=ledger, loop=LoopState(level=level, cards_due=asked))
    )


def later(state: UserState, at: int) -> UserState:
    """The same person in a session that starts at `at`."""
    ledger = msgspec.structs.replace(state.safety.ledger, session_started_at=at, active_at=at)
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=ledger))


def page(*topics: str) -> list[Delivery]:
    return [Delivery(at=AT, item_no=n, creator_no=n, topics=topic_bits([t])) for n, t in enumerate(topics)]


def shown_over(state: UserState, market, times: list[tuple[int, int]]) -> list[int]:
    """How many cards come on pages at (session start, at)."""
    counts = []
    for session, at in times:
        state = later(state, session)
        names = cards_due(state, market, "for_you", at)
        counts.append(len(names))
        state = note_cards(state, names, at)
    return counts


# When


def test_what_was_asked_for_always_comes_and_then_is_no_longer_due(market):
    state = person(0, "support", "crisis")
    for _ in range(5):  # uncapped
        state = msgspec.structs.replace(state, safety=person(0, "support", "crisis").safety)
        names = cards_due(state, market, "for_you", AT)
        assert names == ("crisis", "support")
        state = note_cards(state, names, AT)
        assert cards_due(state, market, "for_you", AT) == ()


def test_level_0_has_no_card_of_its_own(market):
    assert cards_due(person(0), market, "for_you", AT) == ()


def test_level_1_has_one_card_a_session_and_two_in_24_hours(market):
    times = [(AT, AT), (AT, AT + MINUTE), (AT + HOUR, AT + HOUR), (AT + 2 * HOUR, AT + 2 * HOUR)]
    times += [(AT + DAY, AT + DAY), (AT + DAY + 1, AT + DAY + 1)]  # exactly 24 h old still counts
    assert shown_over(person(1), market, times) == [1, 0, 1, 0, 0, 1]


def test_level_2_has_a_card_in_each_session_and_three_in_24_hours(market):
    times = [(AT + n * HOUR, AT + n * HOUR) for n in range(5)]
    assert shown_over(person(2), market, times) == [1, 1, 1, 0, 0]
    assert shown_over(person(2), market, [(AT, AT), (AT, AT + MINUTE)]) == [1, 0]


def test_level_2_is_not_silenced_by_the_card_of_level_1(market):
    state = note_cards(person(1), ("level-1",), AT)
    state = msgspec.structs.replace(
        state, safety=msgspec.structs.replace(state.safety, loop=LoopState(level=2))
    )  # fmt: skip
    assert cards_due(state, market, "for_you", AT) == ("level-2",)


def test_a_link_follows_every_hope_and_grief_item(market, policy):
    found = cards_for((), page("S3", "S4", "S1", "S11"), market, policy.zone, "for_you", AT)
    assert [(card.card_id, card.after_position, card.kind) for card in found] == [
        ("link-2", 2, "link"),
        ("link-4", 4, "link"),
    ]


def test_helpline_cards_stand_before_the_first_item(market, policy):
    found = cards_for(("crisis", "support"), page("S4"), market, policy.zone, "for_you", AT)
    assert [(card.card_id, card.after_position, card.kind) for card in found] == [
        ("crisis", 0, "helpline"),
        ("support", 0, "helpline"),
        ("link-1", 1, "link"),
    ]
    assert found[0].text == market.cards.crisis.text
    assert found[1].text == market.cards.support.text
    assert cards_for(("level-1",), [], market, policy.zone, "for_you", AT)[0].text == market.cards.support.text


def test_the_text_comes_in_the_order_of_the_market(market, policy):
    text = cards_for(("support",), [], market, policy.zone, "for_you", AT)[0].text
    assert list(text) == ["ary", "ary-Latn", "ar", "fr", "en"]


# What nothing can touch


def test_a_guardian_sees_no_card_and_hides_none(market, policy):
    strict = Guardian(daily_minutes=0, calm_mode=True, max_tier="R0", labelled_only=True, night=((0, 1440),))
    state = person(2, "support", guardian=strict, controls=Controls(muted_topics=("S1", "S3")))
    assert (
        cards_due(state, market, "for_you", AT)
        == cards_due(person(2, "support"), market, "for_you", AT)
        == ("support",)
    )
    assert cards_due(state, market, "together", AT) == ()
    assert cards_for((), page("S4"), market, policy.zone, "together", AT) == []
    assert note_cards(state, cards_due(state, market, "together", AT), AT).safety.loop.cards_due == ("support",)


def test_experiments_limits_and_scores_have_no_way_in():
    """The functions that decide about cards take none of them, and the module imports none."""
    taken = {name for f in (cards_due, cards_for, note_cards, follow_ups) for name in inspect.signature(f).parameters}
    assert taken == {"state", "market", "surface", "at", "names", "page", "zone"}
    source = inspect.getsource(cards)
    assert not any(f"import {word}" in source or f".{word} " in source for word in ("Limits", "assign", "score"))


def test_only_times_and_names_of_cards_are_kept(market):
    state = note_cards(person(1, "crisis"), ("crisis", "level-1"), AT)
    assert state.interactions.cards_shown == (("level-1", AT),)
    assert note_cards(state, ("level-1",), AT + DAY + 1).interactions.cards_shown == (("level-1", AT + DAY + 1),)


# What follows a card


def test_after_a_helpline_card_come_coping_and_help_then_something_local(market):
    wishes = [(wish.slots, wish.topics, wish.is_local) for wish in follow_ups(("support",), market, "for_you")]
    assert wishes == [(2, ("S3", "S1"), False), (1, ("S5", "S6"), True)]
    assert follow_ups((), market, "for_you") == ()


# Helplines


@pytest.mark.parametrize(
    ("verified_at", "verified_by", "is_listed"),
    [
        (date(2026, 6, 21), "a partner", True),
        (date(2026, 3, 23), "a partner", True),  # 90 days
        (date(2026, 3, 22), "a partner", False),  # 91
        (date(2026, 6, 22), "a partner", False),  # tomorrow
        (None, "a partner", False),
        (date(2026, 6, 21), None, False),
        (date(2026, 6, 21), "", False),
    ],
)
def test_a_helpline_that_nobody_verified_lately_is_hidden_and_the_text_stands_alone(
    market, policy, verified_at, verified_by, is_listed
):
    line = Helpline(
        id="x", name={"fr": "Écoute"}, contact="0", hours="24/7", languages=("ary",), purpose="anybody",
        verified_at=verified_at, verified_by=verified_by,
    )  # fmt: skip
    card = cards_for(("support",), [], replace(market, helplines=(line,)), policy.zone, "for_you", AT)[0]
    entry = {
        "id": "x", "name": {"fr": "Écoute"}, "contact": "0", "hours": "24/7", "languages": ["ary"], "for": "anybody",
    }  # fmt: skip
    assert card.entries == ([entry] if is_listed else [])
    assert card.text


def test_the_market_ships_no_verified_helpline(market):
    """Until a partner verifies them: the generic text stands alone."""
    assert shown_helplines(market, date(2026, 11, 20)) == []


# The lexicon


def test_a_lexicon_is_read_from_a_file_and_shows_no_term(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("# placeholder words, for tests only\n\nZZforbidden\n  zz two  words \nكلمةٌ ممنوعة\n", "utf-8")
    lexicon = load_harm_terms(path)
    assert lexicon.n_terms == 3
    assert "forbidden" not in repr(lexicon)
    for query in ("zzforbidden", "xx ZZFORBIDDEN.", "zz-two-words", "كلمة ممنوعة", "zzzforrrbidden", "z.z.forbidden"):
        assert harm_match(lexicon, query) == ("near" if query == "z.z.forbidden" else "exact"), query
    for query in ("", None, "bidden", "zzforbiddenly", "zz words two"):
        assert harm_match(lexicon, query) is None
    assert harm_match(NO_TERMS, "zzforbidden") is None


def test_a_word_spelled_out_is_one_word():
    assert harm_match(harm_terms_of(["zzforbidden"]), "z z f o r b i d d e n")
    assert harm_match(harm_terms_of(["zzforbidden"]), "so: z-z-f-o-r-b-i-d-d-e-n !")


def test_a_missing_lexicon_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_harm_terms(tmp_path / "absent.txt")


# Through the engine


class Down:
    """A user store that does not answer."""

    def __getattr__(self, name: str) -> object:
        raise StoreError(f"{name}: the store does not answer")


def test_a_search_for_harm_gets_the_card_with_and_without_a_ledger(make_service):
    service = make_service().is_adult("u")
    service = service.broken(resources=replace(service.engine.resources, harm_terms=harm_terms_of(["zzforbidden"])))
    search = {"user_id": "u", "surface": "search", "query": "the zzforbidden thing"}
    page = service.ask(**search)
    assert (page.cards[0].card_id, page.cards[0].after_position, page.safety.loop_level) == ("crisis", 0, 1)
    assert all(item.tier not in ("R3", "R4") for item in page.items)
    assert not any("forbidden" in str(value) for value in service.store.users.read("u").state.safety.loop.reasons)
    safe = service.broken(users=Down()).ask(**search)
    assert (safe.degraded, [card.card_id for card in safe.cards]) == (["ledger"], ["crisis"])
    assert service.broken(users=Down()).ask(user_id="u").cards == []


def test_support_is_given_on_the_next_page_once(make_service):
    service = make_service().is_adult("u")
    service.tell({"kind": "support_requested", "at": to_text(AT)}, user_id="u", at=AT)
    given = [[c.card_id for c in service.ask(user_id="u", at=AT).cards if c.after_position == 0] for _ in range(2)]
    assert given == [["support"], []]
