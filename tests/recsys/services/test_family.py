"""A page for a guardian and a child: both policies hold, both ledgers count, and neither history shows."""

import pytest

from recsys.clock import DAY
from recsys.errors import DataError, StoreError
from recsys.services.family import is_guardian, together
from recsys.services.profiles import put_profile
from recsys.services.rights import put_controls, put_guardian


@pytest.fixture
def family(service, evening):
    """A verified adult, a child of 13 to 15 whose profile names the adult, and an hour at which both may watch."""
    languages = ["ary", "ary-Latn", "ar", "fr", "zgh", "en"]
    adult = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": languages}
    put_profile(service.engine, "parent", adult, evening)
    child = {"age_band": "13-15", "age_source": "verified", "country": "MA", "languages": languages}
    put_profile(service.engine, "child", {**child, "guardian_id": "parent"}, evening)
    return service


def ask(family, evening, request_id="r", **fields):
    return together(family.engine, "parent", "child", size=5, request_id=request_id, at=evening, **fields)


def last(family, user_id):
    return [d.item_no for d in family.engine.stores.users.read(user_id).state.safety.ledger.last]


def numbers(family, page):
    return [family.engine.resources.catalogue_cache.items.index[item["item_id"]] for item in page["items"]]


def test_the_page_is_supportive_r0_and_counts_for_both(family, evening):
    page = ask(family, evening)
    assert len(page["items"]) == 5 and page["degraded"] == [] and page["missing"] == 0
    supportive = {f"S{n}" for n in range(1, 11)}
    assert all(item["tier"] == "R0" and supportive & set(item["topics"]) for item in page["items"])
    assert last(family, "child") == numbers(family, page)
    assert sorted(last(family, "parent")) == sorted(numbers(family, page))


def test_starters_for_families_come_first(family, evening, by_topic):
    page = ask(family, evening)
    is_starter = ["S6" in item["topics"] for item in page["items"]]
    assert is_starter == sorted(is_starter, reverse=True) and sum(is_starter) >= min(5, len(by_topic["S6"])) > 1


@pytest.fixture(scope="session")
def by_topic(tiny):
    found: dict[str, list[str]] = {}
    for row in tiny.items.iter_rows(named=True):
        for topic in row["topics"] or ():
            if row["risk_tier"] == "R0" and not row["is_hidden"]:
                found.setdefault(topic, []).append(row["item_id"])
    return found


def test_the_same_request_is_the_same_page_and_counts_once(family, evening, by_topic):
    first = ask(family, evening)
    family.edit(by_topic["S3"][0], title="changed in between")
    again = ask(family, evening)
    assert again["items"] == first["items"]
    assert len(last(family, "child")) == len(last(family, "parent")) == 5
    other = ask(family, evening, request_id="another")
    assert not {i["item_id"] for i in other["items"]} & {i["item_id"] for i in first["items"]}


def test_an_id_that_is_used_every_evening_gives_a_new_page_each_time(family, evening):
    """The same within 24 h only; what the child was shown on other evenings does not come again."""
    pages = [ask(family, evening + day * (DAY + 1))["items"] for day in range(8)]
    shown = [item["item_id"] for page in pages for item in page]
    assert all(pages) and len(shown) == len(set(shown))


def test_one_id_for_two_children_counts_both_pages_for_the_guardian(family, evening):
    child = {"age_band": "16-17", "age_source": "verified", "country": "MA", "guardian_id": "parent"}
    put_profile(family.engine, "second", child, evening)
    first = ask(family, evening)
    second = together(family.engine, "parent", "second", size=5, request_id="r", at=evening)
    assert first["degraded"] == second["degraded"] == [] and second["items"]
    both = {item["item_id"] for page in (first, second) for item in page["items"]}
    assert sorted(last(family, "parent")) == sorted(
        family.engine.resources.catalogue_cache.items.index[i] for i in both
    )


def test_a_takedown_between_two_same_requests_leaves_the_rest_and_degrades_nothing(family, evening):
    first = ask(family, evening)
    family.edit(first["items"][0]["item_id"], is_hidden=True)
    again = ask(family, evening)
    assert again["items"] == first["items"][1:] and again["degraded"] == []
    assert len(last(family, "parent")) == 5


def test_what_either_forbids_is_not_on_the_page(family, evening):
    put_controls(family.engine, "parent", {"muted_topics": ["S6", "S3"]}, evening)
    put_controls(family.engine, "child", {"muted_topics": ["S2"]}, evening)
    topics = {topic for item in ask(family, evening)["items"] for topic in item["topics"]}
    assert topics and not topics & {"S2", "S3", "S6"}


