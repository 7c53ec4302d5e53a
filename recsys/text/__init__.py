"""
Texts of the engine's languages: one spelling, languages and scripts, private term lists, and copies of one text.

The modules `detect` and `normalise` hold the functions of these names. `clusters` turns an upload into evidence and
`duplicates` says which upload is bound by which; `phrases` holds our own sentences. They are imported by name.
"""

from recsys.text.clusters import wording_of
from recsys.text.detect import UNDETERMINED, Detected, detect_all
from recsys.text.normalise import arabizi_skeleton, emoji_gloss, skeleton
from recsys.text.term_list import Hit, TermList, term_list_of
from recsys.text.transliterate import arabizi_to_arabic, gloss_amazigh, latin_to_tifinagh, tifinagh_to_latin

__all__ = [
    "UNDETERMINED",
    "Detected",
    "Hit",
    "TermList",
    "arabizi_skeleton",
    "arabizi_to_arabic",
    "detect_all",
    "emoji_gloss",
    "gloss_amazigh",
    "latin_to_tifinagh",
    "skeleton",
    "term_list_of",
    "tifinagh_to_latin",
    "wording_of",
]
