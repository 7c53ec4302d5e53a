"""The people of the demo world: where they live, what they understand, and the hidden traits behind behaviour."""

from typing import Final

import numpy as np
import polars as pl

from eval.simulation.world.morocco import (
    ARABIC_SHARE,
    ARABIZI_SHARE,
    COUNTRY,
    DARIJA_SHARE,
    NEUTRAL_TOPICS,
    REGION_BY_CODE,
    REGIONS,
    TIFINAGH_SHARE,
)
from eval.simulation.world.params import DEMO_PEOPLE, WorldParams
from eval.simulation.world.truth import TRUE_TOPICS, PeopleTruth, table_frame
from recsys.clock import DAY
from recsys.columns import USERS
from recsys.types import Longs, Mask, Reals
from recsys.vocabulary import LANGUAGES

STYLE_SIZE: Final = 6
DIASPORA_SHARE: Final = 0.04
_AGE_SHARES: Final = (("under_13", 0.01), ("13-15", 0.10), ("unknown", 0.04), ("16-17", 0.09), ("18+", 0.76))
_LANGUAGE_INDEX: Final[dict[str, int]] = {code: index for index, code in enumerate(LANGUAGES)}


def _understood_languages(home: Longs, is_abroad: Mask, rng: np.random.Generator) -> Mask:
    """(n, 7) which languages each person understands."""
    draws = rng.random((len(home), len(LANGUAGES)))
    shares = np.array([(r.amazigh, r.french, r.english) for r in REGIONS])[home]
    understood = np.zeros((len(home), len(LANGUAGES)), np.bool_)
    understood[:, _LANGUAGE_INDEX["ary"]] = draws[:, 0] < DARIJA_SHARE
    understood[:, _LANGUAGE_INDEX["ary-Latn"]] = understood[:, _LANGUAGE_INDEX["ary"]] & (draws[:, 1] < ARABIZI_SHARE)
    understood[:, _LANGUAGE_INDEX["ar"]] = draws[:, 2] < np.where(is_abroad, 0.4, ARABIC_SHARE)
    understood[:, _LANGUAGE_INDEX["zgh-Latn"]] = draws[:, 3] < shares[:, 0]
    understood[:, _LANGUAGE_INDEX["zgh"]] = understood[:, _LANGUAGE_INDEX["zgh-Latn"]] & (draws[:, 4] < TIFINAGH_SHARE)
    understood[:, _LANGUAGE_INDEX["fr"]] = is_abroad | (draws[:, 5] < shares[:, 1])
    understood[:, _LANGUAGE_INDEX["en"]] = draws[:, 6] < shares[:, 2]
    understood[~understood.any(axis=1), _LANGUAGE_INDEX["ary"]] = True
    return understood


def _first_languages(understood: Mask, is_abroad: Mask, rng: np.random.Generator) -> Longs:
    draw = rng.random(len(understood))
    first = np.where(understood[:, _LANGUAGE_INDEX["ary"]], _LANGUAGE_INDEX["ary"], understood.argmax(axis=1))
    amazigh = understood[:, _LANGUAGE_INDEX["zgh-Latn"]] & (draw < 0.45)
    french = understood[:, _LANGUAGE_INDEX["fr"]] & (draw > np.where(is_abroad, 0.5, 0.9))
    first = np.where(amazigh, _LANGUAGE_INDEX["zgh-Latn"], first)
    return np.where(french, _LANGUAGE_INDEX["fr"], first).astype(np.int64)


def _traits(params: WorldParams, ages: list[str], rng: np.random.Generator) -> tuple[Reals, Reals, Reals]:
    """Distress, local affinity and the share of visits at night, (n,) each."""
    n = params.n_users
    chance = params.distressed_share * np.where(np.array(ages) == "18+", 1.0, 1.5)
    is_distressed = rng.random(n) < chance
    distress = np.where(is_distressed, rng.uniform(0.6, 1.0, n), rng.uniform(0, 0.3, n))
    affinity = params.local_affinity * rng.gamma(4.0, 0.25, n)
    night = np.clip(rng.beta(1.2, 10, n) + 0.25 * is_distressed, 0, 0.8)
    return distress, affinity, night


def _age_sources(ages: list[str], rng: np.random.Generator) -> list[str]:
    """Adults are verified, so that the demo can serve them as adults; of the minors only half are."""
    sources = rng.choice(("verified", "declared", "none"), size=len(ages), p=(0.5, 0.35, 0.15))
    fixed = {"18+": "verified", "unknown": "none"}
    return [fixed.get(age, str(source)) for age, source in zip(ages, sources, strict=True)]


