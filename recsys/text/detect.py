"""
Detection of a text's language, dialect and script. Scripts are counted; within a script a small linear model of
character n-grams decides (`training/text/fit_detector.py` fits it on the sets that NOTICE names and on our sentences).

The result is a routing aid, not a fact about a person. A text of fewer than three words, or with a probability under
0.6, takes the language that its creator declared, else `und`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from recsys.text.ngrams import cumulative_evidence, join_texts, stretch_evidence
from recsys.text.normalise import normalise
from recsys.types import Floats, Longs, Reals

MIN_WORDS: Final = 3
MIN_CONFIDENCE: Final = 0.6
MIN_LETTER_SHARE: Final = 0.15  # of the letters; under it a second language is a loan word or noise
UNDETERMINED: Final = "und"
_LANGUAGE_OF: Final = {"other": "ar"}  # the model's class of Arabic dialects that are not Moroccan
_FITTING: Final = {"Arab": ("ar", "ary"), "Latn": ("ary-Latn", "zgh-Latn", "fr", "en"), "Tfng": ("zgh",)}
_IN_SCRIPT: Final = {("ary", "Latn"): "ary-Latn", ("ary-Latn", "Arab"): "ary", ("zgh", "Latn"): "zgh-Latn"}

_LINK: Final = re.compile(r"https?://\S+|www\.\S+|(?<!\w)@\w+")
_WORDS: Final = re.compile(
    "(?P<Arab>[\u0620-\u06d3\u06fa-\u06ff\u0750-\u077f]+)|(?P<Tfng>[\u2d30-\u2d7f]+)"
    "|(?P<Latn>[2-9]*(?:[a-zß-öø-ɏɛɣḀ-ỿ]+[2-9']*)+)|(?P<Zzzz>[^\\W\\d_]+)"
)
_WINDOW: Final = 1  # words on each side that are classified together with a word
_MIN_SWITCH_PROBABILITY: Final = 0.9  # from which a word is of another language than its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """
    `language` of most letters (BCP 47), `und` when it is unknown. `dialect`: `ary`, `arb` (Standard Arabic), or None
    (not Arabic, another dialect, or unsure). `script` of most letters (ISO 15924), None without letters. `proportions`
    of the letters, top two languages, adding up to 1. `confidence`: the probability of `language`; 0 when it was
    declared, not detected. `is_understood`: encoders and term lists cover it, so a risk label may rely on the text.
    """

    language: str
    dialect: str | None
    script: str | None
    proportions: Mapping[str, float]
    confidence: float
    is_understood: bool


@dataclass(frozen=True, slots=True, eq=False)
class ScriptClassifier:
    """One script's classifier: `weights` (2 ** BITS, classes), `bias` (classes,)."""

    classes: tuple[str, ...]
    weights: Floats
    bias: Floats


Word = tuple[str, str]
"""A script and a word in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptReading:
    """
    The classification of a text's words in one script, by class. `whole`: probability of all words together;
    `letters` in the words of the class; `word_probability`: the mean probability of these words.
    """

    whole: Mapping[str, float]
    letters: Mapping[str, float]
    word_probability: Mapping[str, float]


def detect(text: str, declared: Sequence[str] = ()) -> Detected:
    """The language of one text. `declared`: its creator's languages, preferred first, for an undetermined text."""
    return detect_all([text], [declared])[0]


def detect_all(texts: Sequence[str], declared: Sequence[Sequence[str]] | None = None) -> list[Detected]:
    """The same for many texts at once, many times faster; `declared` has one entry for each text."""
    words_of_texts = [split_words(text) for text in texts]
    readings: list[list[ScriptReading]] = [[] for _ in texts]
    for script, classifier in classifiers().items():
        in_script = [[word for word_script, word in words if word_script == script] for words in words_of_texts]
        rows = [n for n, words in enumerate(in_script) if words]
        for n, reading in zip(rows, classify_words([in_script[n] for n in rows], classifier), strict=True):
            readings[n].append(reading)
    hints = declared if declared is not None else [()] * len(texts)
    return [_conclude(*row) for row in zip(words_of_texts, readings, hints, strict=True)]


def split_words(text: str) -> list[Word]:
    """The words of a text with their scripts; links, mentions and numbers are left out."""
    plain = normalise(text)
    if "@" in plain or "://" in plain or "www." in plain:
        plain = _LINK.sub(" ", plain)
    plain = plain.replace("\u2019", "'").replace("_", " ")
    return [(str(match.lastgroup), match[0]) for match in _WORDS.finditer(plain)]


@cache
def classifiers() -> Mapping[str, ScriptClassifier]:
    """The shipped classifiers by script."""
    with (files("recsys.text") / "data" / "detector.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return {
            script: ScriptClassifier(
                tuple(str(name) for name in stored[f"{script}_classes"]),
                stored[f"{script}_weights"].astype(np.float32),
                stored[f"{script}_bias"].astype(np.float32),
            )
            for script in ("Arab", "Latn")
        }


def classify_words(texts: Sequence[Sequence[str]], classifier: ScriptClassifier) -> list[ScriptReading]:
    """Classifies texts, given as their words in the classifier's script; each has at least one."""
    if not texts:
        return []
    joined, starts, ends = join_texts([" ".join(words) for words in texts])
    total = cumulative_evidence(joined, classifier.weights)
    whole = stretch_evidence(total, starts, ends)
    text_no, begins, lengths, left, right = _windows(texts, starts)
    windows = stretch_evidence(total, begins[left], begins[right] + lengths[right] + 1)
    by_text = softmax(whole + classifier.bias)
    by_word = softmax(windows + classifier.bias)
    best = by_word.argmax(axis=1)
    # a text is of one language unless a word clearly is of another: neighbours are classified on shared words
    best = np.where(by_word.max(axis=1) >= _MIN_SWITCH_PROBABILITY, best, by_text.argmax(axis=1)[text_no])
    return _readings_of_texts(classifier.classes, by_text, by_word, best, text_no, lengths)


