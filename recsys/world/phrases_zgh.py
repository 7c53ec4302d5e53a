"""
Amazigh in Latin letters; the Tifinagh form is its letter-by-letter transcription (`to_tifinagh`).

A small set with simple words, written for this project by someone who does not speak the language well: it gives
the demo script and language variety, and no more. Not yet read by a native speaker.
"""

from typing import Final

OPENERS: Final = (
    "yat tusdidt:",
    "sfldat:",
    "sg wul:",
    "aytma,",
    "ass-ad:",
    "tuttra n wass:",
    "sg {city}:",
)
TAILS: Final = (
    "💚",
    "🌿 s imik",
    ", mad tannim?",
    "(2)",
    ", bḍut-tt d imdukkal",
    ", d ayt {city}",
)
CAPTIONS: Final = (
    "arat-iyi-d mamnk tgam.",
    "tanmmirt nnwn bahra.",
    "s tayri.",
    "ar tanila yaḍn.",
)
TOPICS: Final = {
    "S1": ("ssutr tiwisi, ur d lɛib", "mani ɣ ra taf yan ak isfld"),
    "S2": ("mad igan taguḍi n wul", "amsujji ar issfham"),
    "S3": ("sunfs didi s imik", "mamnk ra tgnt bla tilifun", "ddu imik ɣ brra"),
    "S4": ("tawala n usirm", "mamnk ad ujjiɣ imik s imik"),
    "S5": ("ur d lɛib ad tddut s dar umsujji", "sfld zwar ad tinit"),
    "S6": ("sawl d baba d mma", "imnsi bla tilifun", "tuttra i iwik iḍ-ad"),
    "S7": ("ur tgit waḥduk", "ɣr i umddakkl nnk ass-ad"),
    "S8": ("tiɣri d usunfu", "tawuri bla aẓbbaṛ"),
    "S9": ("imik n tilifun ka", "ass bla tafggagt"),
    "S10": ("ṣṣbr d tazmrt", "awal n jdda", "tazzla ɣ tifawin"),
    "S11": ("umarg n imddukkal", "yaɣ-iyi umarg n jddi"),
    "S12": ("tamaṭṭut d tarwa", "tamɣart d tawja nns", "tamazirt d lɣurbt"),
    "cooking": ("ṭajin n ixuḍrtn", "aɣrum n tgmmi", "taknift s uḍil"),
    "football": ("takurt ɣ {city}", "man yan ra irnu?"),
    "comedy": ("amucc inu d taẓrbit", "iggi n ṭaksi", "mma ar iyi taqra"),
    "music": ("ṛṛibab ɣ {city}", "ahwac n tmazirt", "tizlit taqdimt"),
    "city": ("amuddu ɣ {city}", "ssuq n {city}", "anẓar ɣ {city}"),
}
HEAVY: Final = (
    "awal f tguḍi iɣzzifn",
    "mad iḍran ɣ tinml",
    "inɣmisn iẓẓayn",
)
FAMILIES: Final = {
    "despair": ("ur sul illi usirm", "rmiɣ sg taḍsa", "iḍ iɣzzif d wul iẓẓay"),
    "body": ("man tan ifulkin uggar?", "max ur giɣ zund ntni"),
    "aggression": ("ẓrat mamnk ar yalla hhh", "ṭṣat f urgaz-ad"),
    "self_diagnosis": ("smmus n imatarn n tmaḍunt", "rar f kraḍ n tuttriwin tissnt tamaḍunt nnk"),
}

_PAIRS: Final = {
    "a": "ⴰ", "b": "ⴱ", "c": "ⵛ", "d": "ⴷ", "ḍ": "ⴹ", "e": "ⴻ", "ɛ": "ⵄ", "f": "ⴼ", "g": "ⴳ", "ɣ": "ⵖ",
    "h": "ⵀ", "ḥ": "ⵃ", "i": "ⵉ", "j": "ⵊ", "k": "ⴽ", "l": "ⵍ", "m": "ⵎ", "n": "ⵏ", "o": "ⵓ", "p": "ⵒ",
    "q": "ⵇ", "r": "ⵔ", "ṛ": "ⵕ", "s": "ⵙ", "ṣ": "ⵚ", "t": "ⵜ", "ṭ": "ⵟ", "u": "ⵓ", "v": "ⵠ", "w": "ⵡ",
    "x": "ⵅ", "y": "ⵢ", "z": "ⵣ", "ẓ": "ⵥ", "é": "ⴻ", "è": "ⴻ", "â": "ⴰ",
}  # fmt: skip
_TIFINAGH: Final = str.maketrans(_PAIRS)


def to_tifinagh(text: str) -> str:
    """Latin letters to Tifinagh, one for one; everything that is not a letter stays."""
    return text.lower().translate(_TIFINAGH)
