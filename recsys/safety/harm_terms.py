"""
Searches for harm: whether they hold a term of the market's private list, and what of them is stored: never a word.
"""

from pathlib import Path
from typing import Final

from recsys.text.term_list import Hit, TermList, term_list_of

__all__ = ["HARM_SEEKING", "NO_TERMS", "TermList", "harm_terms_of", "load_harm_terms", "mentions_harm", "redact_query"]

HARM_SEEKING: Final = "!"  # stored in place of the words of a search that holds a term
NO_TERMS: Final = term_list_of(())
_CALM: Final = ("R0", "R1", "R2")


def harm_terms_of(terms: list[str]) -> TermList:
    """A list of these terms, all of R3 or R4; terms without a letter are left out."""
    return term_list_of((term, Hit(line=n)) for n, term in enumerate(terms, start=1))


def load_harm_terms(path: Path) -> TermList:
    """The market's list; see `recsys.text.term_list`. A term without a tier is R3 or R4. Raises ConfigError."""
    return TermList.load(path)


def mentions_harm(harm_terms: TermList, query: str | None) -> bool:
    """Whether a query holds an R3 or R4 term, also in disguise."""
    return any(hit.tier not in _CALM for hit in harm_terms.find(query or ""))


def redact_query(harm_terms: TermList, query: str | None) -> str | None:
    """What is stored of a search: that it looked for harm, or "". The words themselves are written nowhere."""
    if query is None:
        return None
    return HARM_SEEKING if mentions_harm(harm_terms, query) else ""
