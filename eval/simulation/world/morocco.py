"""
Morocco as plain data: regions, populations and languages. Nothing here is random.

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


@dataclass(frozen=True, slots=True)
class CensusRegion:
    """
    One region. `population` in people; `amazigh`, `french` and `english` are the shares, in [0, 1], of people
    online who understand the language; `city` is a large town for titles, in Latin and in Arabic letters.
    """

    code: str
    name: str
    population: int
    amazigh: float
    french: float
    english: float
    city: str
    city_ar: str


REGIONS: Final = (
    CensusRegion("MA-01", "Tangier-Tetouan-Al Hoceima", 4_030_222, 0.12, 0.48, 0.24, "Tanger", "طنجة"),
    CensusRegion("MA-02", "Oriental", 2_294_665, 0.32, 0.50, 0.18, "Oujda", "وجدة"),
    CensusRegion("MA-03", "Fes-Meknes", 4_467_911, 0.15, 0.52, 0.20, "Fès", "فاس"),
    CensusRegion("MA-04", "Rabat-Sale-Kenitra", 5_132_639, 0.12, 0.62, 0.28, "Rabat", "الرباط"),
    CensusRegion("MA-05", "Beni Mellal-Khenifra", 2_525_801, 0.40, 0.40, 0.14, "Béni Mellal", "بني ملال"),
    CensusRegion("MA-06", "Casablanca-Settat", 7_688_967, 0.10, 0.60, 0.28, "Casa", "كازا"),
    CensusRegion("MA-07", "Marrakesh-Safi", 4_892_393, 0.28, 0.45, 0.20, "Marrakech", "مراكش"),
    CensusRegion("MA-08", "Draa-Tafilalet", 1_655_623, 0.50, 0.38, 0.14, "Ouarzazate", "ورزازات"),
    CensusRegion("MA-09", "Souss-Massa", 3_020_431, 0.66, 0.45, 0.20, "Agadir", "أكادير"),
    CensusRegion("MA-10", "Guelmim-Oued Noun", 448_685, 0.50, 0.38, 0.14, "Guelmim", "كلميم"),
    CensusRegion("MA-11", "Laayoune-Sakia El Hamra", 451_028, 0.14, 0.35, 0.16, "Laâyoune", "العيون"),
    CensusRegion("MA-12", "Dakhla-Oued Ed-Dahab", 219_965, 0.16, 0.38, 0.18, "Dakhla", "الداخلة"),
)  # fmt: skip
"""In the order of their codes, MA-01 to MA-12."""

DARIJA_SHARE: Final = 0.95  # of people online who understand Darija, in every region
ARABIC_SHARE: Final = 0.80  # who follow Standard Arabic with ease
ARABIZI_SHARE: Final = 0.80  # of Darija speakers who read it in Latin letters
TIFINAGH_SHARE: Final = 0.40  # of Amazigh speakers who also read Tifinagh

LANGUAGE_SCRIPTS: Final[Mapping[str, str]] = MappingProxyType(
    {"ar": "Arab", "ary": "Arab", "ary-Latn": "Latn", "zgh": "Tfng", "zgh-Latn": "Latn", "fr": "Latn", "en": "Latn"}
)

NEUTRAL_TOPICS: Final = ("cooking", "football", "comedy", "music", "city")
"""What the rest of the feed is about; in the tables these items have an empty `topics` list."""

REGION_BY_CODE: Final[Mapping[str, CensusRegion]] = MappingProxyType({region.code: region for region in REGIONS})
