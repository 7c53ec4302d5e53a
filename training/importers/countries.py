"""English names of countries as codes of ISO 3166-1, from the table that comes with the time zones (tzdata)."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

_OTHER_NAMES: Final = {
    "Bolivia, Plurinational State of": "BO",
    "Brunei Darussalam": "BN",
    "Congo, the Democratic Republic of the": "CD",
    "Cote D'Ivoire": "CI",
    "Czech Republic": "CZ",
    "Czechia": "CZ",
    "Holy See (Vatican City State)": "VA",
    "Iran, Islamic Republic of": "IR",
    "Korea, Democratic People's Republic of": "KP",
    "Korea, Republic of": "KR",
    "Lao People's Democratic Republic": "LA",
    "Libyan Arab Jamahiriya": "LY",
    "Macao": "MO",
    "Macedonia, the Former Yugoslav Republic of": "MK",
    "Micronesia, Federated States of": "FM",
    "Moldova, Republic of": "MD",
    "Palestinian Territory, Occupied": "PS",
    "Russian Federation": "RU",
    "Swaziland": "SZ",
    "Syrian Arab Republic": "SY",
    "Taiwan, Province of China": "TW",
    "Tanzania, United Republic of": "TZ",
    "Turkey": "TR",
    "United Kingdom": "GB",
    "United States Minor Outlying Islands": "UM",
    "Viet Nam": "VN",
}
"""Names of ISO 3166-1, now and before, that differ from the short ones of tzdata."""


def code_of(name: str) -> str | None:
    """`Germany` -> `DE`; None for a name that is no country's."""
    return _codes().get(_plain(name))


@cache
def _codes() -> dict[str, str]:
    text = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text("utf-8")
    pairs = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {_plain(name): code for code, name in pairs} | {_plain(name): code for name, code in _OTHER_NAMES.items()}


def _plain(name: str) -> str:
    """A name without case, articles, accents of apostrophes and punctuation."""
    return re.sub(r"\b(the|and|of)\b|\W+|st\b|saint\b", "", name.casefold().replace("&", ""))
