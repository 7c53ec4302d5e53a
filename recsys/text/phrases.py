"""
Phrase books: our own short sentences about everyday life and mental health, one file for each language.

Written for this project; no real person's text. The synthetic market composes titles and captions from them, and the
language detector learns from them. Amazigh is written in Latin letters; `latin_to_tifinagh` gives the other script.
"""

from functools import cache
from importlib.resources import files

import msgspec

Phrases = tuple[str, ...]


class PhraseBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The phrases of one language: `topics` by topic (S1 to S12 and everyday ones), `heavy` for tier R1, `families` for
    tier R2. `{city}` stands for the name of a town.
    """

    openers: Phrases
    tails: Phrases
    captions: Phrases
    topics: dict[str, Phrases]
    heavy: Phrases
    families: dict[str, Phrases]


@cache
def phrase_book(language: str) -> PhraseBook:
    """
    The book of `ar`, `ary`, `ary-Latn`, `en`, `fr` or `zgh-Latn`; `gloss-ar`, `gloss-ary` and `gloss-zgh-Latn` hold the
    English of each phrase of those, in the same places (`ary-Latn` has the phrases of `ary`, `fr` those of `en`).
    """
    data = (files("recsys.text") / "data" / "phrases" / f"{language}.json").read_bytes()
    return msgspec.json.decode(data, type=PhraseBook)