def test_neither_history_changes_the_draw(family, evening, make_service, by_topic):
    """What the guardian liked, refused or was shown moves nothing; the answer says no score, source or reason."""
    before = ask(family, evening)
    watched = by_topic["S6"][:3] + by_topic["S3"][:5]
    other = make_service()
    for user_id in ("parent", "child"):
        profile = family.engine.stores.users.read(user_id).state.person.profile
        fields = {name: getattr(profile, name) for name in profile.__struct_fields__}
        put_profile(other.engine, user_id, fields | {"languages": list(profile.languages)}, evening)
    other.tell(*({"kind": "like", "item_id": item_id} for item_id in watched), user_id="parent")
    other.ask("parent", candidate_ids=tuple(by_topic["S6"]), size=10)
    after = together(other.engine, "parent", "child", size=5, request_id="r", at=evening)
    assert [i["item_id"] for i in after["items"]] == [i["item_id"] for i in before["items"]]
    assert set(before["items"][0]) == {"item_id", "creator_id", "position", "tier", "topics", "language"}


def test_a_failed_second_step_keeps_the_first(family, evening):
    class Broken:
        def __getattr__(self, name):
            return getattr(family.store.users, name)

        def write_if(self, user_id, *args):
            if user_id == "parent":
                raise StoreError("down")
            return family.store.users.write_if(user_id, *args)

    page = together(family.broken(users=Broken()).engine, "parent", "child", size=5, request_id="r", at=evening)
    assert len(page["items"]) == 5 and page["degraded"] == ["guardian"]
    assert last(family, "child") == numbers(family, page) and last(family, "parent") == []


def test_a_child_whose_time_is_up_gets_the_pause_and_nothing_counts(family, evening):
    put_guardian(family.engine, "child", {"daily_minutes": 0}, evening)
    page = ask(family, evening)
    assert page["items"] == [] and page["pause"]["kind"] in ("guardian", "budget")
    assert last(family, "parent") == []


def test_nobody_elses_child_is_reached(family, evening):
    assert is_guardian(family.engine, "parent", "child") and not is_guardian(family.engine, "child", "parent")
    for guardian_id, child_id in (("stranger", "child"), ("parent", "stranger"), ("parent", "parent")):
        with pytest.raises(DataError, match="does not name this guardian"):
            together(family.engine, guardian_id, child_id, size=5, request_id="r", at=evening)


def test_the_page_stays_full_while_unseen_supply_lasts_and_nothing_comes_twice(family, evening):
    """
    On the fifteenth evening as on the first, from 93 videos that both may see. Then those are left whose creators have
    their share of the last 20, and at last none: no rule gives way.
    """
    pages = [ask(family, evening + day * (DAY + 1), request_id=f"r{day}") for day in range(19)]
    shown = [item["item_id"] for page in pages for item in page["items"]]
    assert all((len(page["items"]), page["missing"], page["because"]) == (5, 0, {}) for page in pages[:15])
    short = [page for page in pages if page["missing"]]
    assert short and short[0]["because"] == {"rules": short[0]["missing"]}
    assert len(shown) == len(set(shown)) > 75


def test_a_page_that_supply_does_not_fill_says_so(family, evening, by_topic):
    """Three videos that both may see; the next page has none, and no repeats."""
    put_controls(family.engine, "child", {"muted_topics": [f"S{n}" for n in range(1, 13) if n != 6]}, evening)
    only = [item_id for item_id in by_topic["S6"] if len(topics_of(family, item_id)) == 1]
    assert len(only) > 3
    for item_id in only[3:]:
        family.edit(item_id, is_hidden=True)
    page = ask(family, evening)
    assert {item["item_id"] for item in page["items"]} == set(only[:3])
    assert page["because"] == {"supply": 2}
    again = ask(family, evening, request_id="another")
    assert again["items"] == [] and again["because"] == {"supply": 5}


def topics_of(family, item_id):
    return family.store.catalogue.get(item_id).fields["topics"]


def test_few_creators_do_not_end_the_page_early(family, evening, tiny):
    """The first draw may hold starters of a few creators only, each of whom has a share of any 20 videos."""
    starters = [r for r in tiny.items.iter_rows(named=True) if "S6" in (r["topics"] or ()) and r["risk_tier"] == "R0"]
    for row in starters:
        family.edit(row["item_id"], creator_id=starters[0]["creator_id"])
    page = together(family.engine, "parent", "child", size=10, request_id="r", at=evening)
    assert len(page["items"]) == 10 and page["because"] == {}


def test_an_empty_place_names_the_pause(family, evening):
    put_guardian(family.engine, "child", {"daily_minutes": 0}, evening)
    assert ask(family, evening)["because"] == {"pause": 5}
