"""A page as a person reads it on a terminal."""

import msgspec
import pytest

from recsys.messages import FeedItem, FeedResponse, Locality, Reason, Safety, Shortfall
from recsys.policy.schema import Market
from serving.commands.page_table import shared_lines, shortfall_lines, unknown_line, why

ITEM = FeedItem(
    item_id="v1", creator_id="c1", position=1, score=1.0, sources=["cf"], tier="R0", family=None, topics=["S3"],
    language="ary", locality=Locality(score=0.5, match="dialect", source="partner", confidence=1.0),
    reasons=[Reason(code="local_speech", text=""), Reason(code="similar_content", text="")], is_exploration=False,
    propensity=1.0, tracking_token="",
)  # fmt: skip


def page_of(*item_ids: str, missing: int = 0, because: dict[str, int] | None = None) -> FeedResponse:
    return FeedResponse(
        request_id="r", user_id="u", served_at="", model_version="m", policy_version="p", took_ms=0.0,
        items=[msgspec.structs.replace(ITEM, item_id=item_id) for item_id in item_ids], cards=[], pause=None,
        shortfall=Shortfall(missing=missing, because=because or {}), degraded=[], experiments={},
        safety=Safety(loop_level=0, age_band="18+", is_night=False, remaining={}), replayed=False, cursor=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("match", "fields", "words"),
    [
        ("dialect", {"country": "FR"}, "from France, in your dialect; like what you liked"),
        ("region", {"country": "MA", "region": "MA-06"}, "from Casablanca-Settat, your region; like what you liked"),
        ("neighbour", {"region": "MA-04"}, "from Rabat-Salé-Kénitra, a region next to yours; like what you liked"),
        ("none", {"country": "EG"}, "from Egypt; like what you liked"),
        ("none", {"country": "ZZ"}, "from ZZ; like what you liked"),
    ],
)
def test_a_row_says_where_it_is_from_and_how_that_is_near(
    morocco: Market, match: str, fields: dict[str, str], words: str
) -> None:
    item = msgspec.structs.replace(ITEM, locality=Locality(score=None, match=match, source="none", confidence=0.0))
    assert why(item, fields, morocco) == words


def test_pages_are_compared_by_what_no_other_has() -> None:
    """a has one of its own and shares two with b; c shares nothing."""
    pages = {"a": page_of("1", "2", "3"), "b": page_of("2", "3"), "c": page_of("9")}
    assert shared_lines(pages) == [
        "  a: 1 of 3 videos are on no other page; it shares most with b: 2",
        "  b: 0 of 2 videos are on no other page; it shares most with a: 2",
        "  c: 1 of 1 videos are on no other page",
    ]


def test_unknown_ids_are_told_beside_what_is_missing() -> None:
    page = page_of("1", missing=1, because={"seen": 3, "unknown": 2})
    assert unknown_line(page) == "Nothing is known of 2 ids that the request names."
    assert len(shortfall_lines(page)) == 2 and "shown in the last 30 days" in shortfall_lines(page)[1]
    assert unknown_line(page_of("1")) is None