def _guardians(ids: list[str], ages: list[str], home: Longs, rng: np.random.Generator) -> list[str | None]:
    """Four minors in ten have a guardian: an adult of the same region, where there is one."""
    adults = np.flatnonzero(np.array(ages) == "18+")
    is_minor = np.isin(np.array(ages), ("under_13", "13-15", "16-17"))
    guardians: list[str | None] = [None] * len(ids)
    for row in np.flatnonzero(is_minor & (rng.random(len(ids)) < 0.4)):
        near = adults[home[adults] == home[row]]
        if len(near):
            guardians[row] = ids[int(rng.choice(near))]
    return guardians


def _language_lists(understood: Mask, first: Longs) -> list[list[str]]:
    """The languages of each person, the first language first."""
    return [
        [LANGUAGES[start], *(LANGUAGES[i] for i in np.flatnonzero(row) if i != start)]
        for row, start in zip(understood, first, strict=True)
    ]


def _place_demo_people(columns: dict[str, list[object]], people: PeopleTruth) -> None:
    """Writes the fixed people of the demo over the first rows, in place."""
    for row, person in enumerate(DEMO_PEOPLE):
        fixed = {
            "user_id": person.user_id,
            "country": COUNTRY,
            "region": person.region,
            "languages": list(person.languages),
            "age_band": person.age_band,
            "age_source": "verified",
            "consent": True,
            "guardian_id": person.guardian_id,
        }
        for name, value in fixed.items():
            columns[name][row] = value
        people.understands[row] = [code in person.languages for code in LANGUAGES]
        people.first_language[row] = _LANGUAGE_INDEX[person.languages[0]]
        people.distress[row] = person.distress
        people.home_region[row] = list(REGION_BY_CODE).index(person.region)
        people.is_adult[row] = person.age_band == "18+"
        people.activity[row] = 6.0
        people.night[row] = 0.1


def make_people(params: WorldParams, rng: np.random.Generator) -> tuple[pl.DataFrame, PeopleTruth]:
    """The users table and the traits behind it; the first rows are `DEMO_PEOPLE`."""
    n = params.n_users
    population = np.array([r.population for r in REGIONS], np.float64)
    home = rng.choice(len(REGIONS), n, p=population / population.sum())
    is_abroad = rng.random(n) < DIASPORA_SHARE
    understood = _understood_languages(home, is_abroad, rng)
    first = _first_languages(understood, is_abroad, rng)
    ages = [str(a) for a in rng.choice([a for a, _ in _AGE_SHARES], size=n, p=[share for _, share in _AGE_SHARES])]
    ages[: len(DEMO_PEOPLE)] = [person.age_band for person in DEMO_PEOPLE]
    distress, affinity, night = _traits(params, ages, rng)
    lean = np.where(np.isin(TRUE_TOPICS, NEUTRAL_TOPICS), 0.5, 0.0)
    people = PeopleTruth(
        topic_taste=rng.normal(size=(n, len(TRUE_TOPICS))) + lean,
        style=rng.normal(size=(n, STYLE_SIZE)),
        understands=understood,
        first_language=first,
        local_affinity=affinity,
        distress=distress,
        home_region=home,
        is_adult=np.array(ages) == "18+",
        activity=rng.lognormal(0, 0.8, n),
        night=night,
    )
    ids = [f"u{row + 1:04d}" for row in range(n)]
    ids[: len(DEMO_PEOPLE)] = [person.user_id for person in DEMO_PEOPLE]
    abroad = rng.choice(("FR-IDF", "FR-PAC", "FR-ARA"), n)
    columns: dict[str, list[object]] = {
        "user_id": list(ids),
        "country": ["FR" if away else COUNTRY for away in is_abroad],
        "region": [str(abroad[i]) if is_abroad[i] else REGIONS[home[i]].code for i in range(n)],
        "languages": list(_language_lists(understood, first)),
        "age_band": list(ages),
        "age_source": list(_age_sources(ages, rng)),
        "joined_at": (params.starts_at - (rng.uniform(2, 900, n) * DAY).astype(np.int64)).tolist(),
        "consent": (rng.random(n) < 0.96).tolist(),
        "guardian_id": list(_guardians(ids, ages, home, rng)),
    }
    _place_demo_people(columns, people)
    return table_frame(USERS, columns), people
