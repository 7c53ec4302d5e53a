"""
Why an item is on a page, or is not, in sentences for the person. Drafts in Arabic and Darija wait for a native reader.

They name no tier, no topic of distress and no other person, and round every number.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from recsys.feed.reasons import TEXTS as REASONS
from recsys.types import Fields

Texts = Mapping[str, str]
MAX_PARTS: Final = 3
_LEAST: Final = 0.005  # a contribution that would be printed as 0

SENTENCES: Final[Mapping[str, Texts]] = {
    "shown": {
        "en": "It stands at place {position} of the page.", "fr": "Elle est à la place {position} de la page.",
        "ar": "مكانه {position} في الصفحة.", "ary": "البلاصة ديالو فالصفحة هي {position}.",
    },
    "not_shown": {
        "en": "It is not on the page.", "fr": "Elle n'est pas sur la page.", "ar": "ليس في الصفحة.",
        "ary": "ماكاينش فالصفحة.",
    },
    "reasons": {
        "en": "Why: {listed}.", "fr": "Pourquoi : {listed}.", "ar": "السبب: {listed}.", "ary": "علاش: {listed}.",
    },
    "parts": {
        "en": "What counted most for its place: {listed}.", "fr": "Ce qui a le plus compté : {listed}.",
        "ar": "ما أثر أكثر في مكانه: {listed}.", "ary": "اللي حسب كتر فالبلاصة ديالو: {listed}.",
    },
    "without": {
        "en": "Without this it would have stood at place {position}.",
        "fr": "Sans cela, elle aurait été à la place {position}.",
        "ar": "لولا ذلك لكان في المكان {position}.", "ary": "بلا هادشي كان غيكون فالبلاصة {position}.",
    },
    "hidden": {
        "en": "It was taken down.", "fr": "Elle a été retirée.", "ar": "أزيل الفيديو.", "ary": "الفيديو تحيد.",
    },
    "published": {
        "en": "It is not published yet.", "fr": "Elle n'est pas encore publiée.", "ar": "لم ينشر بعد.",
        "ary": "باقي ما تنشر.",
    },
    "tier": {
        "en": "The rules of this country show it to nobody in your situation.",
        "fr": "Les règles de ce pays ne la montrent à personne dans ta situation.",
        "ar": "قواعد هذا البلد لا تعرضه لأحد في وضعك.", "ary": "القواعد د هاد البلاد ما كيوريوهش للي فحالك.",
    },
    "unlabelled": {
        "en": "Nobody has reviewed it yet.", "fr": "Personne ne l'a encore vérifiée.", "ar": "لم يراجعه أحد بعد.",
        "ary": "باقي ما شافو حتى واحد باش يراجعو.",
    },
    "age": {
        "en": "It is for older people.", "fr": "Elle est pour des personnes plus âgées.", "ar": "هو لمن هم أكبر سنا.",
        "ary": "هو للي كبر فالعمر.",
    },
    "seen": {
        "en": "You have seen it lately.", "fr": "Tu l'as vue récemment.", "ar": "شاهدته مؤخرا.",
        "ary": "شفتيه هاد الأيام.",
    },
    "excluded": {
        "en": "The request left it out.", "fr": "La demande l'a exclue.", "ar": "استبعده الطلب.", "ary": "الطلب حيدو.",
    },
    "muted": {
        "en": "You muted its creator, its subject or a word of it.",
        "fr": "Tu as masqué sa personne, son sujet ou un de ses mots.",
        "ar": "كتمت صاحبه أو موضوعه أو كلمة منه.", "ary": "سكتي مولاه ولا الموضوع ديالو ولا كلمة فيه.",
    },
    "language": {
        "en": "It is in a language that you do not read.", "fr": "Elle est dans une langue que tu ne lis pas.",
        "ar": "هو بلغة لا تقرأها.", "ary": "هو بلغة ما كتقراهاش.",
    },
    "surface": {
        "en": "It does not belong to this part of the platform.",
        "fr": "Elle n'appartient pas à cette partie de la plateforme.",
        "ar": "لا ينتمي إلى هذا القسم من المنصة.", "ary": "ما كيخصش هاد الجهة د المنصة.",
    },
    "duplicate": {
        "en": "The page has a copy of it.", "fr": "La page en a une copie.", "ar": "في الصفحة نسخة منه.",
        "ary": "كاينة نسخة منو فالصفحة.",
    },
    "creator_spacing": {
        "en": "Its creator already has a share of these videos.",
        "fr": "Cette personne a déjà sa part de ces vidéos.",
        "ar": "لصاحبه حصته من هذه الفيديوهات.", "ary": "مولاه عندو الحصة ديالو فهاد الفيديوهات.",
    },
    "cap": {
        "en": "A limit for videos of this kind is reached.",
        "fr": "Une limite pour ce genre de vidéos est atteinte.",
        "ar": "بلغ الحد لهذا النوع من الفيديوهات.", "ary": "توصل الحد د هاد النوع د الفيديوهات.",
    },
    "gap": {
        "en": "A video of this kind came just before.", "fr": "Une vidéo de ce genre est passée juste avant.",
        "ar": "مر فيديو من هذا النوع قبل قليل.", "ary": "داز فيديو من هاد النوع دابا شوية.",
    },
    "floor": {
        "en": "Its place was kept for local or supportive videos.",
        "fr": "Sa place était réservée aux vidéos locales ou de soutien.",
        "ar": "حجز مكانه لفيديوهات محلية أو داعمة.", "ary": "البلاصة ديالو محجوزة لفيديوهات محلية ولا د الدعم.",
    },
    "exploration": {
        "en": "A place of the page was drawn by chance.", "fr": "Une place de la page a été tirée au sort.",
        "ar": "اختير مكان في الصفحة بالصدفة.", "ary": "بلاصة فالصفحة تختارت بالزهر.",
    },
    "outscored": {
        "en": "{n} of the videos on the page suited better.", "fr": "{n} vidéos de la page convenaient mieux.",
        "ar": "{n} من فيديوهات الصفحة أنسب.", "ary": "{n} د الفيديوهات فالصفحة مناسبين كتر.",
    },
    "not_retrieved": {
        "en": "Nothing made it likely enough for you to be considered.",
        "fr": "Rien ne la rendait assez probable pour toi.",
        "ar": "لم يكن ما يرجحه لك بما يكفي.", "ary": "ما كان حتى حاجة كتخليه يتقترح عليك.",
    },
}  # fmt: skip
PARTS: Final[Mapping[str, Texts]] = {
    "cf": {"en": "people with similar tastes", "fr": "des goûts proches", "ar": "أذواق قريبة", "ary": "ناس بحال ذوقك"},
    "content": {
        "en": "close to what you liked", "fr": "proche de ce que tu as aimé", "ar": "قريب مما أعجبك",
        "ary": "قريب من اللي عجبك",
    },
    "popular": {
        "en": "valued around you", "fr": "apprécié autour de toi", "ar": "محبوب حولك",
        "ary": "عاجب الناس حداك",
    },
    "fresh": {"en": "new", "fr": "nouveau", "ar": "جديد", "ary": "جديد"},
    "followed": {
        "en": "you follow the creator", "fr": "tu suis la personne", "ar": "تتابع صاحبه",
        "ary": "متابع مولاه",
    },
    "local": {"en": "near you", "fr": "près de toi", "ar": "قريب منك", "ary": "قريب ليك"},
    "supportive": {
        "en": "support and skills", "fr": "soutien et ressources", "ar": "دعم ومهارات",
        "ary": "دعم ومهارات",
    },
    "complete": {
        "en": "likely to be watched to the end", "fr": "sans doute vue jusqu'au bout", "ar": "يشاهد غالبا حتى النهاية",
        "ary": "غالبا غيتشاف حتى اللخر",
    },
    "like": {"en": "likely to be liked", "fr": "sans doute aimée", "ar": "يعجب غالبا", "ary": "غالبا غيعجب"},
    "helped": {"en": "likely to help", "fr": "sans doute utile", "ar": "ينفع غالبا", "ary": "غالبا غينفع"},
    "share": {"en": "likely to be shared", "fr": "sans doute partagée", "ar": "يشارك غالبا", "ary": "غالبا غيتشارك"},
    "not_interested": {
        "en": "likely to be passed over", "fr": "sans doute passée", "ar": "يتجاوز غالبا", "ary": "غالبا غيتفوت",
    },
    "language": {
        "en": "your mix of languages", "fr": "ton mélange de langues", "ar": "مزيج لغاتك",
        "ary": "الخلطة د اللغات ديالك",
    },
}  # fmt: skip


def language_of(languages: Sequence[str]) -> str:
    """The first of a person's languages that these sentences speak, else English."""
    return next((language for language in languages if language in SENTENCES["shown"]), "en")


