"""
The private list of R3 and R4 search terms. It is loaded from a file that the market's team keeps, never printed,
logged or answered: a list of such words is itself harmful, and known words are soon avoided.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recsys.errors import ConfigError

# harakat, dagger alif, Quranic marks, tatweel, accents, joiners: written or left out at will
_MARKS: Final = re.compile(r"[\u0300-\u036f\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u200b-\u200f\ufe0f]")
_NOT_WORDS: Final = re.compile(r"[\W_]+")
_REPEATED: Final = re.compile(r"(.)\1+")
_SPACED: Final = re.compile(r"(?<!\S)\S(?: \S)+(?!\S)")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Normalised terms, each padded with a space on both sides. Its text form does not show them."""

    terms: frozenset[str] = field(default=frozenset(), repr=False)


NO_TERMS: Final = Lexicon()
ATTEMPT: Final = "!"  # what is kept of a search that holds a term, in place of its words


def normalise(text: str) -> str:
    """
    What a term and a query have in common: words without case, accents, punctuation, elongation or inner spaces.

    `S u  i-cide` spelled out letter by letter becomes one word again. Both sides go through this, so that what it
    loses (double letters) is lost on both.
    """
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text).casefold())
    words = _NOT_WORDS.sub(" ", plain).strip()
    joined = _SPACED.sub(lambda letters: letters[0].replace(" ", ""), words)
    return _REPEATED.sub(r"\1", joined)


def lexicon_of(terms: list[str]) -> Lexicon:
    """A lexicon of these terms; those that say nothing are left out."""
    known = {normalise(term) for term in terms}
    return Lexicon(frozenset(f" {term} " for term in known if term))


def load_lexicon(path: Path) -> Lexicon:
    """
    One term per line, UTF-8; empty lines and lines that start with `#` are skipped. Raises ConfigError, without terms.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}); expected one term per line") from None
    return lexicon_of([line for line in lines if not line.lstrip().startswith("#")])


def mentions(lexicon: Lexicon, query: str | None) -> bool:
    """Whether a query holds one of the terms as whole words."""
    if not query or not lexicon.terms:
        return False
    padded = f" {normalise(query)} "
    return any(term in padded for term in lexicon.terms)


def kept_of(lexicon: Lexicon, query: str | None) -> str | None:
    """What is kept of a search: that it looked for harm, or nothing. The words themselves are written nowhere."""
    if query is None:
        return None
    return ATTEMPT if mentions(lexicon, query) else ""