def softmax(logits: Floats) -> Floats:
    """(n, classes) probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _windows(texts: Sequence[Sequence[str]], starts: Longs) -> tuple[Longs, Longs, Longs, Longs, Longs]:
    """For every word: its text, start (the space before it), length, and the first and last word of its window."""
    sizes = np.array([len(words) for words in texts])
    lengths = np.array([len(word) for words in texts for word in words])
    text_no = np.repeat(np.arange(len(texts)), sizes)
    first = (np.cumsum(sizes) - sizes)[text_no]
    within = np.cumsum(lengths + 1) - (lengths + 1)
    begins = starts[text_no] + within - within[first]
    at = np.arange(len(lengths))
    left, right = np.maximum(at - _WINDOW, first), np.minimum(at + _WINDOW, first + sizes[text_no] - 1)
    return text_no, begins, lengths, left, right


def _readings_of_texts(
    classes: Sequence[str], by_text: Floats, by_word: Floats, best: Longs, text_no: Longs, lengths: Longs
) -> list[ScriptReading]:
    letters, by_class = np.zeros(by_text.shape), np.zeros(by_text.shape)
    np.add.at(letters, (text_no, best), lengths)
    np.add.at(by_class, (text_no, best), lengths * by_word[np.arange(len(best)), best])
    by_class /= np.maximum(letters, 1)

    def of_row(table: Floats | Reals | Longs, row: int) -> dict[str, float]:
        return dict(zip(classes, table[row].tolist(), strict=True))

    counts = letters.astype(np.int64)
    return [
        ScriptReading(whole=of_row(by_text, row), letters=of_row(counts, row), word_probability=of_row(by_class, row))
        for row in range(len(by_text))
    ]


def _conclude(words: Sequence[Word], readings: Sequence[ScriptReading], declared: Sequence[str]) -> Detected:
    letters_by_script: dict[str, int] = {}
    for name, word in words:
        letters_by_script[name] = letters_by_script.get(name, 0) + len(word)
    script: str | None = max(letters_by_script, key=lambda name: letters_by_script[name], default=None)
    letters: dict[str, float] = {"zgh": letters_by_script["Tfng"]} if "Tfng" in letters_by_script else {}
    for reading in readings:
        for name, count in reading.letters.items():
            language = _LANGUAGE_OF.get(name, name)
            letters[language] = letters.get(language, 0) + count
    letters = {name: count for name, count in letters.items() if count}
    proportions = _top_two(letters)
    language = next(iter(proportions), UNDETERMINED) if script in _FITTING else UNDETERMINED
    confidence = (
        1.0
        if language == "zgh"
        else max((_probability(reading, language, proportions) for reading in readings), default=0.0)
    )
    is_short = sum(len(word) > 1 for _, word in words) < MIN_WORDS and language != "zgh"
    if is_short or confidence < MIN_CONFIDENCE or language == UNDETERMINED:
        language, confidence = _from_declared(declared, script), 0.0
    return Detected(
        language=language,
        dialect=_dialect(language, readings, is_detected=confidence > 0),
        script=script if script in _FITTING else None,
        proportions=proportions,
        confidence=round(confidence, 4),
        is_understood=_is_understood(language, script, is_short=is_short),
    )


def _is_understood(language: str, script: str | None, *, is_short: bool) -> bool:
    """False for Amazigh and for undetermined texts, but true for a short one in Arabic or Latin letters."""
    if script not in ("Arab", "Latn") or language in ("zgh", "zgh-Latn"):
        return False
    return language != UNDETERMINED or is_short


def _top_two(letters: Mapping[str, float]) -> dict[str, float]:
    """The shares of the two languages with most letters; a small second one is left out. They add up to 1."""
    first = sorted(letters, key=lambda name: (-letters[name], name))[:2]
    languages = [name for name in first if letters[name] >= MIN_LETTER_SHARE * sum(letters[name] for name in first)]
    total = sum(letters[name] for name in languages)
    return {name: round(letters[name] / total, 4) for name in languages}


def _probability(reading: ScriptReading, language: str, proportions: Mapping[str, float]) -> float:
    """The probability of a language; in a mixed text, that of the words classified as it."""
    names = [name for name in reading.whole if _LANGUAGE_OF.get(name, name) == language]
    whole = sum(reading.whole[name] for name in names)
    if len(proportions) == 1:
        return whole
    return max(whole, *(reading.word_probability[name] for name in names)) if names else 0.0


def _from_declared(declared: Sequence[str], script: str | None) -> str:
    """The first declared language that is written in this script; of a text without letters, the first."""
    for language in declared:
        written = _IN_SCRIPT.get((language, script or ""), language)
        if script is None or written in _FITTING.get(script, ()):
            return written
    return UNDETERMINED


def _dialect(language: str, readings: Sequence[ScriptReading], *, is_detected: bool) -> str | None:
    if language != "ar":
        return "ary" if language in ("ary", "ary-Latn") else None
    standard = sum(reading.whole.get("ar", 0.0) for reading in readings)
    arabic = standard + sum(reading.whole.get("other", 0.0) for reading in readings)
    return "arb" if is_detected and standard >= MIN_CONFIDENCE * arabic else None
