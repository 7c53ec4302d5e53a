"""
Morocco as plain data: regions, populations, languages and the names people read. Nothing here is random.

Region codes are ISO 3166-2:MA (three of them lie wholly or partly in Western Sahara; ISO marks them so).
Populations are the legal population of the 2024 census (HCP, RGPH 2024); they add up to the published total
of 36,828,330. The language shares are rounded guesses in the spirit of the census (Darija 92 %, Amazigh 25 %,
Tachelhit 63 % of Souss-Massa); docs/world.md says which numbers are published and which are assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

COUNTRY: Final = "MA"
ZONE: Final = "Africa/Casablanca"
CENSUS_TOTAL: Final = 36_828_330


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """
    One region. `population` in people; `amazigh`, `french` and `english` are the shares, in [0, 1], of people
    online who understand the language; `city` is a large town for titles, in Arabic and in Latin letters.
    """

    code: str
    en: str
    fr: str
    ar: str
    population: int
    amazigh: float
    french: float
    english: float
    city_ar: str
    city: str


def _region(
    code: str, names: tuple[str, str, str], people: int, shares: tuple[float, float, float], *city: str
) -> Region:
    (en, fr, ar), (amazigh, french, english) = names, shares
    return Region(
        code=code,
        en=en,
        fr=fr,
        ar=ar,
        population=people,
        amazigh=amazigh,
        french=french,
        english=english,
        city_ar=city[0],
        city=city[1],
    )


REGIONS: Final = (
    _region(
        "MA-01",
        ("Tangier-Tetouan-Al Hoceima", "Tanger-Tétouan-Al Hoceïma", "طنجة تطوان الحسيمة"),
        4_030_222,
        (0.12, 0.48, 0.24),
        "طنجة",
        "Tanger",
    ),
    _region("MA-02", ("Oriental", "L'Oriental", "الشرق"), 2_294_665, (0.32, 0.50, 0.18), "وجدة", "Oujda"),
    _region("MA-03", ("Fes-Meknes", "Fès-Meknès", "فاس مكناس"), 4_467_911, (0.15, 0.52, 0.20), "فاس", "Fès"),
    _region(
        "MA-04",
        ("Rabat-Sale-Kenitra", "Rabat-Salé-Kénitra", "الرباط سلا القنيطرة"),
        5_132_639,
        (0.12, 0.62, 0.28),
        "الرباط",
        "Rabat",
    ),
    _region(
        "MA-05",
        ("Beni Mellal-Khenifra", "Béni Mellal-Khénifra", "بني ملال خنيفرة"),
        2_525_801,
        (0.40, 0.40, 0.14),
        "بني ملال",
        "Béni Mellal",
    ),
    _region(
        "MA-06",
        ("Casablanca-Settat", "Casablanca-Settat", "الدار البيضاء سطات"),
        7_688_967,
        (0.10, 0.60, 0.28),
        "كازا",
        "Casa",
    ),
    _region(
        "MA-07",
        ("Marrakesh-Safi", "Marrakech-Safi", "مراكش آسفي"),
        4_892_393,
        (0.28, 0.45, 0.20),
        "مراكش",
        "Marrakech",
    ),
    _region(
        "MA-08",
        ("Draa-Tafilalet", "Drâa-Tafilalet", "درعة تافيلالت"),
        1_655_623,
        (0.50, 0.38, 0.14),
        "ورزازات",
        "Ouarzazate",
    ),
    _region(
        "MA-09",
        ("Souss-Massa", "Souss-Massa", "سوس ماسة"),
        3_020_431,
        (0.66, 0.45, 0.20),
        "أكادير",
        "Agadir",
    ),
    _region(
        "MA-10",
        ("Guelmim-Oued Noun", "Guelmim-Oued Noun", "كلميم واد نون"),
        448_685,
        (0.50, 0.38, 0.14),
        "كلميم",
        "Guelmim",
    ),
    _region(
        "MA-11",
        ("Laayoune-Sakia El Hamra", "Laâyoune-Sakia El Hamra", "العيون الساقية الحمراء"),
        451_028,
        (0.14, 0.35, 0.16),
        "العيون",
        "Laâyoune",
    ),
    _region(
        "MA-12",
        ("Dakhla-Oued Ed-Dahab", "Dakhla-Oued Ed-Dahab", "الداخلة وادي الذهب"),
        219_965,
        (0.16, 0.38, 0.18),
        "الداخلة",
        "Dakhla",
    ),
)
"""In the order of their codes, MA-01 to MA-12."""

DARIJA_SHARE: Final = 0.95  # of people online who understand Darija, in every region
ARABIC_SHARE: Final = 0.80  # who follow Standard Arabic with ease
ARABIZI_SHARE: Final = 0.80  # of Darija speakers who read it in Latin letters
TIFINAGH_SHARE: Final = 0.40  # of Amazigh speakers who also read Tifinagh

LANGUAGE_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "ar": {"en": "Arabic", "fr": "arabe", "ar": "العربية"},
        "ary": {"en": "Darija", "fr": "darija", "ar": "الدارجة"},
        "ary-Latn": {"en": "Darija (Arabizi)", "fr": "darija (lettres latines)", "ar": "الدارجة (عربيزي)"},
        "zgh": {"en": "Amazigh", "fr": "amazighe", "ar": "الأمازيغية"},
        "zgh-Latn": {
            "en": "Amazigh (Latin)",
            "fr": "amazighe (lettres latines)",
            "ar": "الأمازيغية (لاتيني)",
        },
        "fr": {"en": "French", "fr": "français", "ar": "الفرنسية"},
        "en": {"en": "English", "fr": "anglais", "ar": "الإنجليزية"},
    }
)
"""Language code -> the name of the language in English, French and Arabic."""

LANGUAGE_SCRIPTS: Final[Mapping[str, str]] = MappingProxyType(
    {"ar": "Arab", "ary": "Arab", "ary-Latn": "Latn", "zgh": "Tfng", "zgh-Latn": "Latn", "fr": "Latn", "en": "Latn"}
)

TOPIC_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "S1": {"en": "asking for help", "fr": "demander de l'aide", "ar": "طلب المساعدة"},
        "S2": {"en": "understanding the mind", "fr": "psychoéducation", "ar": "التثقيف النفسي"},
        "S3": {"en": "coping, sleep, breathing", "fr": "gérer ses émotions", "ar": "مهارات التأقلم"},
        "S4": {"en": "hope and recovery", "fr": "espoir, rétablissement", "ar": "قصص الأمل والتعافي"},
        "S5": {"en": "against stigma", "fr": "contre la stigmatisation", "ar": "محاربة الوصم"},
        "S6": {"en": "talking at home", "fr": "dialogue en famille", "ar": "حوار الأسرة"},
        "S7": {"en": "loneliness and belonging", "fr": "lien social", "ar": "الوحدة والانتماء"},
        "S8": {"en": "study and work stress", "fr": "stress études, travail", "ar": "ضغط الدراسة والعمل"},
        "S9": {"en": "mindful screen use", "fr": "usage réfléchi des écrans", "ar": "استعمال واع للشاشات"},
        "S10": {"en": "resilience and meaning", "fr": "résilience", "ar": "الصمود والمعنى"},
        "S11": {"en": "grief and loss", "fr": "deuil", "ar": "الفقد والحداد"},
        "S12": {"en": "stages of life, carers", "fr": "âges de la vie, aidants", "ar": "مراحل الحياة والرعاية"},
    }
)
"""Supportive topic -> its short name in English, French and Arabic (policy topics S1 to S12)."""

NEUTRAL_TOPICS: Final = ("cooking", "football", "comedy", "music", "city")
"""What the rest of the feed is about; in the tables these items have an empty `topics` list."""

FAMILY_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "despair": {"en": "hopelessness", "fr": "désespoir", "ar": "اليأس"},
        "body": {"en": "body comparison", "fr": "comparaison des corps", "ar": "مقارنة الأجساد"},
        "aggression": {"en": "ridicule", "fr": "moquerie", "ar": "السخرية"},
        "self_diagnosis": {"en": "self-diagnosis", "fr": "autodiagnostic", "ar": "التشخيص الذاتي"},
        "unlabelled": {"en": "not labelled yet", "fr": "pas encore évalué", "ar": "لم يُصنَّف بعد"},
    }
)

COUNTRY_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "MA": {"en": "Morocco", "fr": "Maroc", "ar": "المغرب"},
        "EG": {"en": "Egypt", "fr": "Égypte", "ar": "مصر"},
        "FR": {"en": "France", "fr": "France", "ar": "فرنسا"},
        "SA": {"en": "Saudi Arabia", "fr": "Arabie saoudite", "ar": "السعودية"},
        "AE": {"en": "United Arab Emirates", "fr": "Émirats arabes unis", "ar": "الإمارات"},
        "US": {"en": "United States", "fr": "États-Unis", "ar": "الولايات المتحدة"},
    }
)

REGION_BY_CODE: Final[Mapping[str, Region]] = MappingProxyType({region.code: region for region in REGIONS})


def region_name(code: str | None, language: str = "en") -> str:
    """The name of a Moroccan region in `en`, `fr` or `ar`; any other code comes back as it is, None as ""."""
    region = REGION_BY_CODE.get(code or "")
    if region is None:
        return code or ""
    return {"fr": region.fr, "ar": region.ar}.get(language, region.en)
