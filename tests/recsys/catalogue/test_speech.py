"""Which items a person understands: people name languages, items name a language and perhaps a dialect of it."""

from pathlib import Path

import pytest

from recsys.catalogue.items import Items, apply_delta, empty_items
from recsys.catalogue.locality import MATCHES, nearness
from recsys.policy.checks import load_market
from recsys.stores.protocols import CatalogueDelta, ItemRow, StatedWording
from recsys.types import Viewer

MARKET = load_market(Path(__file__).parents[3] / "policies" / "morocco.yaml")


def _catalogue(*spoken: tuple[str, str | None]) -> Items:
    rows = tuple(
        ItemRow(
            item_no=n,
            wordings=(StatedWording(None, 0, 0),),
            revision=1,
            peak_tier=0,
            is_edited=False,
            fields={"item_id": f"v{n}", "creator_id": "c", "published_at": 0, "language": language, "dialect": dialect},
        )
        for n, (language, dialect) in enumerate(spoken, start=1)
    )
    delta = CatalogueDelta(revision=1, newest_raise=0, rows=rows)
    return apply_delta(empty_items(), delta, market=MARKET, creators={}, rows={})


@pytest.mark.parametrize(
    ("language", "dialect", "understood", "match"),
    [
        ("zgh", "shi", "zgh", "dialect"),  # Tashelhit: Amazigh to its speakers, and local speech
        ("ar", "arz", "ar", "language"),  # Egyptian: understood with Arabic, not local
        ("ary-Latn", "ary", "ary-Latn", "dialect"),
        ("ar", "ary", "ar", "dialect"),
        ("fr", None, "fr", "language"),
    ],
)
def test_a_dialect_is_understood_with_its_language(language: str, dialect: str, understood: str, match: str) -> None:
    items = _catalogue((language, dialect))
    viewer = Viewer(
        user_id="u", country="MA", region=None, languages=(understood,), age_band="18+", personalised=True
    )  # fmt: skip
    assert items.language[1] == items.code(understood)
    assert MATCHES[nearness(viewer, items, MARKET).match[1]] == match
