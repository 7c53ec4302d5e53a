"""Who a page is for: the stricter age, the home that travel does not change, the languages that were stated."""

import pytest

from recsys.feed.viewer import experiment_attributes, home_of, identify, profile_of, usual_languages, viewer_of
from recsys.messages import Context, FeedRequest
from recsys.user.state import Controls, PersonState, Profile, SafetyState, UserState


@pytest.fixture(scope="module")
def model(tiny):
    from recsys.models.loaded import build_models

    return build_models(tiny)


def state_of(profile, **controls):
    return UserState(person=PersonState(profile=profile, is_put=True, controls=Controls(**controls)))


def asked(**context):
    return FeedRequest(user_id="casa-adult", context=Context(**context))


def test_a_profile_that_was_put_replaces_the_trained_one_as_a_whole(model):
    assert profile_of(UserState(), model, "casa-adult").country == "MA"
    assert profile_of(state_of(Profile(region="MA-06")), model, "casa-adult") == Profile(region="MA-06")


def test_of_an_erased_person_nothing_trained_is_used(model):
    erased = UserState(safety=SafetyState(is_erased=True))
    assert profile_of(erased, model, "casa-adult") == Profile()


@pytest.mark.parametrize(
    ("stored", "source", "given", "band"),
    [
        ("18+", "verified", None, "18+"),
        ("18+", "verified", "13-15", "13-15"),
        ("13-15", "verified", "18+", "13-15"),
        ("18+", "declared", None, "13-15"),
        (None, "none", "unknown", "13-15"),
        ("under_13", "none", "18+", "under_13"),
    ],
)
def test_the_stricter_age_band_counts(model, morocco, stored, source, given, band):
    state = state_of(Profile(age_band=stored, age_source=source))
    found = identify(asked(age_band=given), state, model, morocco)
    assert (found.band, found.is_minor) == (band, band != "18+")


@pytest.mark.parametrize(
    ("profile", "context", "home"),
    [
        (Profile(country="MA", region="MA-06"), {}, ("MA", "MA-06")),
        (Profile(country="MA", region="MA-06"), {"country": "FR", "region": "FR-IDF"}, ("MA", "MA-06")),
        (Profile(country="MA", region="MA-06"), {"region": "MA-01"}, ("MA", "MA-01")),
        (Profile(), {"region": "FR-IDF"}, ("FR", "FR-IDF")),
        (Profile(region="MA-02"), {}, ("MA", "MA-02")),
        (Profile(), {}, ("MA", None)),
    ],
)
def test_home_is_the_profiles_country_also_while_the_person_travels(morocco, profile, context, home):
    assert home_of(asked(**context), profile, morocco) == home


def test_languages_are_the_requests_then_the_controls_then_the_profiles_then_the_markets(model, morocco):
    state = state_of(Profile(languages=("fr",)), languages=("zgh",))
    unset = state_of(Profile(languages=("fr",)))
    for request, stored, languages in (
        (asked(languages=("en",)), state, ("en",)),
        (asked(), state, ("zgh",)),
        (asked(), unset, ("fr",)),
        (asked(), state_of(Profile()), usual_languages(morocco, None)),
    ):
        identity = identify(request, stored, model, morocco)
        assert viewer_of(request, identity, stored, morocco, ()).languages == languages


def test_a_region_reads_its_commonest_language_first(morocco):
    assert usual_languages(morocco, None) == morocco.languages
    assert set(usual_languages(morocco, "MA-09")) == set(morocco.languages)


def test_experiments_learn_the_attributes_of_the_glossary_and_nothing_else(model, morocco):
    request = asked(country="MA")
    viewer = viewer_of(request, identify(request, UserState(), model, morocco), UserState(), morocco, ())
    assert set(experiment_attributes(viewer, 1, "local")) == {
        "country", "region", "language", "effective_age_band", "loop_level", "surface"
    }  # fmt: skip
