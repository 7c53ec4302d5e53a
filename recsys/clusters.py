"""Near-duplicates: copies of one video count as one wherever exposure is counted."""

import hashlib
import re
import unicodedata
from typing import Final

# harakat, dagger alif, Quranic marks and tatweel: written or left out at will, the words stay the same
_ARABIC_MARKS: Final = re.compile(r"[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")
_NOT_WORDS: Final = re.compile(r"[\W_]+")


def cluster_id(item_id: str, title: str, text: str | None) -> str:
    """
    The cluster of an item: the hash of what it says, blind to case, accents of Arabic, punctuation and emoji.

    An item that says nothing is a cluster of its own.
    """
    folded = unicodedata.normalize("NFKC", f"{title} {text or ''}").casefold()
    words = _NOT_WORDS.sub(" ", _ARABIC_MARKS.sub("", folded)).strip()
    said = f"text:{words}" if words else f"item:{item_id}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
