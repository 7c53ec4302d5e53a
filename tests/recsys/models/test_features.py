"""Laws of the one feature function: what it may know, and that a row is a row."""

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY
from recsys.models.features import (
    FeatureInputs,
    RankerQuery,
    build_item_facts,
    feature_names,
    features_compiled,
    features_in_numpy,
    ranker_features,
)
from recsys.models.popularity import Popularity
from recsys.models.standardised_space import standardise_space
from recsys.models.text import Centres, TextSpace
from recsys.types import History, Responses

NOW = 100 * DAY
N = 6


def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Six videos of two creators; v4 says nothing about itself, v5 is of a place but no country."""
    items = pl.DataFrame(
        {
            "item_id": [f"v{n}" for n in range(N)],
            "creator_id": ["a", "b", "a", "b", "a", "b"],
            "published_at": [NOW - n * DAY for n in range(N)],
            "language": ["ary", "fr", "ary", "en", None, None],
            "dialect": [None, None, None, None, None, "arz"],
            "country": ["MA", "FR", None, "FR", None, None],
            "region": ["MA-06", None, None, None, None, "EG-C"],
            "topics": [["S1"], ["S1", "S3"], [], None, ["S3"], []],
            "duration_s": [10.0, 20.0, None, 40.0, 50.0, 60.0],
        }
    )
    creators = pl.DataFrame(
        {
            "creator_id": ["a", "b"],
            "country": ["MA", "ZZ"],
            "region": ["MA-07", None],
            "languages": [["ary", "fr"], None],
        },
        schema_overrides={"languages": pl.List(pl.String)},
    )
    return items, creators


def basis() -> FeatureInputs:
    vectors = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
    space = TextSpace(
        item_vectors=vectors,
        centres=Centres((), np.zeros((1, 4), np.float32)),
        half_life_days=14.0,
        negative_weight=0.5,
    )
    return FeatureInputs(
        spaces={"text": standardise_space(space)},
        popularity=Popularity(("MA",), np.arange(2 * N, dtype=np.float32).reshape(2, N)),
        facts=build_item_facts(*tables()),
        rates=np.arange(8 * N, dtype=np.float32).reshape(N, 8) / 100,
        item_features=np.eye(N, 2, dtype=np.float32),
    )


def asked(items: tuple[int, ...] = (0, 3), weights: tuple[float, ...] = (2.0, -1.0)) -> RankerQuery:
    history = History(np.array(items, np.int32), np.array(weights, np.float32), np.full(len(items), NOW, np.int64))
    vectors = {name: space.space.fold_in(history) for name, space in basis().spaces.items()} if items else {}
    return RankerQuery(
        country="MA", region="MA-07", languages=("fr", "ary"), at=NOW, history=history,
        responses=Responses(np.array([0, 5], np.int32), np.array([1.0, 0.4], np.float32)), vectors=vectors,
    )  # fmt: skip


ALL = np.arange(N, dtype=np.int32)


def column(name: str, who: RankerQuery | None = None) -> list[float]:
    return ranker_features(who or asked(), basis(), ALL)[:, feature_names(["text"]).index(name)].tolist()


def test_features_by_hand():
    assert column("age_days") == [0, 1, 2, 3, 4, 5]
    assert column("popular") == [0, 1, 2, 3, 4, 5]
    assert column("is_first_language") == [0, 1, 0, 0, 0, 0]
    assert column("is_understood") == [1, 1, 1, 0, 1, 0]  # v4 speaks its creator's language
    assert column("is_same_country") == [1, 0, 1, 0, 1, 0]
    assert column("is_same_region") == [0, 0, 1, 0, 1, 0]
    assert column("liked_creator") == [2, -1, 2, -1, 2, -1]
    assert column("liked_topics") == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0])  # 2 for S1 of |2| + |-1|; v1 has two
    assert column("liked_language") == pytest.approx([2 / 3, 0, 2 / 3, -1 / 3, 2 / 3, 0])
    assert column("position") == [1] * N
    assert column("item_complete") == pytest.approx([0.01, 0.09, 0.17, 0.25, 0.33, 0.41])
    assert column("is_first_spoken") == column("is_first_language")  # nothing here is in another script
    assert np.isnan(column("duration_s")[2]) and column("duration_s")[3] == 40


def test_an_unknown_user_gives_features_without_an_error():
    nobody = replace(asked((), ()), country=None, region=None, languages=())
    found = ranker_features(nobody, basis(), ALL)
    assert found.shape == (N, len(feature_names(["text"]))) and found.dtype == np.float32
    assert np.isnan(found[:, 0]).all()  # no space knows them
    assert ranker_features(nobody, basis(), ALL[:0]).shape == (0, found.shape[1])


@settings(max_examples=50)
@given(st.lists(st.integers(0, N - 1), max_size=12))
def test_a_row_depends_on_the_user_and_its_item_only(rows):
    whole = ranker_features(asked(), basis(), ALL)
    found = ranker_features(asked(), basis(), np.array(rows, np.int32))
    np.testing.assert_allclose(found, whole[rows], rtol=1e-5, atol=1e-6)  # products of matrices round by their shape


def test_a_ranker_query_has_no_field_for_risk_loop_night_or_exposure():
    allowed = {"country", "region", "languages", "at", "history", "responses", "vectors", "user"}
    assert {field.name for field in fields(RankerQuery)} == allowed
    words = ("tier", "risk", "level", "loop", "night", "session", "exposure", "shown", "ledger", "age_band")
    assert not [name for name in feature_names(["cf", "text"]) if any(word in name for word in words)]


def test_language_tags_are_read_as_the_live_catalogue_reads_them():
    items, creators = tables()
    tags = ["ary_MA", "fr-FR", "ary", "EN-us", None, None]
    tagged = items.with_columns(language=pl.Series(tags), dialect=pl.lit(None, pl.String))
    spoken = items.with_columns(language=pl.Series([*tags[:5], "tzm"]))
    languages = {name for name in build_item_facts(tagged, creators).codes if name[:2] not in ("MA", "FR", "EG")}
    assert languages == {"ary", "fr", "en"}
    facts = build_item_facts(spoken, creators)
    assert facts.language[5] == facts.codes["zgh"] and facts.language[1] == facts.codes["fr"]


def test_the_labels_of_items_change_no_fact():
    items, creators = tables()
    risky = items.with_columns(risk_tier=pl.lit("R2"), risk_family=pl.lit("despair"), predicted_tier=pl.lit("R3"))
    calm, other = build_item_facts(items, creators), build_item_facts(risky, creators)
    for field in fields(calm):
        before, after = getattr(calm, field.name), getattr(other, field.name)
        assert before == after if field.name == "codes" else np.array_equal(before, after, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, N + 1), max_size=12),
    history=st.lists(st.tuples(st.integers(0, N - 1), st.floats(-3, 3, width=32)), max_size=8),
    languages=st.lists(st.sampled_from(["ary", "ary-Latn", "fr", "en", "xx"]), max_size=3, unique=True),
    place=st.sampled_from([(None, None), ("MA", "MA-07"), ("FR", None), ("XX", "XX-1")]),
    are_logged=st.booleans(),
)
def test_the_compiled_loop_gives_the_bits_of_the_reference(native, rows, history, languages, place, are_logged):
    known = basis()
    new = [N - 1, 0]  # two items that came after the artifact
    facts = replace(
        known.facts,
        **{
            field.name: np.concatenate([column, column[new]])
            for field in fields(known.facts)
            if isinstance(column := getattr(known.facts, field.name), np.ndarray)
        },
    )
    inputs = replace(
        known, facts=facts, rates=np.concatenate([known.rates, known.rates[new]]),
        item_features=np.concatenate([known.item_features, known.item_features[new]]),
    )  # fmt: skip
    items, weights = tuple(item for item, _ in history), tuple(weight for _, weight in history)
    who = replace(asked(items, weights), country=place[0], region=place[1], languages=tuple(languages))
    asked_rows = np.array(rows, np.int32)
    positions = np.arange(len(rows), dtype=np.float32) if are_logged else None
    expected = features_in_numpy(who, inputs, asked_rows, positions)
    np.testing.assert_array_equal(features_compiled(native, who, inputs, asked_rows, positions), expected)
