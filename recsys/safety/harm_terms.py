"""
Searches for harm: whether they hold a term of a list, and what of them is stored: never a word.

A term without a tier, or of R3 or R4, stands for a search for harm: the level rises and the crisis card comes. A term
of R1 or R2 brings the card alone, and so does whatever is nearly a term. An R0 line is an innocent phrase, such as to
die of laughter: what shares a word with it is no match. An R0 line of one word says that this is no misspelled term: it
takes away what is nearly a term, and never a term that stands there letter by letter.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from recsys.errors import ConfigError
from recsys.text.near_terms import NearTerms, as_written, near_terms_of
from recsys.text.term_list import (
    Hit,
    Place,
    TermList,
    Words,
    is_arabic,
    readings,
    term_list_of,
    terms_in,
    terms_in_file,
)

__all__ = [
    "HARM_SEEKING",
    "NEARLY_HARM_SEEKING",
    "NO_TERMS",
    "HarmMatch",
    "HarmTerms",
    "describe_list",
    "harm_match",
    "harm_terms_of",
    "load_harm_terms",
    "pack_terms",
    "redact_query",
    "starter_harm_terms",
    "stored_match",
    "unpack_terms",
]

HarmMatch = Literal["exact", "near"]
"""How sure a search is one for harm: by a term as it stands in the list, or by something near it."""

HARM_SEEKING: Final = "!"  # stored in place of the words of a search that holds a term
NEARLY_HARM_SEEKING: Final = "~"  # the same for a search that nearly holds one
_STORED: Final[dict[HarmMatch, str]] = {"exact": HARM_SEEKING, "near": NEARLY_HARM_SEEKING}
_RAISING: Final = (None, "R3", "R4")
_INNOCENT: Final = "R0"
_VEIL: Final = 0x5A  # keeps words out of listings and searches of a repository; it is no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmTerms:
    """A list of terms. Its text form shows none of them. `source` says whose list it is."""

    source: Literal["none", "starter", "platform"]
    exact: TermList
    near: NearTerms = field(repr=False)

    @property
    def n_terms(self) -> int:
        """How many lines the list has that say anything, innocent phrases included."""
        return self.exact.n_terms


def _harm_terms(terms: Sequence[tuple[str, Hit]], source: Literal["none", "starter", "platform"]) -> HarmTerms:
    searched = [(term, hit) for term, hit in terms if hit.tier != _INNOCENT]
    exact = term_list_of(terms, readings_for=_readings_for)
    return HarmTerms(source=source, exact=exact, near=near_terms_of(searched))


def _readings_for(term: str, hit: Hit) -> str:
    """
    Vowels are guessed of Arabic terms alone: without them, much French is near an Arabizi word. An innocent phrase is
    taken as it is written, so that it never hides what only sounds like it.
    """
    if hit.tier == _INNOCENT:
        return "la" if is_arabic(term) else "l"
    return "lac" if is_arabic(term) else "la"


NO_TERMS: Final = _harm_terms((), "none")


def harm_terms_of(terms: Iterable[str]) -> HarmTerms:
    """A list of these terms, all of R3 or R4; those that say nothing are left out."""
    return _harm_terms([(term, Hit(line=n)) for n, term in enumerate(terms, start=1)], "platform")


def load_harm_terms(path: Path) -> HarmTerms:
    """The platform's list; see `recsys.text.term_list` for its form. Raises ConfigError, which names lines alone."""
    return _harm_terms(terms_in_file(path), "platform")


@cache
def starter_harm_terms() -> HarmTerms:
    """The list that comes with the package: a draft for clinical review, in the market's seven varieties."""
    packed = (files("recsys.safety") / "data" / "harm_terms.bin").read_bytes()
    return _harm_terms(terms_in(unpack_terms(packed), "starter list"), "starter")


def pack_terms(text: str) -> bytes:
    """A list as it is shipped: small, and not readable where files are listed. Raises ConfigError for bad lines."""
    terms_in(text, "list")
    return bytes(byte ^ _VEIL for byte in zlib.compress(text.encode(), 9))


def unpack_terms(packed: bytes) -> str:
    """The inverse of `pack_terms`. Raises ConfigError for other bytes."""
    try:
        return zlib.decompress(bytes(byte ^ _VEIL for byte in packed)).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"found a packed list that is damaged ({type(error).__name__}), expected bytes that pack_terms wrote; "
            "pack the list again"
        ) from None


def describe_list(harm_terms: HarmTerms) -> str:
    """Which list it is, in one line, without a word of it."""
    if not harm_terms.n_terms:
        return "none: no search for harm is recognised"
    if harm_terms.source == "starter":
        return f"{harm_terms.n_terms} terms of the starter list, a draft for clinical review"
    return f"{harm_terms.n_terms} terms of the platform's list"


def harm_match(harm_terms: HarmTerms, query: str | None) -> HarmMatch | None:
    """Whether a query looks for harm, also in disguise; None for one that does not, and without a list."""
    if not query or not harm_terms.n_terms:
        return None
    read = tuple(readings(query))
    words = as_written(read)
    exact = tuple(harm_terms.exact.places_in(read, query))
    calm = [place for place in exact if place.hit.tier == _INNOCENT and place.is_exact]
    known_words = _innocent_words(words, calm)
    phrases = _innocent_words(words, [place for place in calm if place.end - place.start > 1])
    is_near = False
    for place in chain(exact, harm_terms.near.places_in(words)):
        innocent = (known_words if place.is_edited else phrases)[place.reading]
        if place.hit.tier == _INNOCENT or not innocent.isdisjoint(range(place.start, place.end)):
            continue
        if place.is_exact and place.hit.tier in _RAISING:
            return "exact"
        is_near = True
    return "near" if is_near else None


def _innocent_words(words: Words, places: Iterable[Place]) -> Mapping[str, set[int]]:
    """
    The numbers of the words that an innocent phrase holds, for each reading. A phrase that was found by its sound in
    Arabic letters says nothing of a word that is written in Latin ones.
    """
    by_reading: dict[str, set[int]] = {"l": set(), "a": set()}
    for place in places:
        by_reading[place.reading].update(range(place.start, place.end))
    in_arabic = {n for n, word in enumerate(words) if is_arabic(word)}
    return {
        "l": by_reading["l"] | (by_reading["a"] & in_arabic),
        "a": by_reading["l"] | by_reading["a"],
        "c": by_reading["l"] | by_reading["a"],
    }


def redact_query(harm_terms: HarmTerms, query: str | None) -> str | None:
    """What is stored of a search: how it matched harm, or "". The words themselves are written nowhere."""
    if query is None:
        return None
    match = harm_match(harm_terms, query)
    return "" if match is None else _STORED[match]


def stored_match(stored: str | None) -> HarmMatch | None:
    """The inverse of `redact_query`: how a stored search matched harm."""
    return next((match for match, mark in _STORED.items() if mark == stored), None)
