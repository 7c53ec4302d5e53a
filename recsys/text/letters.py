"""
Tables of letters: what is invisible, what looks like what, what stands for what.

Every table is small on purpose and holds what is met in texts of our languages (Arabic, Darija, Amazigh, French,
English) or in attempts to hide a word from a filter; what Unicode's own NFKC form folds already is not repeated.
"""

import re
from typing import Final

EMOJI: Final = "\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
"""Inside of a character class. Symbols of the same blocks count as emoji too: nobody spells words with them."""

INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffd\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Takes no place on the screen: zero-width, direction marks and overrides, tags, the mark of a broken character."""

LOOSE_JOINER: Final = re.compile(f"(?<![{EMOJI}\ufe0f])[\u200d\ufe0f]+|\u200d+(?![{EMOJI}\ufe0f])")
"""A joiner or a variation selector that holds no emoji together."""

MARKS: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed"
    "\u08d3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u2d7f\ufe20-\ufe2f]"
)
"""Tatweel, short vowels and Quranic marks, stacked accents: written or left out at will."""

NOT_LATIN: Final = re.compile("[\u00ad\u0131\u0250-\U0010ffff]")
"""In no text of plain Latin letters: without one of these, nothing is invisible, loose or in disguise."""

LONG_LIGATURES: Final = {"ﷺ": " صلعم ", "ﷻ": " جل جلاله "}
"""One character that NFKC turns into four words: a text of them alone would grow 18 times."""

CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Become a space; the last range are halves of characters, which no valid text holds."""

_CYRILLIC: Final = dict(
    zip(
        "АВЕЗКМНОРСТУХЅІЈԀԚԜҮавсԁеёғһніїјкӏмпорԛгѕтциѵшԝхуүҝьо",
        "ABE3KMHOPCTYXSIJDQWYabcdeefhhiijklmnopqrstuuvwwxyykbo",
        strict=True,
    )
)
_GREEK: Final = dict(
    zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβϲεγηικνορτυχωϳμ", "ABEZHIKMNOPTYXabcɛɣnikvoptuxwju", strict=True)
)  # epsilon and gamma stand in Amazigh words for ɛ and ɣ far more often than they hide an e or a y
_SMALL_CAPITALS: Final = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True))
_OTHER: Final = dict(zip("ɑɡıɩօոսⵔⵏⵅⵝⵡ", "agiionuolxxu", strict=True))
LOOKALIKES: Final = {**_CYRILLIC, **_GREEK, **_SMALL_CAPITALS, **_OTHER}
"""Letters of other scripts that pass for a Latin letter inside a Latin word."""

TWINS: Final = frozenset("АВЕКМНОРСТУХЅІЈԚԜасеорухѕіјԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϲϳօ") | frozenset(_SMALL_CAPITALS)
"""Those that cannot be told from it: a word of these alone is taken for Latin. The others make real words too."""

IN_SQUARES: Final = str.maketrans(
    {
        start + offset: letter
        for start in (0x1F150, 0x1F170, 0x1F1E6)  # white on black circle, on black square, regional indicator
        for offset, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
    }
)
"""Emoji that are letters. Regional indicators are letters only where they make no pair, that is, no flag."""

ARABIC_VARIANTS: Final = str.maketrans({
    "ک": "ك", "ڪ": "ك", "ګ": "گ", "ݣ": "ڭ", "ی": "ي", "ے": "ي", "ې": "ي", "ۍ": "ي", "ێ": "ي", "ہ": "ه", "ھ": "ه",
    "ە": "ه", "ۀ": "ه", "ۃ": "ة", "ۆ": "و", "ۇ": "و", "ۋ": "و", "ټ": "ت", "ٹ": "ت", "ډ": "د", "ڈ": "د", "ړ": "ر",
    "ڑ": "ر", "ښ": "س", "ڼ": "ن", "ں": "ن", "ٱ": "ا", "ٲ": "أ", "ٳ": "إ", "ٵ": "أ", "٪": "%", "۔": ".",
    **{chr(0x0660 + n): str(n) for n in range(10)}, **{chr(0x06F0 + n): str(n) for n in range(10)},
})  # fmt: skip
"""Letters of Persian, Urdu, Pashto and Kurdish keyboards, and Arabic digits, as Moroccans write them."""

ARABIC_SKELETON: Final = str.maketrans({
    "أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ئ": "ي", "ؤ": "و", "ة": "ه", "ء": None, "گ": "ك", "ڭ": "ك", "ݢ": "ك",
    "پ": "ب", "ڤ": "ف", "چ": "ش", "ژ": "ج", "ڨ": "ق", "ٮ": "ب", "ڡ": "ف", "ٯ": "ق", "ٺ": "ت", "ں": "ن",
})  # fmt: skip
"""Letters that careful and careless writers tell apart differently. The hamza alone is left out."""

LATIN_SKELETON: Final = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ɛ": "e", "ɣ": "gh", "ß": "ss", "ð": "d", "þ": "th"}
)

LEET: Final = str.maketrans("0134578@$€!|", "oieastbaseil")
"""Digits and signs read as the Latin letter they look like."""

ELISION: Final = "'\u2019\u2018\u02bc\u02bb`\u00b4\uff07"
"""Apostrophes: between words in French, after a digit part of an Arabizi letter."""