def explain_in_words(
    answer: Fields, reason_codes: Sequence[str], languages: Sequence[str], n_better: int | None
) -> list[str]:
    """
    The sentences of an answer of `recsys.services.explain.why`: where it stands, why, and what counted most; or what
    kept it out, and where it would have stood.

    `n_better`: how many items of the page scored higher; None for an item that was no candidate.
    """
    language = language_of(languages)
    if answer["shown"]:
        sentences = [_sentence("shown", language, position=answer["position"])]
        if reason_codes:
            listed = _listed([REASONS[code][language] for code in reason_codes], language)
            sentences.append(_sentence("reasons", language, listed=listed))
    else:
        rule = str(answer["removed_by"]).partition(":")[0]
        sentences = [_sentence("not_shown", language)]
        if rule in SENTENCES:
            sentences.append(_sentence(rule, language, n=n_better))
        if n_better is not None and rule != "outscored":
            sentences.append(_sentence("without", language, position=n_better + 1))
    parts = _largest(answer["score_parts"], language)
    return [*sentences, _sentence("parts", language, listed=_listed(parts, language))] if parts else sentences


def _largest(parts: Sequence[Fields], language: str) -> list[str]:
    shares = [(str(part["name"]), float(part["value"] or 0.0) * float(part["weight"])) for part in parts]
    told = [(name, share) for name, share in shares if name in PARTS and abs(share) >= _LEAST]
    told.sort(key=lambda pair: -abs(pair[1]))
    return [f"{PARTS[name][language]} ({_number(share, language)})" for name, share in told[:MAX_PARTS]]


def _number(share: float, language: str) -> str:
    """Two decimals with a sign; a comma where the language writes one."""
    text = f"{share:+.2f}"
    return text if language == "en" else text.replace(".", ",")


def _listed(parts: Sequence[str], language: str) -> str:
    return ("، " if language in ("ar", "ary") else ", ").join(parts)


def _sentence(name: str, language: str, **values: object) -> str:
    return SENTENCES[name][language].format(**values)
