"""
From one script to another: Arabizi to Arabic letters, Tifinagh to Latin ones, Amazigh words to English glosses.

Arabizi has no spelling, so no table is right for everyone. This one follows what is usual in Morocco and loses short
vowels that writers of Arabic script leave out. Tifinagh is one for one (the IRCAM letters, and the older ones in use).
"""

import gzip
import re
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Final

ARABIZI: Final = {
    # three and two signs, tried first
    "tch": "تش", "ch": "ش", "sh": "ش", "kh": "خ", "gh": "غ", "dh": "ض", "th": "ث", "ph": "ف", "ou": "و", "oo": "و",
    "ee": "ي", "ai": "اي", "ay": "اي", "ei": "ي", "aa": "ا", "qu": "ك",
    "3'": "غ", "7'": "خ", "9'": "ض", "6'": "ظ",
    # digits: 2 3 5 7 9 are everybody's, 4 6 8 are rarer
    "2": "ء", "3": "ع", "4": "غ", "5": "خ", "6": "ط", "7": "ح", "8": "ه", "9": "ق",
    # letters
    "a": "ا", "b": "ب", "c": "س", "d": "د", "e": "", "f": "ف", "g": "ڭ", "h": "ه", "i": "ي", "j": "ج", "k": "ك",
    "l": "ل", "m": "م", "n": "ن", "o": "و", "p": "ب", "q": "ق", "r": "ر", "s": "س", "t": "ت", "u": "و", "v": "ف",
    "w": "و", "x": "ش", "y": "ي", "z": "ز", "à": "ا", "â": "ا", "é": "ي", "è": "", "ê": "", "î": "ي", "ï": "ي",
    "ô": "و", "û": "و", "ù": "و", "ç": "س", "ḍ": "ض", "ḥ": "ح", "ṣ": "ص", "ṭ": "ط", "ẓ": "ظ", "ɛ": "ع", "ɣ": "غ",
}  # fmt: skip
"""What a sign or a pair of signs of Moroccan Arabizi becomes inside a word."""

_EMPHATIC: Final = {"D": "ض", "T": "ط", "S": "ص", "H": "ح", "Z": "ظ", "N": "ن", "R": "ر", "L": "ل"}
"""Capitals inside a word, as careful writers use them."""

_PREFIXES: Final = (
    (re.compile("k[ae]?y(?=[^aeiouéè\\W].)"), "كي"),  # kay-, kat-, kan-: the present tense, written without its vowel
    (re.compile("k[ae]t(?=[^aeiouéè\\W].)"), "كت"),
    (re.compile("k[ae]n(?=[^aeiouéèt\\W].)"), "كن"),
    (re.compile("l(?=[^aeiouéèl\\W].)"), "ال"),  # the article
)
_WHOLE: Final = {
    "3la": "على", "fi": "في", "f": "ف", "w": "و", "o": "و", "ou": "و", "u": "و", "la": "لا", "ila": "إلا", "hta": "حتى",
    "7ta": "حتى", "i": "ي", "a": "ا", "e": "ا", "h": "ه",
}  # fmt: skip
_INITIAL: Final = {"a": "ا", "e": "ا", "i": "اي", "o": "او", "u": "او", "é": "اي", "ou": "او", "ee": "اي"}
_FINAL: Final = {"a": "ا", "e": "", "é": "ي", "o": "و", "i": "ي"}

TIFINAGH: Final = {
    "ⴰ": "a", "ⴱ": "b", "ⴲ": "b", "ⴳ": "g", "ⴴ": "g", "ⴵ": "dj", "ⴶ": "dj", "ⴷ": "d", "ⴸ": "d", "ⴹ": "ḍ", "ⴺ": "ḍ",
    "ⴻ": "e", "ⴼ": "f", "ⴽ": "k", "ⴾ": "k", "ⴿ": "k", "ⵀ": "h", "ⵁ": "h", "ⵂ": "h", "ⵃ": "ḥ", "ⵄ": "ɛ", "ⵅ": "x",
    "ⵆ": "x", "ⵇ": "q", "ⵈ": "q", "ⵉ": "i", "ⵊ": "j", "ⵋ": "j", "ⵌ": "j", "ⵍ": "l", "ⵎ": "m", "ⵏ": "n", "ⵐ": "ny",
    "ⵑ": "ng", "ⵒ": "p", "ⵓ": "u", "ⵔ": "r", "ⵕ": "ṛ", "ⵖ": "ɣ", "ⵗ": "ɣ", "ⵘ": "ɣ", "ⵙ": "s", "ⵚ": "ṣ", "ⵛ": "c",
    "ⵜ": "t", "ⵝ": "t", "ⵞ": "tc", "ⵟ": "ṭ", "ⵠ": "v", "ⵡ": "w", "ⵢ": "y", "ⵣ": "z", "ⵤ": "z", "ⵥ": "ẓ", "ⵦ": "e",
    "ⵧ": "o", "ⵯ": "ʷ", "⵰": ".", "⵿": None,
}  # fmt: skip
"""Neo-Tifinagh and the letters of older alphabets that share the block, to the Latin letters of IRCAM."""

