"""
Private lists of terms to search for. The market's team maintains the file. Terms are never printed, logged or answered:
a list of such words is harmful itself, and known words are soon avoided. A hit names the line of the file, not the
word.

A term and a text are compared in up to three readings: Latin letters with digits as the letters they look like
(`d3pr1m`), Arabic letters with digits as the letters they stand for (`7zin`, so that one entry serves both scripts),
and the latter without long vowels, for terms with enough consonants, because Arabizi spells vowels at will.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a term stands in one reading of a text: the words from `start` up to `end`.

    `is_exact` is False where letters had to be guessed: without vowels, behind stars, and for a term in Latin letters
    that is found by its sound in Arabic ones. `is_edited` is True where the letters differ from those of the term.
    Behind stars no words are counted: both ends are 0.
    """

    hit: Hit
    reading: str
    start: int = 0
    end: int = 0
    is_exact: bool = True
    is_edited: bool = False


@dataclass(frozen=True, slots=True)
class TermList:
    """Terms by reading and first word. Its text form shows none of them."""

    n_terms: int
    _terms: Mapping[str, Sequence[tuple[Words, Hit, bool]]] = field(repr=False)

    @staticmethod
    def load(path: Path) -> "TermList":
        """
        A UTF-8 file: one term a line, then optionally a tab (or a comma) and a tier, and again and a family. Empty
        lines and lines that start with `#` are skipped.

        Raises ConfigError with the numbers of all bad lines, never with their text.
        """
        return term_list_of(terms_in_file(path))

    def find(self, text: str) -> tuple[Hit, ...]:
        """The terms of the list in a text, as whole words, without repeats, in the order of the list."""
        return tuple(sorted({place.hit for place in self.places(text)}, key=lambda hit: hit.line))

    def places(self, text: str) -> Iterator[Place]:
        """Every place of a term in a text. Words are counted without the emoji between them, if the term has none."""
        if self.n_terms:
            yield from self.places_in(tuple(readings(text)), text)

    def places_in(self, read: Sequence[tuple[str, Words]], text: str) -> Iterator[Place]:
        """The same, of a text whose readings are known."""
        for reading, words in read:
            without_emoji = tuple(word for word in words if not is_emoji(word))
            yield from self._find_in_words(reading, without_emoji)
            if without_emoji != words:
                yield from self._find_in_words(reading, words, with_emoji=True)
        for word in _masked_words(text):
            yield from (Place(hit=hit, reading="l", is_exact=False, is_edited=True) for hit in self._find_masked(word))

    def _find_in_words(self, reading: str, words: Words, *, with_emoji: bool = False) -> Iterator[Place]:
        """The places of terms; `with_emoji`, of those that hold an emoji, and only of those."""
        for at, word in enumerate(words):
            for first in forms_of_word(reading, word):
                for term, hit, is_exact in self._terms.get(reading + first, ()):
                    is_here = words[at + 1 : at + len(term)] == term[1:]
                    if is_here and with_emoji == any(map(is_emoji, term)):
                        end = at + len(term)
                        yield Place(
                            hit=hit, reading=reading, start=at, end=end, is_exact=is_exact, is_edited=not is_exact
                        )  # fmt: skip

    def _find_masked(self, word: str) -> Iterator[Hit]:
        """`s**cide`: every star is one letter, or a run of them a few. Terms of one word only."""
        visible = re.compile("".join("." if sign == "*" else re.escape(sign) for sign in word))
        for key, terms in self._terms.items():
            if key[:2] == f"l{word[0]}" and visible.fullmatch(key, 1):
                yield from (hit for term, hit, _ in terms if len(term) == 1)


def terms_in_file(path: Path) -> list[tuple[str, Hit]]:
    """The terms of a list's file, as `TermList.load` reads it. Raises ConfigError as that does."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({type(error).__name__}), expected UTF-8 text with one term a line; "
            "check path and encoding"
        ) from None
    return terms_in(text, str(path))


def terms_in(text: str, name: str) -> list[tuple[str, Hit]]:
    """The terms of a list, which problems call `name`. Raises ConfigError with the numbers of all bad lines."""
    lines = text.splitlines()
    rows = [(n, _columns(line)) for n, line in enumerate(lines, 1) if line.strip() and not _is_comment(line)]
    problems = [f"{name}, line {n}: {problem}" for n, row in rows for problem in _problems(row)]
    if problems:
        raise ConfigError(*problems)
    return [(row[0], Hit(line=n, tier=row[1], family=row[2])) for n, row in rows]


def term_list_of(
    terms: Iterable[tuple[str, Hit]], *, readings_for: Callable[[str, Hit], str] = lambda term, hit: "lac"
) -> TermList:
    """
    A term list; terms without words (punctuation alone) are left out. `readings_for` tells in which readings
    a term is looked for.
    """
    by_key: dict[str, dict[tuple[Words, Hit, bool], None]] = {}
    n_terms = 0
    for term, hit in terms:
        written = [(reading, words) for reading, words in readings(term) if words and _is_specific(reading, words)]
        n_terms += bool(written)
        for reading, words in [pair for pair in written if pair[0] in readings_for(term, hit)]:
            is_exact = reading == "l" or (reading == "a" and is_arabic(term))
            for first in forms_of_word(reading, words[0]):
                by_key.setdefault(reading + first, {})[((first, *words[1:]), hit, is_exact)] = None
    return TermList(n_terms, {key: tuple(terms) for key, terms in by_key.items()})


def readings(text: str) -> Iterator[tuple[str, Words]]:
    """The words of a text in each reading: `l` Latin, `a` Arabic, `c` consonants of the Arabic one."""
    normalised = normalise(text)
    plain = arabizi_skeleton(normalised)
    yield "l", tuple((skeleton(normalised) if _OTHER_SIGNS.search(normalised) else plain).split())
    arabic = arabizi_skeleton(arabizi_to_arabic(plain)).split()
    arabic = [_ENDING.sub("ا", word) for word in arabic]
    yield "a", tuple(arabic)
    yield "c", tuple(_consonants(word) for word in arabic)


def is_emoji(word: str) -> bool:
    """Whether a word of a reading is an emoji, which may stand between the words of a term."""
    return bool(_NO_WORD.match(word))


def is_arabic(text: str) -> bool:
    """Whether a text holds Arabic letters."""
    return bool(_ARABIC.search(text))


def _consonants(word: str) -> str:
    """`نتاحر` and `نتحر` are one; the first letter stays, so that words that begin with a vowel keep it."""
    return word[:1] + word[1:].translate(_VOWELS)


def _is_specific(reading: str, words: Words) -> bool:
    if reading == "c":
        return sum(map(len, words)) >= _MIN_CONSONANTS + len(words) - 1 and bool(_ARABIC.match(words[0]))
    return True


def forms_of_word(reading: str, word: str) -> Iterator[str]:
    """A word, and where a reading writes articles as part of a word, the word without its article."""
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
    if not any(words for _, words in readings(term)):
        yield "found no word in its first column, expected a term; remove the line"
    if tier is not None and tier not in TIERS:
        yield f"found tier {tier!r}, expected one of {', '.join(TIERS)} or nothing; correct it"
    if family is not None and family not in FAMILIES:
        yield f"found family {family!r}, expected one of {', '.join(FAMILIES)} or nothing; correct it"
