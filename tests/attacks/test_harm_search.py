"""
Searches for harm, as people type them: help comes, nothing risky does, and the words stay nowhere (policy-spec 4, 5).

Three of the phrases stand here in the open, as in the issue that asked for this; all others are read from the packed
list and named by their place.
"""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.harm_terms import starter_terms
from recsys.catalogue.items import topic_bits
from recsys.clock import DAY, MINUTE
from recsys.errors import StoreError
from recsys.feed.answer import as_sent
from recsys.messages import FeedRequest
from recsys.safety.harm_terms import NO_TERMS
from recsys.services.profiles import put_profile

ENTRIES = [term for _, term in starter_terms()]
OPEN = ("je veux mourir", "comment se suicider", "بغيت نموت")
NEARLY = ("je veu mourire", "comment ce suicider", "بغيت نموووث")
BANDS = ("18+", "16-17", "13-15", "under_13")


def cards(page: Any) -> list[str]:
    """The helpline cards before the first item."""
    return [card.card_id for card in page.cards if card.after_position == 0]


def search(service: Any, query: str, at: int, **fields: Any) -> Any:
    return service.ask(surface="search", query=query, at=at, **fields)


class Down:
    """A user store that does not answer."""

    def __getattr__(self, name: str) -> object:
        raise StoreError(f"{name}: the store does not answer")


@pytest.mark.parametrize("query", OPEN)
@pytest.mark.parametrize("band", BANDS)
def test_a_search_for_harm_gets_the_card_the_level_and_nothing_but_support(service, morocco, evening, query, band):
    profile = {"age_band": band, "age_source": "verified", "country": "MA", "languages": ["ary", "ar", "fr", "en"]}
    put_profile(service.engine, "casa-adult", profile, evening)
    page = search(service, query, evening)
    items = service.engine.resources.catalogue_cache.items
    numbers = [items.index[item.item_id] for item in page.items]
    assert (cards(page), page.safety.loop_level) == (["crisis"], 1)
    assert page.items and {item.tier for item in page.items} == {"R0"}
    assert all(items.is_labelled[numbers])
    assert all(set(item.topics) & set(morocco.supportive_topics) for item in page.items)
    assert all(items.topics[n] & topic_bits(["S1", "S3"]) for n in numbers[:2])  # what helps now comes first
    assert {"resources"} == {source for item in page.items for source in item.sources}


@pytest.mark.parametrize("query", NEARLY)
def test_what_is_nearly_a_search_for_harm_gets_the_card_and_the_calm_page_and_raises_nothing(service, evening, query):
    service.is_adult("casa-adult")
    page = search(service, query, evening)
    loop = service.engine.stores.users.read("casa-adult").state.safety.loop
    assert (cards(page), page.safety.loop_level, loop.level, loop.reasons) == (["crisis"], 0, 0, ())
    assert page.items and {item.tier for item in page.items} == {"R0"}


@pytest.mark.parametrize("place", range(0, len(ENTRIES), 23))
def test_any_entry_of_the_list_gets_the_card(service, evening, place):
    service.is_adult("casa-adult")
    assert cards(search(service, ENTRIES[place], evening, dry_run=True)) == ["crisis"], f"entry {place}"


def test_no_page_for_such_a_search_is_without_a_card_however_empty_it_is(service, evening):
    """Nothing listed, everything left out, a night that asks for a choice, no ledger."""
    service.is_adult("casa-adult")
    assert cards(search(service, OPEN[0], evening, candidate_ids=())) == ["crisis"]
    everything = tuple(service.engine.resources.catalogue_cache.items.index)
    empty = search(service, OPEN[0], evening, exclude_ids=everything)
    assert (empty.items, cards(empty)) == ([], ["crisis"])
    night = evening + 5 * 60 * MINUTE
    put_profile(service.engine, "child", {"age_band": "13-15", "age_source": "verified"}, evening)
    asleep = search(service, OPEN[0], night, user_id="child")
    assert (asleep.pause.kind, asleep.items, cards(asleep)) == ("night", [], ["crisis"])
    assert cards(service.broken(users=Down()).ask(surface="search", query=OPEN[0])) == ["crisis"]


