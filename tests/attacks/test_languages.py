"""Languages as telephones send them never empty a page, and a language that nothing is in is refused or noted."""

import pytest

from recsys.errors import DataError
from recsys.messages import Context
from recsys.services.creators import put_creator
from recsys.services.lists import local, trending
from recsys.services.profiles import put_profile
from recsys.services.rights import put_controls

ADULT = {"age_band": "18+", "age_source": "verified", "country": "MA"}


def ids(page):
    return [item.item_id for item in page.items]


def test_what_telephones_send_gives_the_page_of_the_plain_languages(service, evening):
    put_profile(service.engine, "phone", {**ADULT, "languages": ["ar-MA", "fr-FR"]}, evening)
    put_profile(service.engine, "plain", {**ADULT, "languages": ["ar", "ary", "fr"]}, evening)
    pages = [ids(service.ask(user, request_id="q", explain="none")) for user in ("phone", "plain")]
    assert pages[0] == pages[1] and len(pages[0]) == 20


def test_a_region_in_controls_or_in_the_request_changes_nothing(service, evening):
    put_profile(service.engine, "u", {**ADULT, "languages": ["ary"]}, evening)
    put_controls(service.engine, "u", {"languages": ["fr-FR"]}, evening)
    plan = service.engine.context(service_request(), evening)
    assert plan.query.viewer.languages == ("fr",)
    named = service.engine.context(service_request(languages=("ar-MA",)), evening)
    assert named.query.viewer.languages == ("ar", "ary") and named.notes == ()


def service_request(**context):
    from recsys.messages import FeedRequest

    return FeedRequest(user_id="u", request_id="q", context=Context(**context))


@pytest.mark.parametrize("put", [put_profile, put_controls])
def test_a_language_that_nothing_is_in_is_refused(service, evening, put):
    with pytest.raises(DataError, match="languages: found xx-YY, expected at least one"):
        put(service.engine, "u", {"languages": ["xx-YY"]}, evening)
    put(service.engine, "u", {"languages": ["xx", "fr"]}, evening)


def test_a_request_in_a_language_that_nothing_is_in_gets_the_stated_ones_and_a_note(service, evening):
    put_profile(service.engine, "u", {**ADULT, "languages": ["fr"]}, evening)
    page = service.ask("u", context=Context(languages=("xx",)))
    assert page.degraded == ["languages"] and page.items
    assert {item.language for item in page.items} <= {"fr", None}


def test_an_item_with_a_region_in_its_language_is_found_by_everyone_who_reads_it(service, evening):
    service.is_adult("u")
    row = next(r for r in service.engine.resources.catalogue_cache.items.item_ids if r)
    for tag, languages in (("fr-FR", ("fr",)), ("ar-MA", ("ary",)), ("ary-MA", ("ar-MA",)), ("tzm", ("zgh",))):
        service.edit(row, language=tag, dialect=None, risk_tier="R0", risk_source="human")
        page = service.ask("u", candidate_ids=(row,), context=Context(languages=languages), dry_run=True)
        assert ids(page) == [row], tag


def test_lists_read_tags_in_the_same_way(service, evening):
    first, second = (
        trending(service.engine, country="MA", region=None, language=tag, size=20, at=evening)["items"]
        for tag in ("fr", "fr-FR")
    )
    assert first == second and first
    item = first[0]
    put_creator(service.store.catalogue, item["creator_id"], {"country": "MA", "languages": ["fr-MA"]}, evening)
    near = local(service.engine, country="MA", region=None, language="fr-FR", kind=None, size=50, at=evening)
    assert item["creator_id"] in [creator["creator_id"] for creator in near["creators"]]
