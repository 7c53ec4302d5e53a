"""
Which language, dialect and script a text is in. Scripts are counted; inside a script a small linear model of character
n-grams decides (`training/text/fit_detector.py` fits it, on the sets that NOTICE names and on our own sentences).

The answer is a routing aid, not a fact about a person. Where it is not sure, it says so: a text of under three words,
or with a probability under 0.6, takes the language that its creator declared, else `und`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.text.ngrams import Ints, between, evidence, join
from recsys.text.normalise import normalise
from recsys.types import Floats

LEAST_WORDS: Final = 3
LEAST_CONFIDENCE: Final = 0.6
LEAST_SHARE: Final = 0.15  # of the letters; under it a second language is a loan word or noise
UNDETERMINED: Final = "und"
_LANGUAGE_OF: Final = {"other": "ar"}  # the model's class of Arabic dialects that are not Moroccan
_FITTING: Final = {"Arab": ("ar", "ary"), "Latn": ("ary-Latn", "zgh-Latn", "fr", "en"), "Tfng": ("zgh",)}
_IN_SCRIPT: Final = {("ary", "Latn"): "ary-Latn", ("ary-Latn", "Arab"): "ary", ("zgh", "Latn"): "zgh-Latn"}

_LINK: Final = re.compile(r"https?://\S+|www\.\S+|(?<!\w)@\w+")
_WORDS: Final = re.compile(
    "(?P<Arab>[\u0620-\u06d3\u06fa-\u06ff\u0750-\u077f]+)|(?P<Tfng>[\u2d30-\u2d7f]+)"
    "|(?P<Latn>[2-9]*(?:[a-zß-öø-ɏɛɣḀ-ỿ]+[2-9']*)+)|(?P<Zzzz>[^\\W\\d_]+)"
)
_WINDOW: Final = 1  # words on each side that are read along with a word
_CLEAR: Final = 0.9  # probability from which a stretch is of another language than its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """
    `language` of most letters (BCP 47, `und` when nothing is known); `dialect` `ary`, `arb` (Standard), or None: not
    Arabic, another dialect, or not sure. `script` of most letters (ISO 15924), None without letters. `proportions` of
    the letters, top two languages, adding up to 1. `confidence` is the probability of `language`; 0 when it was
    declared, not read. `is_understood`: the engine's encoders and lists can read it, so a risk label may lean on it.
    """

    language: str
    dialect: str | None
    script: str | None
    proportions: Mapping[str, float]
    confidence: float
    is_understood: bool


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One script's classifier: `weights` (2 ** BITS, classes), `bias` (classes,)."""

    classes: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: Floats


Word = tuple[str, str]
"""A script and a word in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a script's model says of a text's words in it, by class: of all, and the letters it gives to each."""

    whole: Mapping[str, float]
    letters: Mapping[str, int]
    sure: Mapping[str, float]  # mean probability of the words that it gives to a class


def detect(text: str, declared: Sequence[str] = ()) -> Detected:
    """One text's language. `declared`: its creator's languages, preferred first, for when the text does not say."""
    return detect_all([text], [declared])[0]


def detect_all(texts: Sequence[str], declared: Sequence[Sequence[str]] | None = None) -> list[Detected]:
    """The same for many texts at once, many times faster; `declared` has one entry a text."""
    cut = [words_of(text) for text in texts]
    parts: list[list[Part]] = [[] for _ in texts]
    for script, model in models().items():
        words = [[word for found, word in text if found == script] for text in cut]
        rows = [n for n, found in enumerate(words) if found]
        for n, part in zip(rows, read([words[n] for n in rows], model), strict=True):
            parts[n].append(part)
    hints = declared if declared is not None else [()] * len(texts)
    return [_conclude(*row) for row in zip(cut, parts, hints, strict=True)]


def words_of(text: str) -> list[Word]:
    """The words of a text with their scripts; links, mentions and numbers are left out."""
    plain = normalise(text)
    if "@" in plain or "://" in plain or "www." in plain:
        plain = _LINK.sub(" ", plain)
    plain = plain.replace("\u2019", "'").replace("_", " ")
    return [(str(found.lastgroup), found[0]) for found in _WORDS.finditer(plain)]


@cache
def models() -> Mapping[str, Model]:
    """The shipped classifiers by script."""
    with (files("recsys.text") / "data" / "detector.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return {
            script: Model(
                tuple(str(name) for name in stored[f"{script}_classes"]),
                stored[f"{script}_weights"].astype(np.float32),
                stored[f"{script}_bias"].astype(np.float32),
            )
            for script in ("Arab", "Latn")
        }


def read(texts: Sequence[Sequence[str]], model: Model) -> list[Part]:
    """What a model says of texts, given as their words in its script; each has at least one."""
    if not texts:
        return []
    joined, starts, ends = join([" ".join(words) for words in texts])
    total = evidence(joined, model.weights)
    whole = between(total, starts, ends)
    text_no, begins, lengths, left, right = _windows(texts, starts)
    windows = between(total, begins[left], begins[right] + lengths[right] + 1)
    by_text = softmax(whole + model.bias)
    by_word = softmax(windows + model.bias)
    best = by_word.argmax(axis=1)
    # a text is of one language unless a stretch of it clearly is of another: neighbours share most of their words
    best = np.where(by_word.max(axis=1) >= _CLEAR, best, by_text.argmax(axis=1)[text_no])
    return _parts(model.classes, by_text, by_word, best, text_no, lengths)


