"""
What says that two uploads are one video: the platform's hash, or words beside the creator or the duration.

Each kind of evidence is a key, a number of 64 bits; two uploads have it in common when they have the same key, and 0 is
no evidence: what is unknown equals nothing (policy-spec 0, Copies). What a key binds: `recsys.text.duplicates`.
"""

import hashlib
import math
import re
from typing import Final, NamedTuple

from recsys.text.normalise import normalise

MIN_WORDS: Final = 8
"""Words of a text that is evidence by itself. Shorter ones are set phrases: "#fyp", "part 2", "good morning"."""

FLAT_HASHES: Final = frozenset({0, 2**64 - 1})
"""Perceptual hashes of a picture in one colour, such as a black frame."""

TENTHS: Final = 10  # of a second: durations that are equal in them are equal

_NOT_WORDS: Final = re.compile(r"[\W_]+")


class Wording(NamedTuple):
    """What an item says: a hash of its words, None without words, and how many there are."""

    text_id: str | None
    n_words: int


class CopyKeys(NamedTuple):
    """The evidence of one upload, a key of each kind; 0 = none."""

    hash: int
    creator_text: int
    duration_text: int


def wording_of(title: str, text: str | None) -> Wording:
    """
    What an item says, blind to case, accents of Arabic, punctuation, emoji and letters in disguise.
    """
    words = bare_words(f"{title} {text or ''}")
    if not words:
        return Wording(None, 0)
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass"))
    return Wording(digest.hexdigest()[:16], words.count(" ") + 1)


def bare_words(text: str) -> str:
    """The words of a text, as `normalise` folds them, without punctuation and emoji."""
    return _NOT_WORDS.sub(" ", normalise(text)).strip()


def copy_keys(creator_id: str, wording: Wording, *, duration_s: float | None, perceptual_hash: str | None) -> CopyKeys:
    """
    The keys of an upload.

    Of one creator, an equal text is evidence from 8 words on, a shorter one beside an equal duration. Of anybody, an
    equal text of 8 words or more is evidence beside an equal duration.
    """
    text, duration = wording.text_id, _tenths(duration_s)
    is_long = wording.n_words >= MIN_WORDS
    of_creator = of_anybody = 0
    if text and is_long:
        of_creator = _key("creator", creator_id, text)
    elif text and duration:
        of_creator = _key("creator", creator_id, text, str(duration))
    if text and is_long and duration:
        of_anybody = _key("duration", text, str(duration))
    return CopyKeys(hash_key(perceptual_hash, duration_s), of_creator, of_anybody)


def hash_key(perceptual_hash: str | None, duration_s: float | None) -> int:
    """
    The key of the platform's hash. Many videos begin with a picture in one colour: its hash is evidence only beside an
    equal duration, or where neither is known.
    """
    if perceptual_hash is None:
        return 0
    bits = int(perceptual_hash, 16)
    return _key("flat", str(bits), str(_tenths(duration_s))) if bits in FLAT_HASHES else bits


def _tenths(duration_s: float | None) -> int:
    """A duration in tenths of a second; 0 = unknown, as platforms write it."""
    tenths = 0.0 if duration_s is None else duration_s * TENTHS
    return max(0, round(tenths)) if math.isfinite(tenths) else 0


def _key(*parts: str) -> int:
    packed = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest()) or 1
