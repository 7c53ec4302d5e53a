"""What may not be shown, rule by rule, on the tiny world."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.catalogue.items import creator_number, mentions
from recsys.feed import filters
from recsys.messages import FeedRequest
from recsys.policy.limits import Limits
from recsys.text.duplicates import bound_by
from recsys.vocabulary import FAMILIES


@pytest.fixture(scope="module")
def query(make_service, evening):
    service = make_service().is_adult("casa-adult")
    return service.engine.context(FeedRequest(user_id="casa-adult"), evening).query


def limited(query, **limits):
    return replace(query, limits=Limits(**limits))


def changed(query, **arrays):
    return replace(query, items=replace(query.items, **arrays))


def test_number_0_and_hidden_items_do_not_exist(query):
    is_hidden = query.items.is_hidden.copy()
    is_hidden[7] = True
    keep = filters.hidden(changed(query, is_hidden=is_hidden), query.whole)
    assert not keep[0] and not keep[7] and keep[8] == (query.items.exists[8] and not query.items.is_hidden[8])


def test_r3_and_r4_are_never_kept_whatever_the_limits_say(query):
    for limits in (Limits(), Limits(blocked_tiers=frozenset({1}))):
        keep = filters.tier(replace(query, limits=limits), query.whole)
        assert not keep[query.whole["tier"] >= 3].any()
        assert keep[query.whole["tier"] == 1].all() == (1 not in limits.blocked_tiers)
        assert keep[query.whole["tier"] == 2].all()


def test_labelled_only_keeps_labelled_ones_only(query):
    keep = filters.unlabelled(limited(query, labelled_only=True), query.whole)
    assert (keep == query.items.is_labelled).all()
    assert filters.unlabelled(limited(query), query.whole).all()


@pytest.mark.parametrize(("band", "age"), [("under_13", 12), ("13-15", 13), ("16-17", 16), ("18+", 18)])
def test_an_age_is_reached_from_its_first_birthday_in_the_band(query, band, age):
    min_age = np.full(len(query.items), age, np.int16)
    min_age[5] = age + 1
    asked = replace(changed(query, min_age=min_age), viewer=replace(query.viewer, age_band=band))
    keep = filters.age(asked, query.whole)
    assert keep[4] and not keep[5]


def test_what_was_seen_is_not_kept(query):
    keep = filters.seen(replace(query, shown=np.array([3], np.int32)), query.whole)
    assert np.flatnonzero(~keep).tolist() == [3]


def test_mutes_hold_by_topic_family_creator_and_word(query):
    creator, word = query.items.creator_ids[4], query.items.texts[6].split()[0].upper()
    keep = filters.muted(
        limited(query, blocked_topics=frozenset({"S3"}), blocked_families=frozenset({"despair"}),
                blocked_creators=frozenset({creator}), blocked_words=frozenset({word})), query.whole,
    )  # fmt: skip
    for number in range(len(query.items)):
        is_muted = (
            bool(query.items.topics[number] & 0b100)
            or query.whole["family"][number] == FAMILIES.index("despair")
            or query.items.creator_no[number] == creator_number(creator)
            or word.casefold() in query.items.texts[number]
        )
        assert keep[number] == (not is_muted)


def test_speech_is_kept_when_it_is_understood_or_unknown(query):
    asked = replace(query, viewer=replace(query.viewer, languages=("fr", "xx-nobody-speaks-it")))
    keep = filters.language(asked, query.whole)
    names = [query.items.name(int(code)) for code in query.items.language]
    assert keep.tolist() == [name in (None, "fr") for name in names]
    assert filters.language(replace(query, viewer=replace(query.viewer, languages=())), query.whole).all()


def test_a_surface_keeps_what_belongs_on_it(query):
    creators = frozenset({int(query.items.creator_no[4])})
    following = filters.surface(replace(query, surface="following", followed=creators), query.whole)
    assert (following == (query.items.creator_no == query.items.creator_no[4])).all()
    local = filters.surface(replace(query, surface="local"), query.whole)
    assert (local == query.nearness.is_local).all()
    numbers = np.arange(len(query.items))
    related = filters.surface(replace(query, surface="related", anchor=4), query.whole)
    assert np.flatnonzero(~related).tolist() == np.flatnonzero(bound_by(query.items.copies, numbers == 4)).tolist()
    assert not related[4]
    assert filters.surface(replace(query, surface="for_you"), query.whole).all()


def test_a_list_and_exclusions_limit_the_page(query):
    asked = replace(query, only=np.array([3, 4, 5], np.int32), excluded=frozenset({4}))
    assert np.flatnonzero(filters.excluded(asked, query.whole)).tolist() == [3, 5]
    assert not filters.excluded(replace(query, only=np.empty(0, np.int32)), query.whole).any()


def test_a_muted_word_is_found_wherever_a_loop_over_the_texts_finds_it(service):
    items = service.engine.resources.catalogue_cache.items
    words = {word for text in items.texts[:60] for word in text.split()} | {"zz", "e", "  E ", "", " "}
    for word in words:
        folded = " ".join(word.casefold().split())
        expected = [bool(folded) and folded in text for text in items.texts]
        assert mentions(items, word).tolist() == expected == mentions(items, word).tolist(), word


def test_a_muted_word_is_searched_anew_when_the_catalogue_changes(service, evening):
    view = service.engine.resources.catalogue_cache
    assert not mentions(view.items, "zzsaffron").any()
    item_id = view.items.item_ids[3]
    service.edit(item_id, title="Tea with zzSaffron")
    items = view.at_least(service.engine.stores.users.read("casa-adult").revision)
    assert np.flatnonzero(mentions(items, "zzsaffron")).tolist() == [3]
