"""The creators of the demo world, at home and abroad."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from eval.simulation.world.morocco import COUNTRY, REGIONS
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import ColumnValues, table_frame
from recsys.clock import DAY
from recsys.columns import CREATORS
from recsys.types import Longs, Reals
from recsys.vocabulary import CREATOR_KINDS, LANGUAGES

COUNTRY_SHARES: Final[Mapping[str, float]] = {
    COUNTRY: 0.45, "FR": 0.19, "EG": 0.15, "US": 0.12, "SA": 0.05, "AE": 0.04,
}  # fmt: skip
"""Where creators live, as shares."""

LANGUAGES_BY_COUNTRY: Final[Mapping[str, Mapping[str, float]]] = {
    COUNTRY: {
        "ary": 0.36, "ary-Latn": 0.16, "ar": 0.11, "fr": 0.17, "zgh-Latn": 0.07, "zgh": 0.07, "en": 0.06,
    },
    "FR": {"fr": 0.76, "ary": 0.08, "ary-Latn": 0.10, "en": 0.06},
    "EG": {"ar": 0.95, "en": 0.05},
    "US": {"en": 0.94, "ar": 0.06},
    "SA": {"ar": 0.90, "en": 0.10},
    "AE": {"ar": 0.70, "en": 0.30},
}  # fmt: skip
"""The first language of the creators of a country, as shares."""

KIND_SHARES: Final = (0.16, 0.10, 0.22, 0.52)  # in the order of CREATOR_KINDS
VERIFIED_SHARES: Final = (0.80, 0.90, 0.15, 0.20)
_MEDIAN_FOLLOWERS: Final = {True: 3_000, False: 30_000}  # by "lives in Morocco"
_MAX_FOLLOWERS: Final = 20_000_000
_REGIONS_ABROAD: Final[Mapping[str, tuple[str, ...]]] = {
    "FR": ("FR-IDF", "FR-PAC", "FR-ARA"),
    "EG": ("EG-C", "EG-ALX"),
    "US": ("US-CA", "US-NY", "US-TX"),
    "SA": ("SA-01", "SA-02"),
    "AE": ("AE-DU", "AE-AZ"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreatorTruth:
    """
    The truth about n creators, from which the catalogue is made. `country` (n,) codes, `region` (n,) an index of
    `morocco.REGIONS` or -1, `region_code` (n,) or None. `first` and `second` (n,): the two languages, indices of
    `vocabulary.LANGUAGES`. `kind` (n,) an index of `CREATOR_KINDS`, `quality` (n,), `followers` (n,).
    """

    country: list[str]
    region: Longs
    region_code: list[str | None]
    first: Longs
    second: Longs
    kind: Longs
    quality: Reals
    followers: Longs


def quota(shares: Mapping[str, float], n: int, rng: np.random.Generator) -> list[str]:
    """n names in these proportions (largest remainders), shuffled: small worlds keep every share."""
    names, exact = list(shares), np.array(list(shares.values())) / sum(shares.values()) * n
    counts = np.floor(exact).astype(np.int64)
    rounded_up = np.argsort(-(exact - counts), kind="stable")[: n - int(counts.sum())]
    counts[rounded_up] += 1
    return [names[i] for i in rng.permutation(np.repeat(np.arange(len(names)), counts))]


def _languages(countries: list[str], rng: np.random.Generator) -> tuple[Longs, Longs]:
    """The first and second language of each creator; the second may be the first."""
    first = np.zeros(len(countries), np.int64)
    second = np.zeros(len(countries), np.int64)
    for country, shares in LANGUAGES_BY_COUNTRY.items():
        rows = np.flatnonzero(np.array(countries) == country)
        for column in (first, second):
            column[rows] = [LANGUAGES.index(code) for code in quota(shares, len(rows), rng)]
    return first, second


def _regions(countries: list[str], first: Longs, rng: np.random.Generator) -> tuple[Longs, list[str | None]]:
    """Amazigh speakers live where Amazigh is spoken; a creator abroad has a region half of the time."""
    people = np.array([r.population for r in REGIONS], np.float64)
    amazigh = people * np.array([r.amazigh for r in REGIONS])
    region = np.full(len(countries), -1, np.int64)
    codes: list[str | None] = []
    for row, country in enumerate(countries):
        if country == COUNTRY:
            weights = amazigh if LANGUAGES[first[row]].startswith("zgh") else people
            region[row] = rng.choice(len(REGIONS), p=weights / weights.sum())
            codes.append(REGIONS[region[row]].code)
        else:
            codes.append(str(rng.choice(_REGIONS_ABROAD[country])) if rng.random() < 0.5 else None)
    return region, codes


def make_creators(params: WorldParams, rng: np.random.Generator) -> tuple[pl.DataFrame, CreatorTruth]:
    """The creators table and the truth behind it."""
    n = params.n_creators
    country = quota(COUNTRY_SHARES, n, rng)
    first, second = _languages(country, rng)
    region, codes = _regions(country, first, rng)
    kind = rng.choice(len(CREATOR_KINDS), n, p=KIND_SHARES)
    median = np.array([_MEDIAN_FOLLOWERS[c == COUNTRY] for c in country])
    followers = np.minimum(median * rng.lognormal(0, 1.8, n), _MAX_FOLLOWERS).astype(np.int64)
    columns: dict[str, ColumnValues] = {
        "creator_id": [f"c{row + 1:04d}" for row in range(n)],
        "country": country,
        "region": codes,
        "languages": [list(dict.fromkeys((LANGUAGES[a], LANGUAGES[b]))) for a, b in zip(first, second, strict=True)],
        "kind": [CREATOR_KINDS[k] for k in kind],
        "verified": rng.random(n) < np.array(VERIFIED_SHARES)[kind],
        "followers": followers,
        "joined_at": params.ends_at - (rng.uniform(125, 1_500, n) * DAY).astype(np.int64),
    }
    truth = CreatorTruth(
        country=country,
        region=region,
        region_code=codes,
        first=first,
        second=second,
        kind=kind,
        quality=rng.normal(0, 0.5, n),
        followers=followers,
    )
    return table_frame(CREATORS, columns), truth
