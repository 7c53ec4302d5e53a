"""Titles and captions of the demo world, composed from the phrase books."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eval.simulation.world.morocco import REGIONS
from recsys.text.phrases import PhraseBook, phrase_book
from recsys.text.transliterate import latin_to_tifinagh

Draws = tuple[float, ...]
"""Seven independent uniform numbers in [0, 1) that decide one item's wording."""

N_DRAWS: Final = 7
_OPENER_CHANCE: Final = 0.55
_TAIL_CHANCE: Final = 0.6
_RISK_TAILS: Final = ("", "…", " 👀", " 🖤", " ‼")
_EDITS: Final = ("{} ✨", "{} (repost)", "🔁 {}", "{} !!", "{}.", "« {} »", "{} 🔥🔥", "{} #fyp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The subject of a title. `family` is set for tier R2; `city` is a town's name in the item's script."""

    language: str
    topic: str
    tier: str
    family: str | None
    city: str


_HASHTAGS: Final[Mapping[str, str]] = {
    "S1": "#دعم #entraide",
    "S2": "#صحة_نفسية #psychologie",
    "S3": "#تنفس #calm",
    "S4": "#أمل #espoir",
    "S5": "#ماشي_حشومة #nostigma",
    "S6": "#عائلة #famille",
    "S7": "#ماشي_بوحدك #together",
    "S8": "#باك #study",
    "S9": "#ديتوكس #screenbreak",
    "S10": "#صبر #resilience",
    "S11": "#فقد #deuil",
    "S12": "#والدين #care",
    "cooking": "#طبخ #cuisine",
    "football": "#كورة #foot",
    "comedy": "#ضحك #humour",
    "music": "#موسيقى #music",
    "city": "#مدينة #citylife",
    "despair": "#حزن #sad",
    "body": "#قبل_وبعد #body",
    "aggression": "#ههه #funny",
    "self_diagnosis": "#اختبار #quiz",
}

CITIES_ABROAD: Final[Mapping[str, tuple[str, str]]] = {
    "EG": ("القاهرة", "Le Caire"),
    "FR": ("باريس", "Paris"),
    "SA": ("الرياض", "Riyad"),
    "AE": ("دبي", "Dubai"),
    "US": ("نيويورك", "New York"),
}
"""Country -> a town in Arabic and in Latin letters."""

_IN_ENGLISH: Final[Mapping[str, str]] = {"Le Caire": "Cairo", "Riyad": "Riyadh"}
"""Town in Latin letters -> its English name, where that is another."""

QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    "ary": ("تنفس", "كيفاش ننعس", "الباك", "طاجين", "كناوة"),
    "ary-Latn": ("kifach nrta7", "stress lbac", "tajine", "rap maghribi"),
    "ar": ("تمارين التنفس", "النوم", "حوار الأسرة", "أخصائي نفسي"),
    "fr": ("respiration", "mieux dormir", "organiser ses révisions", "recette rapide"),
    "en": ("breathing exercise", "sleep better", "study tips", "street music"),
    "zgh": ("ⴰⵀⵡⴰⵛ", "ⵜⵓⵙⵙⵏⴰ"),
    "zgh-Latn": ("ahwac", "takurt", "aɣrum"),
}
"""Language -> neutral things people type into the search box."""


def city_name(language: str, country: str, region: int) -> str:
    """A town near the creator: `region` is an index of `morocco.REGIONS`, or -1 abroad or when unknown."""
    if country in CITIES_ABROAD:
        arabic, latin = CITIES_ABROAD[country]
    else:
        place = REGIONS[max(region, 0)]
        arabic, latin = place.city_ar, place.city
    return arabic if language in ("ar", "ary") else latin


def _choose(options: tuple[str, ...], draw: float) -> str:
    return options[int(draw * len(options))]


def _book(language: str) -> PhraseBook:
    """Amazigh has one book; titles in Tifinagh are its transcription."""
    return phrase_book("zgh-Latn" if language == "zgh" else language)


def _main_phrase(wording: Wording, book: PhraseBook, draw: float) -> str:
    if wording.family is not None:
        return _choose(book.families[wording.family], draw)
    return _choose(book.heavy if wording.tier == "R1" else book.topics[wording.topic], draw)


def _with_opener_and_tail(core: str, wording: Wording, book: PhraseBook, draws: Draws) -> str:
    if wording.family is not None:
        return core + _choose(_RISK_TAILS, draws[3])
    opener = f"{_choose(book.openers, draws[1])} " if draws[2] < _OPENER_CHANCE else ""
    if draws[4] >= _TAIL_CHANCE:
        return opener + core
    tail = _choose(book.tails, draws[3])
    return f"{opener}{core}{'' if tail[0] in '،,' else ' '}{tail}"


_GLOSSES: Final[Mapping[str, str]] = {
    "ar": "gloss-ar", "ary": "gloss-ary", "ary-Latn": "gloss-ary", "fr": "en",
    "zgh": "gloss-zgh-Latn", "zgh-Latn": "gloss-zgh-Latn",
}  # fmt: skip
"""Language -> the book that holds the English of each of its phrases, in the same places."""


def gloss_of(wording: Wording, draws: Draws) -> str | None:
    """
    What the title of `title_of` says in English, for people who read the demo; None for an English title. `city` is the
    town's name in Latin letters. No model reads it.

    >>> wording = Wording(language="ary", topic="S7", tier="R0", family=None, city="Fes")
    >>> gloss_of(wording, (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0))
    'you are not alone, there are people like you'
    """
    if wording.language not in _GLOSSES or wording.tier in ("R3", "R4"):
        return None
    book = phrase_book(_GLOSSES[wording.language])
    core = _main_phrase(wording, book, draws[0])
    return _with_opener_and_tail(core, wording, book, draws).replace(
        "{city}", _IN_ENGLISH.get(wording.city, wording.city)
    )


def title_of(wording: Wording, draws: Draws) -> str:
    """
    A title. Items of tier R3 and R4 get a placeholder, so that nothing harmful stands in the repository.

    >>> title_of(Wording(language="en", topic="S3", tier="R4", family=None, city="Rabat"), (0.0,) * 7)
    '[content withheld: tier R4]'
    """
    if wording.tier in ("R3", "R4"):
        return f"[content withheld: tier {wording.tier}]"
    book = _book(wording.language)
    title = _with_opener_and_tail(_main_phrase(wording, book, draws[0]), wording, book, draws).replace(
        "{city}", wording.city
    )
    return latin_to_tifinagh(title) if wording.language == "zgh" else title


def caption_of(wording: Wording, *, is_moroccan: bool, draws: Draws) -> str:
    """A sentence and hashtags."""
    if wording.tier in ("R3", "R4"):
        return "[placeholder]"
    tags = _HASHTAGS[wording.family or wording.topic] + (" #المغرب #maroc" if is_moroccan else "")
    sentence = _choose(_book(wording.language).captions, draws[5])
    if wording.language == "zgh":
        sentence = latin_to_tifinagh(sentence)
    return f"{sentence} {tags}"


def edit_title(title: str, draw: float) -> str:
    """The title as a re-upload would spell it: the same words with a small change."""
    return _choose(_EDITS, draw).format(title)


def make_distinct(title: str, taken: set[str]) -> str:
    """The title, numbered if another item has it already; adds it to `taken`."""
    number, unique = 1, title
    while unique in taken:
        number += 1
        unique = f"{title} · {number}"
    taken.add(unique)
    return unique
