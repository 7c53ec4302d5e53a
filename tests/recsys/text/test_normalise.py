"""Laws of the two normal forms: what is invisible or only looks different is undone, what a reader sees stays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.letters import ARABIC_VARIANTS, INVISIBLE, LOOKALIKES, LOOSE_JOINER, MARKS, NOT_LATIN
from recsys.text.normalise import arabizi_skeleton, emoji_gloss, normalise, skeleton

TRICKS = "moиrt .-_*'\u2019🖤❤\ufe0f\u200d\u200b\u202e\u0301\u064b\u0640оοⅿ𝓶ｍ0137@$!حـ\ufe8eﷺ🇲🅼ⵔεİǰŉﬁßΣς"
ANY_TEXT = st.one_of(st.text(st.characters(), max_size=60), st.text(TRICKS, max_size=40))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Loooove", "loove"),
        ("مـــراااا حَزِينٌ", "مراا حزين"),
        ("ｆｕｌｌ 𝓭𝓮𝓹𝓻𝓮𝓼𝓼𝓮𝓭", "full depressed"),
        ("mоrt сoмме", "mort comme"),  # Cyrillic о, с, м, е
        ("привет", "привет"),  # not a Latin word in disguise
        ("\u202emort\u202c zero\u200bwidth", "mort zerowidth"),
        ("ﺣﺰﻳﻦ", "حزين"),
        ("کیف", "كيف"),  # a Persian keyboard
        ("m\u0335o\u0489r\u0301\u0302t", "moŕt"),
        ("1000 !!! ٣", "1000 !!! 3"),
        ("👩\u200d👩\u200d👧 ❤️ OK", "👩\u200d👩\u200d👧 ❤️ ok"),
        ("Éteins\tça\n\nvite", "éteins ça vite"),
        ("😭😭😭😭", "😭😭😭😭"),
        ("\ud83d oops \udfff", "oops"),
        ("", ""),
        ("\u200b\u202e\ufeff", ""),
    ],
)
def test_a_text_is_normalised_to_what_its_reader_sees(written: str, seen: str) -> None:
    assert normalise(written) == seen


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("m o u t", "mout"),
        ("ح ز ي ن بزاف", "حزين بزاف"),
        ("m.o.u.t m-o_u/t mo.ut", "mout mout mout"),
        ("m🖤o🖤u🖤t", "mout"),
        ("🅼🅾🆁🆃 🇲🇴🇷🇹", "mort mort"),
        ("d3pr1m€ $uic!de", "deprime suicide"),
        ("l'angoisse, peut-être ?", "l angoise peut etre"),
        ("fini.Demain", "fini demain"),  # two words without a space, not one in pieces
        ("il y a de la joie", "il y a de la joie"),
        ("أنا آسف على المسؤولية", "انا اسف علي المسوليه"),
        ("1000 oui !", "1000 oui"),
        ("❤️ 👍", "❤ 👍"),
        ("...", ""),
    ],
)
def test_a_skeleton_holds_the_words_however_they_are_spelled(written: str, words: str) -> None:
    assert skeleton(written) == words


def test_digits_are_latin_letters_in_one_reading_and_arabizi_in_the_other() -> None:
    assert skeleton("7zin d3pr1m") == "tzin deprim"
    assert arabizi_skeleton("7zin m0rt") == "7zin mort"


@given(ANY_TEXT)
def test_normal_forms_of_any_text_are_their_own_normal_forms(text: str) -> None:
    for form in (normalise, skeleton, arabizi_skeleton):
        once = form(text)
        assert form(once) == once
        assert once == once.strip()
        once.encode()  # raises on half characters


@pytest.mark.parametrize(
    "piece",
    [
        "a", "a ", "a.b", "a_.", "a1", "ﷺ", "🖤", "a🖤", "🇲", "❤\ufe0f\u200d", "\u0301", "o\u0301\u0301", "!", "м",
        "\u202e", "\ud800",
    ],
)  # fmt: skip
def test_a_hundred_kilobytes_of_anything_take_seconds_at_most(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    start = time.process_time()
    skeleton(text)
    assert time.process_time() - start < 10  # usually 0.1; anything quadratic takes minutes


def test_an_emoji_can_be_given_words() -> None:
    gloss = emoji_gloss({"💀": "mort", "❤": "love"})
    assert normalise("rak 💀, ❤️!", gloss) == "rak 💀 mort , ❤️ love !"
    assert normalise("👍", gloss) == "👍"


def test_a_letter_of_plain_latin_is_never_undone() -> None:
    """So a text of such letters is not looked through for what is invisible, loose or in disguise."""
    for letter in (chr(number) for number in range(0x11_0000) if not 0xD800 <= number < 0xE000):
        is_undone = (
            INVISIBLE.search(letter)
            or MARKS.search(letter)
            or LOOSE_JOINER.search(letter)
            or ord(letter) in ARABIC_VARIANTS
            or letter in LOOKALIKES
        )
        assert NOT_LATIN.search(letter) or not is_undone