def test_the_safe_feed_shows_the_card_and_what_helps_first(service, morocco, evening):
    down = service.broken(users=Down())
    for query in (*OPEN, *NEARLY):
        page = search(down, query, evening)
        assert (page.degraded, cards(page)) == (["ledger"], ["crisis"])
        helps = [bool(set(item.topics) & {"S1", "S3"}) for item in page.items]
        assert helps and helps == sorted(helps, reverse=True)
    assert search(down, "tajine", evening).cards == []


def test_candidates_of_the_caller_pass_only_where_they_support(service, by_tier, evening):
    service.is_adult("casa-adult")
    listed = tuple(by_tier["R0"][:80] + by_tier["R1"][:20] + by_tier["R2"][:20])
    page = search(service, OPEN[0], evening, candidate_ids=listed, size=50)
    plain = search(service, "tajine", evening + DAY, candidate_ids=listed, size=50)
    assert page.items and {item.tier for item in page.items} == {"R0"}
    assert len(page.items) < len(plain.items)


def test_more_like_a_harmful_video_is_answered_like_such_a_search(service, by_tier, evening):
    service.is_adult("casa-adult")
    service.edit(by_tier["R0"][0], risk_tier="R3", risk_family="despair", risk_source="platform")
    page = service.ask(surface="related", anchor_item_id=by_tier["R0"][0], at=evening)
    assert (cards(page), page.safety.loop_level) == (["crisis"], 1)
    assert {item.tier for item in page.items} <= {"R0"}
    items = service.engine.resources.catalogue_cache.items
    request = FeedRequest(user_id="casa-adult", surface="related", anchor_item_id=by_tier["R0"][0])
    whole = service.engine.context(request, evening).query.whole
    assert all(whole["is_supportive"][np.array([items.index[item.item_id] for item in page.items], np.intp)])


def test_an_ordinary_search_is_as_before(service, evening):
    service.is_adult("casa-adult")
    without = service.broken(resources=replace(service.engine.resources, harm_terms=NO_TERMS))
    query = "mourir de rire"
    one, other = (search(s, query, evening, dry_run=True, request_id="same") for s in (service, without))
    assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
    assert cards(one) == []


def test_a_repeat_of_the_request_is_the_same_page_with_its_card_and_raises_once(service, evening):
    service.is_adult("casa-adult")
    first = search(service, OPEN[0], evening, request_id="same")
    again = search(service, OPEN[0], evening + MINUTE, request_id="same")
    assert (cards(again), again.replayed, again.safety.loop_level) == (["crisis"], True, 1)
    assert [item.item_id for item in again.items] == [item.item_id for item in first.items]


def test_what_was_searched_is_in_no_record_state_log_or_alert(service, evening):
    """Feed and event; exact, near and innocent."""
    service.is_adult("casa-adult")
    for n, query in enumerate((*OPEN, *NEARLY, "tajine zqxmarker")):
        search(service, f"{query} zqxmarker", evening + n * MINUTE)
        service.tell({"kind": "search", "query": f"{query} zqxmarker"}, at=evening + n * MINUTE)
    answers = service.store.decisions.of_user("casa-adult")
    stored = [as_sent(answer, service.engine.key) for answer in answers]
    stored += [msgspec.msgpack.encode(decision) for decision in service.decisions()]
    stored += [msgspec.msgpack.encode(logged) for logged in service.store.events.since("casa-adult", 0)]
    stored.append(msgspec.msgpack.encode(service.store.users.read("casa-adult").state))
    assert len(stored) > 10
    words = [b"zqxmarker", *(word.encode() for query in OPEN for word in query.split() if len(word) > 4)]
    assert not [word for word in words if any(word in part for part in stored)]
    assert not any("zqxmarker" in sentence for sentence in service.alerts)
