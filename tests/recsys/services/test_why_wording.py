"""The person reads why in their own language, in whole sentences, with numbers that say no more than they know."""

import re

import pytest

from recsys.feed.filters import FILTERS
from recsys.feed.reasons import TEXTS as REASONS
from recsys.feed.scorers import PARTS as SCORED
from recsys.safety.loop.wording import SIGNAL_NAMES, TEXTS, describe_signal
from recsys.services.explain import why
from recsys.services.why_wording import PARTS, SENTENCES, explain_in_words

LANGUAGES = ("en", "fr", "ar", "ary")
HOLES = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("texts", [SENTENCES, PARTS, REASONS, TEXTS], ids=["sentences", "parts", "reasons", "signals"])
def test_every_text_is_there_in_every_language_with_the_same_holes(texts):
    for name, by_language in texts.items():
        assert set(by_language) == set(LANGUAGES), name
        holes = {frozenset(HOLES.findall(text)) for text in by_language.values()}
        assert len(holes) == 1 and all(text.strip() == text != "" for text in by_language.values()), name


def test_every_rule_part_and_signal_has_words():
    assert set(SCORED) <= PARTS.keys()
    assert {*FILTERS, "cap", "gap", "creator_spacing", "duplicate", "floor", "exploration"} <= SENTENCES.keys()
    assert set(SIGNAL_NAMES.values()) == TEXTS.keys()
    assert describe_signal("g", ["zgh", "fr"]) == ("said_too_much", "Tu as dit que c'est trop")


@pytest.mark.parametrize(("languages", "language"), [(("fr", "ar"), "fr"), (("ary",), "ary"), (("zgh",), "en")])
def test_a_shown_item_says_its_place_and_why(service, languages, language):
    from recsys.messages import Context

    page = service.ask(request_id="q", context=Context(languages=languages), explain="full")
    told = why(service.engine, "q", page.items[0].item_id)
    assert told["language"] == language
    assert told["sentences"][0] == SENTENCES["shown"][language].format(position=1)
    assert REASONS[page.items[0].reasons[0].code][language] in told["sentences"][1]
    assert all("{" not in sentence and not re.search(r"[.,]\d{3}", sentence) for sentence in told["sentences"])
    assert all(part["value"] is None or len(f"{part['value']:g}") <= 9 for part in told["score_parts"])


def test_an_item_that_a_rule_kept_out_says_which_and_where_it_would_have_stood(service, by_tier_of_items):
    page = service.ask("casa-adult", request_id="q", candidate_ids=tuple(by_tier_of_items["R2"][:20]))
    shown = {item.item_id for item in page.items}
    kept_out = next(item_id for item_id in by_tier_of_items["R2"][:20] if item_id not in shown)
    told = why(service.engine, "q", kept_out)
    assert told["sentences"][0] == SENTENCES["not_shown"][told["language"]]
    rule = told["removed_by"].partition(":")[0]
    assert told["sentences"][1] == SENTENCES[rule][told["language"]]


@pytest.fixture(scope="session")
def by_tier_of_items(tiny):
    found: dict[str, list[str]] = {}
    for row in tiny.items.iter_rows(named=True):
        found.setdefault(row["risk_tier"], []).append(row["item_id"])
    return found


def test_the_largest_contributions_are_named_with_two_decimals():
    """0.5 * 1.2 = 0.6, -2 * 0.25 = -0.5, 0.001 * 1 is nothing."""
    parts = [
        {"name": "local", "value": 0.5, "weight": 1.2},
        {"name": "cf", "value": -2.0, "weight": 0.25},
        {"name": "fresh", "value": 0.001, "weight": 1.0},
        {"name": "popular", "value": None, "weight": 1.0},
    ]
    answer = {"shown": True, "position": 3, "score_parts": parts, "removed_by": None}
    assert explain_in_words(answer, [], ("en",), 0) == [
        "It stands at place 3 of the page.",
        "What counted most for its place: near you (+0.60), people with similar tastes (-0.50).",
    ]
    assert "près de toi (+0,60)" in explain_in_words(answer, [], ("fr",), 0)[1]


def test_an_outscored_item_says_by_how_many():
    answer = {"shown": False, "position": None, "score_parts": [], "removed_by": "outscored"}
    assert explain_in_words(answer, [], ("en",), 7) == [
        "It is not on the page.", "7 of the videos on the page suited better.",
    ]  # fmt: skip
