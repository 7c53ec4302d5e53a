"""
Strings of small words and verbs, put together by rule from `detector_text/words.ini`: what tells varieties apart is
less what they speak of than how they conjugate, deny and ask. They make no sense, only the right sound.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

WORDS: Final = Path(__file__).parent / "detector_text" / "words.ini"
_VARIETIES: Final = {"ary": ("ary",), "ar": ("ar",), "other": ("arz", "apc", "afb", "aeb"), "fr": ("fr",)}
_VERBS: Final = 0.35  # of the words
_FILLERS: Final = 0.3
MADE_CLASSES: Final = tuple(_VARIETIES)
"""The classes that phrases can be made for. `other` is Egyptian, Levantine, Gulf and Tunisian in equal parts."""


def make_phrases(name: str, rng: np.random.Generator, n: int, fillers: Sequence[str] = ()) -> list[str]:
    """
    `n` strings of 4 to 9 words: small words of the variety, and verbs as it conjugates them.

    `fillers` are put between: nouns that all varieties share. Given to all of them, they teach that what a text speaks
    of says nothing about its variety.
    """
    varieties = _VARIETIES[name]
    return [" ".join(_phrase(_one(varieties, rng), rng, fillers)) for _ in range(n)]


def _phrase(variety: str, rng: np.random.Generator, fillers: Sequence[str]) -> list[str]:
    lists = _lists()
    words, forms = lists[f"{variety} words"], lists.get(f"{variety} forms", ())
    stems = lists.get(f"{variety} stems", lists["shared stems"])
    out = []
    for draw in rng.random(int(rng.integers(4, 10))):
        if draw < _VERBS and forms:
            out.append(_one(forms, rng).replace("…", _one(stems, rng)))
        else:
            out.append(_one(fillers if fillers and draw > 1 - _FILLERS else words, rng))
    return [part.replace("_", " ") for part in out]


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


@cache
def _lists() -> Mapping[str, Sequence[str]]:
    lists: dict[str, list[str]] = {}
    name = ""
    for line in WORDS.read_text("utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            lists.setdefault(name, []).extend(line.split())
    return lists
