"""
Private lists of terms to search for. The market's team maintains the file. Terms are never printed, logged or answered:
a list of such words is harmful itself, and known words are soon avoided. A hit names the line of the file, not the
word.

A term and a text are compared in up to three readings: Latin letters with digits as the letters they look like
(`d3pr1m`), Arabic letters with digits as the letters they stand for (`7zin`, so that one entry serves both scripts),
and the latter without long vowels, for terms with enough consonants, because Arabizi spells vowels at will.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recsys.errors import ConfigError
from recsys.text.normalise import arabizi_skeleton, normalise, skeleton
from recsys.text.transliterate import arabizi_to_arabic
from recsys.vocabulary import FAMILIES, TIERS

Words = tuple[str, ...]

_MIN_CONSONANTS: Final = 4  # of a one-word term; with fewer, too many innocent words share them
_VOWELS: Final = str.maketrans("", "", "اويه")
_ARTICLES: Final = ("وال", "بال", "فال", "كال", "ال", "لل", "ل")
_MASKED: Final = re.compile(r"(?<![^\W_])[^\W\d_]+(?:\*+[^\W\d_]*)+(?![^\W_])")
_OTHER_SIGNS: Final = re.compile(r"[\d@$€!|]")  # may stand for letters; without them both skeletons are one
_ENDING: Final = re.compile(r"(?<=\w\w)ه$")  # of a ta marbuta; Arabizi writes an a
_NO_WORD: Final = re.compile(r"^\W+$")
_ARABIC: Final = re.compile("[\u0620-\u064a]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A term in a text: its line in the private file, and the tier and family that the file gives it."""

    line: int
    tier: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class TermList:
    """Terms by reading and first word. Its text form shows none of them."""

    n_terms: int
    _terms: Mapping[str, Sequence[tuple[Words, Hit]]] = field(repr=False)

    @staticmethod
    def load(path: Path) -> "TermList":
        """
        A UTF-8 file: one term a line, then optionally a tab (or a comma) and a tier, and again and a family. Empty
        lines and lines that start with `#` are skipped.

        Raises ConfigError with the numbers of all bad lines, never with their text.
        """
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: cannot be read ({type(error).__name__}), expected UTF-8 text with one term a line; "
                "check path and encoding"
            ) from None
        rows = [(n, _columns(line)) for n, line in enumerate(lines, 1) if line.strip() and not _is_comment(line)]
        problems = [f"{path}, line {n}: {problem}" for n, row in rows for problem in _problems(row)]
        if problems:
            raise ConfigError(*problems)
        return term_list_of((row[0], Hit(line=n, tier=row[1], family=row[2])) for n, row in rows)

    def find(self, text: str) -> tuple[Hit, ...]:
        """The terms of the list in a text, as whole words, without repeats, in the order of the list."""
        if not self.n_terms:
            return ()
        hits: set[Hit] = set()
        for reading, words in _readings(text):
            hits.update(self._find_in_words(reading, words))
            without_emoji = tuple(word for word in words if not _NO_WORD.match(word))
            if without_emoji != words:  # they may stand between the words of a term
                hits.update(self._find_in_words(reading, without_emoji))
        hits |= {hit for word in _masked_words(text) for hit in self._find_masked(word)}
        return tuple(sorted(hits, key=lambda hit: hit.line))

    def _find_in_words(self, reading: str, words: Words) -> Iterator[Hit]:
        for at, word in enumerate(words):
            for first in _forms_of_word(reading, word):
                for term, hit in self._terms.get(reading + first, ()):
                    if words[at + 1 : at + len(term)] == term[1:]:
                        yield hit

    def _find_masked(self, word: str) -> Iterator[Hit]:
        """`s**cide`: every star is one letter, or a run of them a few. Terms of one word only."""
        visible = re.compile("".join("." if sign == "*" else re.escape(sign) for sign in word))
        for key, terms in self._terms.items():
            if key[:2] == f"l{word[0]}" and visible.fullmatch(key, 1):
                yield from (hit for term, hit in terms if len(term) == 1)


def term_list_of(terms: Iterable[tuple[str, Hit]]) -> TermList:
    """A term list; terms without words (punctuation alone) are left out."""
    by_key: dict[str, dict[tuple[Words, Hit], None]] = {}
    n_terms = 0
    for term, hit in terms:
        readings = [(reading, words) for reading, words in _readings(term) if words and _is_specific(reading, words)]
        n_terms += bool(readings)
        for reading, words in readings:
            for first in _forms_of_word(reading, words[0]):
                by_key.setdefault(reading + first, {})[((first, *words[1:]), hit)] = None
    return TermList(n_terms, {key: tuple(terms) for key, terms in by_key.items()})


def _readings(text: str) -> Iterator[tuple[str, Words]]:
    """`l` Latin, `a` Arabic, `c` consonants of the Arabic one."""
    normalised = normalise(text)
    plain = arabizi_skeleton(normalised)
    yield "l", tuple((skeleton(normalised) if _OTHER_SIGNS.search(normalised) else plain).split())
    arabic = arabizi_skeleton(arabizi_to_arabic(plain)).split()
    arabic = [_ENDING.sub("ا", word) for word in arabic]
    yield "a", tuple(arabic)
    yield "c", tuple(_consonants(word) for word in arabic)


def _consonants(word: str) -> str:
    """`نتاحر` and `نتحر` are one; the first letter stays, so that words that begin with a vowel keep it."""
    return word[:1] + word[1:].translate(_VOWELS)


def _is_specific(reading: str, words: Words) -> bool:
    if reading == "c":
        return sum(map(len, words)) >= _MIN_CONSONANTS + len(words) - 1 and bool(_ARABIC.match(words[0]))
    return True


def _forms_of_word(reading: str, word: str) -> Iterator[str]:
    yield word
    if reading != "l":
        short = next((a for a in _ARTICLES if word.startswith(a) and len(word) > len(a) + 1), None)
        if short:
            yield word[len(short) :]


def _masked_words(text: str) -> frozenset[str]:
    """Words with stars in them and at least two letters to be seen, repeated letters kept: a star counts."""
    if "*" not in text:
        return frozenset()
    words = (_with_stars(word) for word in _MASKED.findall(normalise(text)))
    return frozenset(word for word in words if len(word.replace("*", "")) >= 2)


def _with_stars(word: str) -> str:
    """The skeleton of a masked word, its stars in place."""
    return "".join(part if part.startswith("*") else skeleton(part) for part in re.split(r"(\*+)", word))


def _columns(line: str) -> tuple[str, str | None, str | None]:
    parts = [part.strip() for part in line.split("\t" if "\t" in line else ",")]
    term, tier, family = (*parts, "", "")[:3]
    return term, tier or None, family or None


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _problems(row: tuple[str, str | None, str | None]) -> Iterator[str]:
    term, tier, family = row
    if not any(words for _, words in _readings(term)):
        yield "found no word in its first column, expected a term; remove the line"
    if tier is not None and tier not in TIERS:
        yield f"found tier {tier!r}, expected one of {', '.join(TIERS)} or nothing; correct it"
    if family is not None and family not in FAMILIES:
        yield f"found family {family!r}, expected one of {', '.join(FAMILIES)} or nothing; correct it"
