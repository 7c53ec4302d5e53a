"""Near-duplicates: copies of one video count as one wherever exposure is counted."""

import hashlib
import re
from typing import Final

from recsys.text.normalise import normalise

_NOT_WORDS: Final = re.compile(r"[\W_]+")


def cluster_id(item_id: str, title: str, text: str | None) -> str:
    """
    The cluster of an item by its words alone: the hash of what it says, blind to case, accents of Arabic, punctuation,
    emoji and letters in disguise. Training joins near-duplicates too (`recsys.text.duplicates`).

    An item that says nothing is a cluster of its own.
    """
    words = words_of(f"{title} {text or ''}")
    said = f"text:{words}" if words else f"item:{item_id}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def words_of(text: str) -> str:
    """The words of a text, as `normalise` folds them, without punctuation and emoji."""
    return _NOT_WORDS.sub(" ", normalise(text)).strip()
