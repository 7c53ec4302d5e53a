"""Laws of language detection, and how often it is right on captions of our own."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.detect import MIN_CONFIDENCE, detect, detect_all
from recsys.vocabulary import LANGUAGES, SCRIPTS

CAPTIONS = Path(__file__).parent / "captions"
EXPECTED = {
    "ar": "ar", "ar-other": "ar", "ary": "ary", "ary-Latn": "ary-Latn",
    "fr": "fr", "en": "en", "zgh": "zgh", "zgh-Latn": "zgh-Latn",
}  # fmt: skip
DARIJA = "كنحس براسي عيان بزاف"
MIXED = f"{DARIJA} je ne sais pas pourquoi aujourd'hui"


def captions(name: str) -> list[str]:
    lines = (CAPTIONS / f"{name}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(("name", "language"), EXPECTED.items())
def test_at_least_95_of_100_captions_of_a_variety_are_right(name: str, language: str) -> None:
    texts = captions(name)
    detected = detect_all(texts)
    assert len(texts) == 60
    wrong = [(text, row.language) for text, row in zip(texts, detected, strict=True) if row.language != language]
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize(("name", "dialect"), [("ar", "arb"), ("ar-other", None), ("ary", "ary"), ("ary-Latn", "ary")])
def test_standard_moroccan_and_other_arabic_are_told_apart(name: str, dialect: str | None) -> None:
    detected = [(row.language, row.dialect) for row in detect_all(captions(name))]
    assert sum(pair == (EXPECTED[name], dialect) for pair in detected) >= 57  # of 60: 95 %


def test_no_caption_stands_in_the_training_text() -> None:
    folder = Path(__file__).parents[3] / "training" / "detector_text"
    training = {line.strip() for path in folder.glob("*.txt") for line in path.read_text("utf-8").splitlines()}
    assert not training & {caption for name in EXPECTED for caption in captions(name)}


def test_a_text_of_two_languages_gets_both_with_their_shares() -> None:
    detected = detect(MIXED)
    assert detected.language == "fr"
    assert set(detected.proportions) == {"fr", "ary"}
    assert sum(detected.proportions.values()) == pytest.approx(1, abs=1e-3)
    inside_one_script = detect(
        "wach 3andek chi mochkil m3a lkhedma, parce que la santé est importante pour tout le monde"
    )
    assert set(inside_one_script.proportions) == {"fr", "ary-Latn"}


def test_one_loan_word_is_not_a_second_language() -> None:
    assert set(detect("ana kan7ess b stress bzaf f lkhedma dyali").proportions) == {"ary-Latn"}


@pytest.mark.parametrize(
    ("text", "declared", "language"),
    [
        ("سلام", ("ary", "fr"), "ary"),
        ("salam", ("ary", "fr"), "ary-Latn"),  # the same speech in the script of the text
        ("bonsoir tous", ("ary-Latn", "fr"), "ary-Latn"),
        ("سلام", ("fr",), "und"),  # French is not written so
        ("سلام", (), "und"),
        ("😭😭", ("zgh", "fr"), "zgh"),
        ("", (), "und"),
        ("m o u t", ("fr",), "fr"),  # letters are no words
        ("привет как дела мои друзья", ("ary",), "und"),
    ],
)
def test_what_says_too_little_takes_the_declared_language(text: str, declared: tuple[str, ...], language: str) -> None:
    detected = detect(text, declared)
    assert detected.language == language
    assert detected.confidence == 0


@pytest.mark.parametrize(
    ("text", "script", "is_understood"),
    [
        ("ⴰⵣⵓⵍ", "Tfng", False),
        ("ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ ⴰⵢⵜⵎⴰ salam", "Tfng", False),
        ("tanmmirt nnk a ultma ifulki wass", "Latn", False),  # the encoders do not read Amazigh in any script
        (DARIJA, "Arab", True),
        ("bonjour", "Latn", True),
        ("", None, False),
        ("😭❤️", None, False),
        ("123 456", None, False),
        ("https://example.org/bonjour @someone", None, False),
        ("你好世界朋友们", None, False),
    ],
)
def test_what_the_engine_cannot_read_is_not_understood(text: str, script: str | None, is_understood: bool) -> None:
    detected = detect(text)
    assert (detected.script, detected.is_understood) == (script, is_understood)


def test_disguised_letters_are_of_the_script_they_look_like() -> None:
    assert detect("ｊｅ ｎｅ ｓａｉｓ ｐａｓ ｐｏｕｒｑｕｏｉ").language == "fr"
    assert detect("je nе sаis pаs pоurquоi").language == "fr"  # Cyrillic а, е, о
    assert detect("\u202eje ne sais\u202c pas\u200b pourquoi").language == "fr"
    assert detect("ﻛﻨﺤﺲ ﺑﺮﺍﺳﻲ ﻋﻴﺎﻥ ﺑﺰﺍﻑ").language == "ary"


@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_text_has_an_answer_that_keeps_the_contract(texts: list[str]) -> None:
    together = detect_all(texts)
    assert len(together) == len(texts)
    for text, detected in zip(texts, together, strict=True):
        assert detected.language in (*LANGUAGES, "und")
        assert detected.script in (*SCRIPTS, None)
        assert detected.confidence == 0 or MIN_CONFIDENCE <= detected.confidence <= 1
        assert len(detected.proportions) <= 2
        assert not detected.proportions or sum(detected.proportions.values()) == pytest.approx(1, abs=1e-3)
        assert detect(text) == detected  # what stands beside a text says nothing about it


def test_order_and_company_do_not_matter() -> None:
    texts = [caption for name in EXPECTED for caption in captions(name)[:5]]
    assert detect_all(texts) == [detect(text) for text in texts]


@pytest.mark.parametrize("piece", ["كنحس ", "je ne sais ", "😭", "\u202e", "\ud800", "a", "ⴰⵣⵓⵍ ", "a🖤", "ﷺ"])
def test_a_hundred_kilobytes_have_an_answer(piece: str) -> None:
    start = time.process_time()
    detect((piece * 100_000)[:100_000])
    assert time.process_time() - start < 10


def test_five_thousand_captions_take_about_a_second() -> None:
    texts = [caption for name in EXPECTED for caption in captions(name)] * 5
    detect_all(texts[:10])
    start = time.process_time()
    detect_all(texts)
    assert time.process_time() - start < 3 * len(texts) / 5_000  # 10,000 a second; slack for a busy machine
