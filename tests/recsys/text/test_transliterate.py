"""Laws of the tables between scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.phrases import phrase_book
from recsys.text.transliterate import TIFINAGH, arabizi_to_arabic, gloss_amazigh, latin_to_tifinagh, tifinagh_to_latin


@pytest.mark.parametrize(
    ("arabizi", "arabic"),
    [
        ("3yit bzaf had lyamat", "عييت بزاف هاد اليامات"),
        ("kan7ess kat3ref kaygolo", "كنحس كتعرف كيڭولو"),
        ("kan mezyan, kanet", "كان مزيان, كانت"),
        ("khouya 5ouya ghadi", "خويا خويا غادي"),
        ("s7a6", "سحاط"),
        ("chch3a", "شعا"),
        ("3'ir 9'o", "غير ضو"),
        ("kay3Ni Dar", "كيعني دار"),  # a capital at the start is the sentence's
        ("LABAS", "لاباس"),
        ("2026 😭 حزين", "2026 😭 حزين"),
        ("", ""),
    ],
)
def test_arabizi_becomes_arabic_letters_and_nothing_else_changes(arabizi: str, arabic: str) -> None:
    assert arabizi_to_arabic(arabizi) == arabic


def test_tifinagh_is_undone_letter_by_letter() -> None:
    for sentences in phrase_book("zgh-Latn").topics.values():
        for sentence in sentences:
            assert tifinagh_to_latin(latin_to_tifinagh(sentence)) == sentence.replace("o", "u")
    assert tifinagh_to_latin("ⴰⵣⵓⵍ, salam!") == "azul, salam!"


def test_every_letter_of_the_tifinagh_block_that_is_assigned_has_a_latin_one() -> None:
    letters = {chr(code) for code in range(0x2D30, 0x2D68)} | {"ⵯ", "⵰", "⵿"}
    assert letters == set(TIFINAGH)


def test_known_amazigh_words_are_glossed_in_both_scripts() -> None:
    assert gloss_amazigh("ⴰⴳⴰⵎⴰⵏ") == gloss_amazigh("agaman")
    assert "water" in gloss_amazigh("ⴰⵎⴰⵏ").lower()
    assert gloss_amazigh("xyzzy 😭") == ""


@given(st.text(max_size=80))
def test_any_text_can_be_transliterated(text: str) -> None:
    assert isinstance(arabizi_to_arabic(text), str)
    assert not any("\u2d30" <= letter <= "\u2d67" for letter in tifinagh_to_latin(text))
