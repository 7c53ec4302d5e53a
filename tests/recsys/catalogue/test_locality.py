"""
How near an item is, what it rests on, and what holds when evidence contradicts itself.

Scores: region 1, neighbour 0.8, country and fit 0.7, dialect and audience 0.5, language 0.2; evidence: partner 1,
platform and speech 0.9, declared 0.6, inferred 0.4. The viewer lives in MA-06, whose neighbours are MA-04, MA-05 and
MA-07, and understands ary and fr.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue.creators import (
    EVIDENCE_SOURCES,
    UNKNOWN_PLACE,
    Creator,
    EvidencedPlace,
    creator_place,
    declared_place,
    resolve_place,
)
from recsys.catalogue.items import apply_delta, empty_items, with_creator_changes
from recsys.catalogue.locality import MATCHES, evidence, nearness, nearness_by_class, nearness_classes
from recsys.feed.viewer import home_of, usual_languages
from recsys.messages import Context, FeedRequest
from recsys.stores.protocols import CatalogueDelta, ItemRow, StatedWording
from recsys.types import Viewer
from recsys.user.state import Profile

CREATORS = {
    "verified-06": Creator(creator_id="verified-06", country="MA", region="MA-06", is_verified=True),
    "declared-06": Creator(creator_id="declared-06", country="MA", region="MA-06"),
    "declared-07": Creator(creator_id="declared-07", country="MA", region="MA-07"),
    "declared-01": Creator(creator_id="declared-01", country="MA", region="MA-01"),
    "measured-06": Creator(creator_id="measured-06", country="MA", region="MA-06", place_source="platform"),
    "guessed-06": Creator(creator_id="guessed-06", country="MA", region="MA-06", place_source="inferred"),
    "abroad": Creator(creator_id="abroad", country="FR"),
    "diaspora": Creator(creator_id="diaspora", country="FR", audience="MA", languages=("ary",)),
    "egypt": Creator(creator_id="egypt", country="EG", languages=("ar",)),
    "nowhere": Creator(creator_id="nowhere"),
    "says-ary": Creator(creator_id="says-ary", country="FR", languages=("ary",)),
}
VIEWER = Viewer(
    user_id="u", country="MA", region="MA-06", languages=("ary", "fr"), age_band="18+", personalised=True
)  # fmt: skip


def row(n: int, **fields: object) -> ItemRow:
    label = {"risk_tier": "R0", "risk_source": "human"}
    base = {"item_id": f"v{n}", "creator_id": "nowhere", "published_at": 0, "title": f"Title {n}", **label}
    return ItemRow(
        item_no=n, wordings=(StatedWording(None, 0, 0),), revision=1, peak_tier=0, is_edited=False,
        fields=base | fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table(market):
    def build(*rows, creators=CREATORS):
        delta = CatalogueDelta(revision=1, newest_raise=0, rows=rows)
        return apply_delta(empty_items(), delta, market=market, creators=creators, rows={})

    return build


@pytest.mark.parametrize(
    ("fields", "score", "match", "source", "is_local", "is_floor_eligible"),
    [
        ({"creator_id": "verified-06", "language": "fr"}, 1.0, "region", "partner", True, True),
        ({"creator_id": "measured-06", "language": "fr"}, 0.9, "region", "platform", True, True),
        ({"creator_id": "declared-06", "language": "fr"}, 0.6, "region", "declared", True, False),
        ({"creator_id": "declared-06", "language": "ary"}, 0.6, "region", "corroborated", True, True),
        ({"creator_id": "guessed-06", "language": "fr"}, 0.4, "region", "inferred", True, False),
        ({"creator_id": "declared-07", "language": "fr"}, 0.48, "neighbour", "declared", True, False),
        ({"creator_id": "declared-01", "language": "fr"}, 0.42, "country", "declared", True, False),
        ({"creator_id": "declared-01", "language": "ary"}, 0.45, "dialect", "platform", True, True),
        ({"creator_id": "abroad", "language": "ary"}, 0.45, "dialect", "platform", True, True),  # diaspora by speech
        ({"creator_id": "diaspora", "language": "fr"}, 0.45, "audience", "platform", True, False),  # and by audience
        ({"creator_id": "diaspora", "language": "en"}, 0.0, "foreign", "declared", False, False),  # not understood
        ({"creator_id": "says-ary"}, 0.08, "language", "inferred", False, False),  # a creator's word on speech
        ({"creator_id": "abroad", "language": "ary-Latn"}, 0.36, "dialect", "platform", False, False),  # other letters
        ({"creator_id": "abroad", "language": "fr"}, 0.18, "language", "platform", False, False),
        ({"creator_id": "abroad", "language": "zgh"}, 0.0, "foreign", "declared", False, False),  # not understood
        ({"creator_id": "egypt", "reviewed_fit": "MA"}, 0.7, "fit", "partner", True, True),
        ({"creator_id": "egypt", "reviewed_fit": "MA-06"}, 0.7, "fit", "partner", True, True),
        ({"creator_id": "egypt", "reviewed_fit": "MA-01"}, 0.0, "foreign", "declared", False, False),
        ({"creator_id": "egypt"}, 0.0, "foreign", "declared", False, False),
        ({"creator_id": "nowhere", "language": "fr"}, 0.18, "language", "platform", False, False),
        ({"creator_id": "nowhere"}, None, "unknown", "none", False, False),
        ({"creator_id": "never heard of"}, None, "unknown", "none", False, False),
        ({"creator_id": "nowhere", "region": "MA-05", "language": "en"}, 0.48, "neighbour", "declared", True, False),
        # evidence that contradicts itself: the stronger source holds, word against word says nothing
        ({"creator_id": "verified-06", "country": "FR", "language": "en"}, 1.0, "region", "partner", True, True),
        ({"creator_id": "abroad", "region": "MA-06", "language": "en"}, None, "unknown", "none", False, False),
        (
            {"creator_id": "abroad", "region": "MA-06", "place_source": "platform", "language": "en"},
            0.9, "region", "platform", True, True,
        ),
        # a checked creator's video from elsewhere in the country: the country is sure, the region is said
        ({"creator_id": "verified-06", "region": "MA-01", "language": "en"}, 0.7, "country", "partner", True, True),
        ({"creator_id": "verified-06", "region": "MA-07", "language": "en"}, 0.7, "country", "partner", True, True),
    ],
)  # fmt: skip
def test_how_near_an_item_is(table, market, fields, score, match, source, is_local, is_floor_eligible):
    items = table(row(1, **fields))
    near = nearness(VIEWER, items, market)
    assert near.score[1] == pytest.approx(score, abs=1e-6) if score is not None else np.isnan(near.score[1])
    assert (MATCHES[near.match[1]], evidence(near.take(1), items, 1, market)[0]) == (match, source)
    assert (bool(near.is_local[1]), bool(near.is_floor_eligible[1])) == (is_local, is_floor_eligible)


places = st.builds(
    lambda country, region, source: (
        EvidencedPlace(country, region, source, source if region else 0) if country else UNKNOWN_PLACE
    ),
    st.sampled_from([None, "MA", "FR"]), st.sampled_from([None, "MA-06", "MA-07"]), st.integers(1, 4),
)  # fmt: skip


@given(declared=places, home=places)
def test_a_resolved_place_was_declared_and_no_stronger_source_contradicts_it(declared, home):
    place = resolve_place(declared, home)
    assert place.country in (declared.country, home.country, None)
    assert place.source <= max(declared.source, home.source)
    for place_of_source in (declared, home):
        if place_of_source.country not in (None, place.country):
            assert place_of_source.source < place.source or place is UNKNOWN_PLACE
    assert resolve_place(declared, UNKNOWN_PLACE) == declared and resolve_place(UNKNOWN_PLACE, home) == home


@pytest.mark.parametrize("grade", ["region", "neighbour", "country"])
def test_a_stronger_source_is_never_less_near(table, market, grade):
    region = {"region": "MA-06", "neighbour": "MA-07", "country": "MA-01"}[grade]
    scores = []
    for source in EVIDENCE_SOURCES[1:]:
        creator = Creator(creator_id="c", country="MA", region=region, place_source=source)
        items = table(row(1, creator_id="c", language="en"), creators={"c": creator})
        scores.append(float(nearness(VIEWER, items, market).score[1]))
    assert scores == sorted(scores) and scores[0] < scores[-1]


declared_items = st.fixed_dictionaries(
    {},
    optional={
        "creator_id": st.sampled_from([*CREATORS, "never heard of"]),
        "language": st.sampled_from(["ary", "fr", "zgh", "en"]),
        "dialect": st.sampled_from(["ary", "arz", "shi"]), "country": st.sampled_from(["MA", "FR", "ZZ"]),
        "region": st.sampled_from(["MA-06", "MA-07", "XX-99"]), "reviewed_fit": st.sampled_from(["MA", "MA-06", "FR"]),
        "place_source": st.sampled_from(["partner", "platform", "declared", "inferred"]),
    },
)  # fmt: skip


@given(st.lists(declared_items, min_size=1, max_size=8), st.sampled_from(["MA-06", "MA-07", None]))
def test_items_of_one_class_are_as_near_as_each_is_alone(market, table, declared, region):
    items = table(*(row(n, **fields) for n, fields in enumerate(declared, start=1)))
    viewer = replace(VIEWER, region=region)
    whole = nearness(viewer, items, market)
    by_class = nearness_by_class(viewer, items, market, nearness_classes(items))
    for name in ("score", "match", "is_local", "is_floor_eligible"):
        np.testing.assert_array_equal(getattr(by_class, name), getattr(whole, name))
    assert len(by_class.by_class.match) <= len(items)


@given(st.lists(declared_items, min_size=1, max_size=8))
def test_floor_eligible_is_local_and_unknown_is_neither(market, table, declared):
    items = table(*(row(n, **fields) for n, fields in enumerate(declared, start=1)))
    near = nearness(VIEWER, items, market)
    assert not (near.is_floor_eligible & ~near.is_local).any()
    assert not near.is_local[np.isnan(near.score)].any()
    assert (np.isnan(near.score) == (near.match == 0)).all()
    scores = near.score[~np.isnan(near.score)]
    assert ((scores >= 0) & (scores <= 1)).all()


@given(
    st.lists(declared_items, min_size=1, max_size=6), st.sampled_from(["MA", "FR", None]), st.booleans(), st.booleans()
)
def test_a_creators_new_record_places_items_as_if_it_had_always_been_there(
    table, declared, country, is_verified, is_hidden
):
    rows = [row(n, **{**fields, "creator_id": "abroad"}) for n, fields in enumerate(declared, start=1)]
    new = replace(CREATORS["abroad"], country=country, is_verified=is_verified, audience="MA", is_hidden=is_hidden)
    changed = with_creator_changes(table(*rows), [new], 2)
    fresh = table(*rows, creators={**CREATORS, "abroad": new})
    for name in ("country", "region", "language", "audience"):
        found, expected = getattr(changed, name), getattr(fresh, name)
        assert [changed.name(int(n)) for n in found] == [fresh.name(int(n)) for n in expected], name
    for name in ("place_source", "region_source", "is_hidden", "is_taken_down"):
        assert getattr(changed, name).tolist() == getattr(fresh, name).tolist(), name


def test_a_viewer_of_no_region_is_near_to_the_country(table, market):
    items = table(row(1, creator_id="verified-06", language="fr"))
    for region in (None, "MA-99"):  # an unknown code is near to no region, and still in its country
        near = nearness(replace(VIEWER, region=region), items, market)
        assert (MATCHES[near.match[1]], float(near.score[1])) == ("country", pytest.approx(0.7))


def test_a_viewer_abroad_is_near_to_the_speech_of_home(table, market):
    items = table(row(1, creator_id="verified-06", language="ary"), row(2, creator_id="abroad", language="fr"))
    near = nearness(replace(VIEWER, country="FR", region=None), items, market)
    assert [MATCHES[n] for n in near.match[1:]] == ["dialect", "country"]


def test_some_rows_are_judged_as_in_the_whole(table, market):
    items = table(*(row(n, creator_id=name, language="fr") for n, name in enumerate(CREATORS, start=1)))
    whole, some = nearness(VIEWER, items, market), nearness(VIEWER, items, market, np.array([3, 1], np.int32))
    assert some.score.tolist() == whole.score[[3, 1]].tolist()
    assert some.match.tolist() == whole.match[[3, 1]].tolist()


@pytest.mark.parametrize(
    ("profile", "context", "home"),
    [
        (Profile(country="MA", region="MA-06"), Context(), ("MA", "MA-06")),
        (Profile(country="MA", region="MA-06"), Context(country="FR"), ("MA", "MA-06")),  # travelling abroad
        (Profile(country="MA", region="MA-06"), Context(country="FR", region="FR-IDF"), ("MA", "MA-06")),
        (Profile(country="MA", region="MA-06"), Context(region="MA-07"), ("MA", "MA-07")),  # and at home
        (Profile(country="MA", region="MA-06"), Context(country="MA"), ("MA", "MA-06")),
        (Profile(region="MA-06"), Context(), ("MA", "MA-06")),
        (Profile(), Context(country="FR", region="FR-IDF"), ("FR", "FR-IDF")),
        (Profile(), Context(region="FR-IDF"), ("FR", "FR-IDF")),
        (Profile(), Context(), ("MA", None)),
        (Profile(country="MA"), Context(region="XX-99"), ("MA", None)),
    ],
)
def test_home_is_where_the_profile_says_also_on_a_journey(market, profile, context, home):
    assert home_of(FeedRequest(user_id="u", context=context), profile, market) == home


def test_who_says_nothing_is_taken_to_understand_what_the_region_does_most(market):
    assert usual_languages(market, "MA-09")[:2] == ("ary", "zgh")  # Souss-Massa
    assert usual_languages(market, "MA-06")[:2] == ("ary", "fr")  # Casablanca
    assert set(usual_languages(market, "MA-09")) == set(usual_languages(market, None)) == set(market.languages)


def test_a_region_of_another_country_is_no_region():
    """A partner's France with a region of Morocco is France, and near to nobody in that region."""
    partner = EVIDENCE_SOURCES.index("partner")
    far = Creator(creator_id="c", country="FR", region="MA-06", is_verified=True)
    assert creator_place(far) == EvidencedPlace("FR", None, partner, 0)
    assert declared_place({"country": "FR", "region": "MA-06", "place_source": "partner"}) == EvidencedPlace(
        "FR", None, partner, 0
    )


def test_a_place_of_nowhere_is_no_place():
    assert declared_place({"country": "ZZ"}) == creator_place(Creator(creator_id="c", country=None)) == UNKNOWN_PLACE
    assert declared_place({"region": "MA-06"}) == EvidencedPlace("MA", "MA-06", 2, 2)
