"""Near-duplicates: copies of one video count as one wherever exposure is counted."""

import hashlib
import re
from typing import Final

from recsys.text.normalise import normalise

_NOT_WORDS: Final = re.compile(r"[\W_]+")


def cluster_id(item_id: str, title: str, text: str | None) -> str:
    """
    The cluster of an item by its text alone: a hash that ignores case, accents of Arabic, punctuation, emoji and
    look-alike letters. Training merges near-duplicates as well (`recsys.text.duplicates`).

    An item without words is a cluster of its own.
    """
    words = bare_words(f"{title} {text or ''}")
    content = f"text:{words}" if words else f"item:{item_id}"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def bare_words(text: str) -> str:
    """The words of a text, as `normalise` folds them, without punctuation and emoji."""
    return _NOT_WORDS.sub(" ", normalise(text)).strip()