def softmax(logits: Floats) -> Floats:
    """(n, classes) probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _windows(texts: Sequence[Sequence[str]], starts: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Of every word: its text, where it begins (at the space before it), its letters, first and last word beside it."""
    sizes = np.array([len(words) for words in texts])
    lengths = np.array([len(word) for words in texts for word in words])
    text_no = np.repeat(np.arange(len(texts)), sizes)
    first = (np.cumsum(sizes) - sizes)[text_no]
    within = np.cumsum(lengths + 1) - (lengths + 1)
    begins = starts[text_no] + within - within[first]
    at = np.arange(len(lengths))
    left, right = np.maximum(at - _WINDOW, first), np.minimum(at + _WINDOW, first + sizes[text_no] - 1)
    return text_no, begins, lengths, left, right


def _parts(
    classes: Sequence[str], by_text: Floats, by_word: Floats, best: Ints, text_no: Ints, lengths: Ints
) -> list[Part]:
    letters, sure = np.zeros(by_text.shape), np.zeros(by_text.shape)
    np.add.at(letters, (text_no, best), lengths)
    np.add.at(sure, (text_no, best), lengths * by_word[np.arange(len(best)), best])
    sure /= np.maximum(letters, 1)

    def by_class(table: Any, row: int) -> dict[str, Any]:
        return dict(zip(classes, table[row], strict=True))

    whole, counts, certain = by_text.tolist(), letters.astype(np.int64).tolist(), sure.tolist()
    return [
        Part(whole=by_class(whole, row), letters=by_class(counts, row), sure=by_class(certain, row))
        for row in range(len(by_text))
    ]


def _conclude(words: Sequence[Word], parts: Sequence[Part], declared: Sequence[str]) -> Detected:
    of_script: dict[str, int] = {}
    for name, word in words:
        of_script[name] = of_script.get(name, 0) + len(word)
    script: str | None = max(of_script, key=lambda name: of_script[name], default=None)
    letters = {"zgh": of_script["Tfng"]} if "Tfng" in of_script else {}
    for part in parts:
        for name, count in part.letters.items():
            language = _LANGUAGE_OF.get(name, name)
            letters[language] = letters.get(language, 0) + count
    letters = {name: count for name, count in letters.items() if count}
    proportions = _top_two(letters)
    language = next(iter(proportions), UNDETERMINED) if script in _FITTING else UNDETERMINED
    confidence = 1.0 if language == "zgh" else max((_sure(part, language, proportions) for part in parts), default=0.0)
    is_short = sum(len(word) > 1 for _, word in words) < LEAST_WORDS and language != "zgh"
    if is_short or confidence < LEAST_CONFIDENCE or language == UNDETERMINED:
        language, confidence = _inherited(declared, script), 0.0
    return Detected(
        language=language,
        dialect=_dialect(language, parts, is_read=confidence > 0),
        script=script if script in _FITTING else None,
        proportions=proportions,
        confidence=round(confidence, 4),
        is_understood=_is_understood(language, script, is_short=is_short),
    )


def _is_understood(language: str, script: str | None, *, is_short: bool) -> bool:
    """Amazigh is not, nor is what could be any language; two words of an unknown one are at least of a known script."""
    if script not in ("Arab", "Latn") or language in ("zgh", "zgh-Latn"):
        return False
    return language != UNDETERMINED or is_short


def _top_two(letters: Mapping[str, int]) -> dict[str, float]:
    """The shares of the two languages with most letters; a small second one is left out. They add up to 1."""
    first = sorted(letters, key=lambda name: (-letters[name], name))[:2]
    kept = [name for name in first if letters[name] >= LEAST_SHARE * sum(letters[name] for name in first)]
    total = sum(letters[name] for name in kept)
    return {name: round(letters[name] / total, 4) for name in kept}


def _sure(part: Part, language: str, proportions: Mapping[str, float]) -> float:
    """The probability of a language; where two are mixed, of the words that are given to it."""
    names = [name for name in part.whole if _LANGUAGE_OF.get(name, name) == language]
    whole = sum(part.whole[name] for name in names)
    if len(proportions) == 1:
        return whole
    return max(whole, *(part.sure[name] for name in names)) if names else 0.0


def _inherited(declared: Sequence[str], script: str | None) -> str:
    """The first declared language that is written in this script; of a text without letters, the first."""
    for language in declared:
        written = _IN_SCRIPT.get((language, script or ""), language)
        if script is None or written in _FITTING.get(script, ()):
            return written
    return UNDETERMINED


def _dialect(language: str, parts: Sequence[Part], *, is_read: bool) -> str | None:
    if language != "ar":
        return "ary" if language in ("ary", "ary-Latn") else None
    standard = sum(part.whole.get("ar", 0.0) for part in parts)
    arabic = standard + sum(part.whole.get("other", 0.0) for part in parts)
    return "arb" if is_read and standard >= LEAST_CONFIDENCE * arabic else None
