"""
Searches for harm: which terms they hold, by the market's private list, and what is kept of them, which is never a word.
"""

from pathlib import Path
from typing import Final

from recsys.text.term_list import Hit, TermList
from recsys.text.term_list import term_list_of as of_hits

__all__ = ["HARM_SEEKING", "NO_TERMS", "TermList", "harm_terms_of", "kept_of", "load_harm_terms", "mentions_harm"]

HARM_SEEKING: Final = "!"  # what is kept of a search that holds a term, in place of its words
NO_TERMS: Final = of_hits(())
_CALM: Final = ("R0", "R1", "R2")


def harm_terms_of(terms: list[str]) -> TermList:
    """A lexicon of these terms, all of R3 or R4; those that say nothing are left out."""
    return of_hits((term, Hit(line=n)) for n, term in enumerate(terms, start=1))


def load_harm_terms(path: Path) -> TermList:
    """The market's list; see `recsys.text.term_list`. A term without a tier is R3 or R4. Raises ConfigError."""
    return TermList.load(path)


def mentions_harm(harm_terms: TermList, query: str | None) -> bool:
    """Whether a query holds an R3 or R4 term, also in disguise."""
    return any(hit.tier not in _CALM for hit in harm_terms.find(query or ""))


def kept_of(harm_terms: TermList, query: str | None) -> str | None:
    """What is kept of a search: that it looked for harm, or nothing. The words themselves are written nowhere."""
    if query is None:
        return None
    return HARM_SEEKING if mentions_harm(harm_terms, query) else ""
