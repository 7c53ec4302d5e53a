"""
The signals of a loop in words, for the person alone. Drafts in Arabic and Darija wait for a native reader.

They say what was counted, and judge nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from recsys.clock import to_text
from recsys.types import JsonObject
from recsys.user.state import Reason

SIGNAL_NAMES: Final[Mapping[str, str]] = {
    "a": "much_risk",
    "b": "risk_watched_to_the_end",
    "c": "long_session",
    "d": "many_nights",
    "e": "fewer_topics",
    "f": "looked_for_harm",
    "g": "said_too_much",
    "h": "calm_mode",
}
"""By the letters of policy-spec 4, which the state keeps."""

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "much_risk": {
        "en": "Many of the last videos were about heavy subjects",
        "fr": "Beaucoup des dernières vidéos parlaient de sujets lourds",
        "ar": "كثير من الفيديوهات الأخيرة عن مواضيع ثقيلة",
        "ary": "بزاف د الفيديوهات اللخرين على مواضيع تقيلة",
    },
    "risk_watched_to_the_end": {
        "en": "Videos on heavy subjects were watched to the end more often than others",
        "fr": "Les vidéos sur des sujets lourds ont été vues jusqu'au bout plus souvent que les autres",
        "ar": "شوهدت فيديوهات المواضيع الثقيلة حتى النهاية أكثر من غيرها",
        "ary": "الفيديوهات د المواضيع التقيلة تشافو حتى اللخر كتر من لخرين",
    },
    "long_session": {
        "en": "A long time without a break",
        "fr": "Un long moment sans pause",
        "ar": "وقت طويل دون استراحة",
        "ary": "وقت طويل بلا راحة",
    },
    "many_nights": {
        "en": "Many nights in the last days",
        "fr": "Beaucoup de nuits ces derniers jours",
        "ar": "ليال كثيرة في الأيام الأخيرة",
        "ary": "ليالي بزاف فهاد الأيام",
    },
    "fewer_topics": {
        "en": "Fewer and fewer subjects in the last days",
        "fr": "De moins en moins de sujets ces derniers jours",
        "ar": "مواضيع أقل فأقل في الأيام الأخيرة",
        "ary": "المواضيع ولاو قلال فهاد الأيام",
    },
    "looked_for_harm": {
        "en": "A search or a share that help answers first",
        "fr": "Une recherche ou un partage auxquels l'aide répond d'abord",
        "ar": "بحث أو مشاركة تجيب عنها المساعدة أولا",
        "ary": "بحث ولا مشاركة كتجاوب عليهم المساعدة هي الأولى",
    },
    "said_too_much": {
        "en": "You said that it is too much",
        "fr": "Tu as dit que c'est trop",
        "ar": "قلت إن هذا كثير",
        "ary": "قلتي بلي هادشي بزاف",
    },
    "calm_mode": {
        "en": "Calm mode is on",
        "fr": "Le mode calme est activé",
        "ar": "الوضع الهادئ مفعل",
        "ary": "الوضع الهادئ مشعول",
    },
}


def describe_signal(letter: str, languages: Sequence[str]) -> tuple[str, str]:
    """The name of a signal, and its sentence in the first language that has one, else English."""
    name = SIGNAL_NAMES.get(letter, letter)
    texts = TEXTS.get(name, {"en": name})
    return name, next((texts[language] for language in languages if language in texts), texts["en"])


def describe_reason(reason: Reason, languages: Sequence[str]) -> JsonObject:
    """A raise of the level in words."""
    name, text = describe_signal(reason.signal, languages)
    return {"signal": name, "text": text, "at": to_text(reason.at)}
