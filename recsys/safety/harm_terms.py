"""
Searches for harm: which terms they hold, by the market's private list, and what is kept of them, which is never a word.
"""

from pathlib import Path
from typing import Final

from recsys.text.term_list import Hit, Lexicon
from recsys.text.term_list import lexicon_of as of_hits

__all__ = ["ATTEMPT", "NO_TERMS", "Lexicon", "kept_of", "lexicon_of", "load_lexicon", "mentions"]

ATTEMPT: Final = "!"  # what is kept of a search that holds a term, in place of its words
NO_TERMS: Final = of_hits(())
_CALM: Final = ("R0", "R1", "R2")


def lexicon_of(terms: list[str]) -> Lexicon:
    """A lexicon of these terms, all of R3 or R4; those that say nothing are left out."""
    return of_hits((term, Hit(line=n)) for n, term in enumerate(terms, start=1))


def load_lexicon(path: Path) -> Lexicon:
    """The market's list; see `recsys.text.term_list`. A term without a tier is R3 or R4. Raises ConfigError."""
    return Lexicon.load(path)


def mentions(lexicon: Lexicon, query: str | None) -> bool:
    """Whether a query holds an R3 or R4 term, also in disguise."""
    return any(hit.tier not in _CALM for hit in lexicon.find(query or ""))


def kept_of(lexicon: Lexicon, query: str | None) -> str | None:
    """What is kept of a search: that it looked for harm, or nothing. The words themselves are written nowhere."""
    if query is None:
        return None
    return ATTEMPT if mentions(lexicon, query) else ""
