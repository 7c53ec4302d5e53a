"""Laws of the safe feed: only what anyone may see when nothing can be counted."""

import polars as pl
import pytest

from recsys.types import Fields
from training.safe_feed import MAX_ITEMS, safe_feed

SAFE: Fields = {
    "item_id": "v0",
    "creator_id": "near",
    "published_at": 0,
    "text_id": None,
    "n_words": 0,
    "duration_s": None,
    "perceptual_hash": None,
    "risk_tier": "R0",
    "risk_source": "partner",
    "risk_confidence": 0.9,
    "topics": ["S3"],
    "is_hidden": None,
    "min_age": None,
}
CREATORS = pl.DataFrame({"creator_id": ["near", "far"], "country": ["MA", "FR"]})


def table(*changes: Fields) -> pl.DataFrame:
    rows = [{**SAFE, "item_id": f"v{i}", **change} for i, change in enumerate(changes)]
    return pl.DataFrame(
        rows,
        schema_overrides={
            "is_hidden": pl.Boolean,
            "min_age": pl.Int64,
            "risk_confidence": pl.Float64,
            "text_id": pl.String,
            "duration_s": pl.Float64,
            "perceptual_hash": pl.String,
        },
    )


def feed(*changes: Fields, popularity: list[float] | None = None) -> tuple[str, ...]:
    return safe_feed(table(*changes), CREATORS, pl.Series(popularity or [1.0] * len(changes)), "MA")


@pytest.mark.parametrize(
    "change",
    [
        {"risk_tier": "R1"},
        {"risk_tier": "R2"},
        {"risk_tier": None},
        {"risk_confidence": 0.79},
        {"risk_confidence": None, "risk_source": "model"},
        {"risk_confidence": None, "risk_source": None},
        {"risk_confidence": 1.0, "risk_source": "assumed"},
        {"topics": []},
        {"topics": None},
        {"topics": ["S12"]},
        {"topics": ["S3", "S4"]},
        {"topics": ["S3", "S11"]},
        {"is_hidden": True},
        {"min_age": 13},
    ],
)
def test_what_is_not_surely_safe_for_everyone_is_left_out(change: Fields) -> None:
    assert feed(change, {}) == ("v1",)


@pytest.mark.parametrize("source", ["platform", "partner", "human"])
def test_a_trusted_label_without_a_confidence_counts_as_sure(source: str) -> None:
    assert feed({"risk_confidence": None, "risk_source": source}) == ("v0",)


def test_a_copy_of_something_risky_is_left_out_and_copies_stand_once() -> None:
    file = {"perceptual_hash": "0123456789abcdef"}
    assert feed(file, {**file, "risk_tier": "R2"}) == ()
    assert feed(file, {**file, "risk_tier": "R1", "is_hidden": True}) == ()
    assert feed(file, {**file, "risk_tier": "R2", "risk_source": "model"}) == ("v0",)
    assert feed(file, {**file, "risk_tier": None}) == ("v0",)
    assert feed(file, file) == ("v0",)


def test_a_later_copy_by_words_takes_nobodys_place() -> None:
    words = {"text_id": "the same eight words", "n_words": 8, "duration_s": 30.0}
    later = {**words, "creator_id": "far", "published_at": 1}
    assert feed(words, {**later, "risk_tier": "R2"}) == ("v0",)
    assert feed({**words, "risk_tier": "R2"}, later) == ()
    assert feed(words, later) == ("v0",)


def test_local_creators_come_first_then_the_most_popular() -> None:
    assert feed({"creator_id": "far"}, {}, {}, popularity=[9.0, 1.0, 2.0]) == ("v2", "v1", "v0")


def test_it_holds_at_most_its_limit_and_may_be_empty() -> None:
    assert len(feed(*[{}] * (MAX_ITEMS + 5))) == MAX_ITEMS
    assert feed({"risk_tier": "R3"}) == ()