_TIFINAGH: Final = str.maketrans(TIFINAGH)
_LATIN: Final = str.maketrans({
    "a": "ⴰ", "b": "ⴱ", "c": "ⵛ", "d": "ⴷ", "ḍ": "ⴹ", "e": "ⴻ", "ɛ": "ⵄ", "f": "ⴼ", "g": "ⴳ", "ɣ": "ⵖ",
    "h": "ⵀ", "ḥ": "ⵃ", "i": "ⵉ", "j": "ⵊ", "k": "ⴽ", "l": "ⵍ", "m": "ⵎ", "n": "ⵏ", "o": "ⵓ", "p": "ⵒ",
    "q": "ⵇ", "r": "ⵔ", "ṛ": "ⵕ", "s": "ⵙ", "ṣ": "ⵚ", "t": "ⵜ", "ṭ": "ⵟ", "u": "ⵓ", "v": "ⵠ", "w": "ⵡ",
    "x": "ⵅ", "y": "ⵢ", "z": "ⵣ", "ẓ": "ⵥ", "é": "ⴻ", "è": "ⴻ", "â": "ⴰ",
})  # fmt: skip
_LATIN_WORD: Final = re.compile(r"(?:[^\W\d_]|[2-9]'?)*[^\W\d_](?:[^\W\d_]|[2-9]'?)*")
_SIGN: Final = re.compile("|".join(sorted(map(re.escape, ARABIZI), key=len, reverse=True)) + "|.", re.DOTALL)
_DOUBLED: Final = re.compile(r"([^\W\d_])\1+", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W\d_]+")


def arabizi_to_arabic(text: str) -> str:
    """
    Darija in Latin letters and digits, in Arabic letters: `3yit bzaf had lyamat` is `عييت بزاف هاد ليامات`.

    Words of other scripts, numbers and punctuation stay. Doubled letters become one, an e inside a word none.
    """
    return _LATIN_WORD.sub(lambda m: _arabic_word(m[0]) if _is_latin(m[0]) else m[0], text)


def tifinagh_to_latin(text: str) -> str:
    """Amazigh in Tifinagh, in Latin letters, one for one; everything else stays."""
    return text.translate(_TIFINAGH)


def latin_to_tifinagh(text: str) -> str:
    """Latin letters in Tifinagh, one for one, all of them small first; everything that is not a letter stays."""
    return text.lower().translate(_LATIN)


def gloss_amazigh(text: str) -> str:
    """
    The known words of an Amazigh text of either script in English, the others left out; may be empty.

    A weak sign of what a text is about, not a translation. The lexicon is GATITOS (CC BY 4.0), some 5,000 entries.
    """
    words = _WORD.findall(tifinagh_to_latin(text).lower())
    known = _glosses()
    return " ".join(known[word] for word in words if word in known)


def _is_latin(word: str) -> bool:
    return any("a" <= letter <= "z" or "À" <= letter <= "ɏ" or "Ḁ" <= letter <= "ỿ" for letter in word.lower())


def _arabic_word(word: str) -> str:
    word = _DOUBLED.sub(r"\1", word.lower() if word.isupper() else word)
    lower = _lower_except_emphatic(word)
    if lower in _WHOLE:
        return _WHOLE[lower]
    prefix, end = next(((arabic, m.end()) for sign, arabic in _PREFIXES if (m := sign.match(lower))), ("", 0))
    return prefix + _spelled(lower[end:], is_start=not prefix)


def _spelled(word: str, *, is_start: bool) -> str:
    signs = [sign for sign, _ in groupby(m[0] for m in _SIGN.finditer(word))]
    out = [_EMPHATIC[sign] if sign in _EMPHATIC else ARABIZI.get(sign, sign) for sign in signs]
    if signs[-1] in _FINAL and len(signs) > 1:
        out[-1] = _FINAL[signs[-1]]
    if is_start and signs[0] in _INITIAL:
        out[0] = _INITIAL[signs[0]]
    return "".join(out)


def _lower_except_emphatic(word: str) -> str:
    """A capital at the start of a word is usually the sentence's."""
    inner = "".join(sign if sign in _EMPHATIC else sign.lower() for sign in word[1:])
    return word[0].lower() + inner


@cache
def _glosses() -> dict[str, str]:
    packed = (files("recsys.text") / "data" / "gatitos_zgh.tsv.gz").read_bytes()
    rows = (line.split("\t") for line in gzip.decompress(packed).decode().splitlines())
    return {amazigh: english for amazigh, english in rows}
