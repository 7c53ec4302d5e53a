"""Tags as devices send them: looked up as RFC 4647 says, with the market's own ranges first."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.languages import PATTERN, lookup, lookup_all
from recsys.vocabulary import LANGUAGES

MOROCCO = {"ar-MA": ("ar", "ary")}


@pytest.mark.parametrize(
    ("tag", "languages"),
    [
        ("ar-MA", ("ar", "ary")),
        ("AR_ma", ("ar", "ary")),
        ("ar-MA-u-nu-latn", ("ar", "ary")),
        ("ar-EG", ("ar",)),
        ("fr-FR", ("fr",)),
        ("fr-Latn-MA", ("fr",)),
        ("ary-Latn-MA", ("ary-Latn",)),
        ("ar-Latn", ("ary-Latn",)),
        ("tzm", ("zgh",)),
        ("shi-Latn", ("zgh-Latn",)),
        ("ber-MA", ("zgh",)),
        ("pt-BR", ("pt",)),
        ("zh-Hant-TW", ("zh",)),
    ],
)
def test_a_tag_stands_for_languages_of_the_vocabulary(tag, languages):
    assert re.match(PATTERN, tag)
    assert lookup(tag, MOROCCO) == languages


@given(st.sampled_from(LANGUAGES), st.sampled_from(["", "-MA", "-FR", "-419"]))
def test_a_region_never_loses_a_language(language, region):
    assert lookup(language + region) == (language,)
    assert lookup(lookup(language + region)[0]) == (language,)


def test_several_tags_stand_for_each_language_once():
    assert lookup_all(["fr-FR", "ar-MA", "fr"], MOROCCO) == ("fr", "ar", "ary")
