"""
Why an item is on a page, as codes and sentences. Drafts in Arabic and Darija wait for a native reader.

Reasons say what the ranker knows; they never name a tier, a topic of distress or another person.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from recsys.messages import Reason

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "local_region": {
        "en": "From your region", "fr": "De ta région", "ar": "من جهتك", "ary": "من الجهة ديالك",
    },
    "local_neighbour": {
        "en": "From a region next to yours", "fr": "D'une région voisine", "ar": "من جهة مجاورة",
        "ary": "من جهة قريبة ليك",
    },
    "local_country": {
        "en": "From a creator in your country", "fr": "D'une créatrice ou d'un créateur de ton pays",
        "ar": "من صانع محتوى في بلدك", "ary": "من صانع محتوى فبلادك",
    },
    "local_speech": {
        "en": "In your dialect", "fr": "Dans ta langue parlée", "ar": "بلهجتك", "ary": "بلهجتك",
    },
    "similar_people": {
        "en": "People with tastes like yours valued it", "fr": "Apprécié par des personnes aux goûts proches",
        "ar": "أعجب أشخاصا يشبهونك في الذوق", "ary": "عجب ناس عندهم نفس الذوق",
    },
    "similar_content": {
        "en": "Close to videos you valued", "fr": "Proche de vidéos que tu as appréciées",
        "ar": "قريب من فيديوهات أعجبتك", "ary": "قريب لفيديوهات عجبوك",
    },
    "popular": {
        "en": "Valued by many in your country", "fr": "Apprécié dans ton pays", "ar": "محبوب في بلدك",
        "ary": "عاجب الناس فبلادك",
    },
    "fresh": {"en": "New", "fr": "Nouveau", "ar": "جديد", "ary": "جديد"},
    "followed_creator": {
        "en": "You follow this creator", "fr": "Tu suis cette personne", "ar": "أنت تتابع صاحبه",
        "ary": "نتا متابع مول الفيديو",
    },
    "supportive": {
        "en": "Kept in every feed: support and skills", "fr": "Présent dans chaque fil : soutien et ressources",
        "ar": "حاضر في كل صفحة: دعم ومهارات", "ary": "كاين ديما: دعم ومهارات",
    },
    "exploration": {
        "en": "Something new to try", "fr": "Une découverte", "ar": "شيء جديد للتجربة", "ary": "حاجة جديدة تجربها",
    },
    "related": {
        "en": "Close to the video you opened", "fr": "Proche de la vidéo ouverte", "ar": "قريب من الفيديو المفتوح",
        "ary": "قريب للفيديو اللي حليتي",
    },
    "search": {
        "en": "Matches your search", "fr": "Correspond à ta recherche", "ar": "يطابق بحثك", "ary": "كيوافق البحث ديالك",
    },
    "listed": {"en": "From the list given", "fr": "De la liste fournie", "ar": "من القائمة", "ary": "من اللائحة"},
    "safe": {
        "en": "From the safe list", "fr": "De la liste sûre", "ar": "من القائمة الآمنة", "ary": "من اللائحة الآمنة",
    },
}  # fmt: skip
_BY_MATCH: Final = {
    "region": "local_region",
    "neighbour": "local_neighbour",
    "country": "local_country",
    "dialect": "local_speech",
}
_BY_SOURCE: Final = {
    "followed": "followed_creator",
    "related": "related",
    "search": "search",
    "listed": "listed",
    "cf": "similar_people",
    "content": "similar_content",
    "affinity": "similar_content",
    "fresh": "fresh",
    "trending": "popular",
    "local": "popular",
    "explore": "exploration",
}
MAX_REASONS: Final = 3


def codes(*, sources: Sequence[str], match: str, floor: str, is_exploration: bool, is_supportive: bool) -> list[str]:
    """Up to three codes, the strongest first."""
    return [*_codes(tuple(sources), match, floor, is_exploration, is_supportive)]


@lru_cache(maxsize=4_096)
def _codes(
    sources: tuple[str, ...], match: str, floor: str, is_exploration: bool, is_supportive: bool
) -> tuple[str, ...]:
    reasons = ["exploration"] if is_exploration else []
    reasons += ["supportive"] if floor == "supportive" or (is_supportive and "resources" in sources) else []
    reasons += [_BY_MATCH[match]] if match in _BY_MATCH else []
    reasons += [code for source, code in _BY_SOURCE.items() if source in sources]
    return tuple(dict.fromkeys(reasons))[:MAX_REASONS]


def sentences(reason_codes: Sequence[str], languages: Sequence[str]) -> list[Reason]:
    """Codes with their text in the first language that has one, else English."""
    return [_sentence(code, tuple(languages)) for code in reason_codes]


@lru_cache(maxsize=1_024)
def _sentence(code: str, languages: tuple[str, ...]) -> Reason:
    return Reason(code=code, text=_text(TEXTS[code], languages))


def _text(texts: Mapping[str, str], languages: Sequence[str]) -> str:
    return next((texts[language] for language in languages if language in texts), texts["en"])
