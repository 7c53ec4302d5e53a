"""The videos of the demo world: topics, tiers, near-duplicates, labels and words."""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl

from eval.simulation.world.creators import CreatorTruth
from eval.simulation.world.morocco import COUNTRY, LANGUAGE_SCRIPTS
from eval.simulation.world.params import WorldParams
from eval.simulation.world.people import STYLE_SIZE
from eval.simulation.world.titles import (
    N_DRAWS,
    Wording,
    caption_of,
    city_name,
    edit_title,
    gloss_of,
    make_distinct,
    title_of,
)
from eval.simulation.world.truth import N_SUPPORTIVE, TRUE_TOPICS, ColumnValues, ItemTruth, table_frame
from recsys.clock import DAY, HOUR
from recsys.columns import ITEMS
from recsys.types import Longs
from recsys.vocabulary import FAMILIES, LANGUAGES, TIERS, TOPICS

TIER_SHARES: Final = (0.785, 0.085, 0.11, 0.015, 0.005)  # R0 to R4
AGE_DAYS: Final = 120  # the oldest video
UNHASHED: Final = 0.1  # share of uploads of which the platform sends no hash
NEW_SHARE: Final = 0.02  # published in the last two days, beside those that fall there anyway

_RISK_BY_KIND: Final = (0.15, 0.1, 0.7, 1.0)  # professional, organisation, peer, creator: who makes heavy content
_SUPPORTIVE_BY_KIND: Final = (0.9, 0.9, 0.65, 0.3)  # chance that an R0 video is on a supportive topic
_TOPIC_WEIGHTS: Final = np.array(
    (
        (2, 4, 3, 0.6, 1.5, 1.5, 0.8, 1.5, 1, 0.6, 0, 1),  # professional
        (3, 2, 1.5, 1, 2, 1.5, 1, 1, 1, 1, 0, 1.5),  # organisation
        (1.5, 0.5, 1.5, 2.5, 2, 1, 2, 1.5, 1, 1.5, 0, 1),  # peer
        (0.7, 0.4, 1.5, 1, 1, 1, 1.5, 2, 1.5, 2.5, 0, 1),  # creator
    )
)
"""How often each kind of creator speaks of S1 to S12 in an R0 video; grief (S11) is R1 always."""

_HEAVY_TOPICS: Final = ("S11", "S11", "S4", "S5", "S2", "S12")
_RISKY_TOPICS: Final = {
    "despair": ("S7", "S11", "music"),
    "body": ("S10", "cooking", "city"),
    "aggression": ("comedy", "football"),
    "self_diagnosis": ("S2", "S3"),
}
"""Family -> what such a video looks like it is about: risk hides next to harmless topics."""
_FAMILY_SHARES: Final = {"despair": 0.4, "body": 0.22, "aggression": 0.2, "self_diagnosis": 0.18}
_DIALECTS: Final = {"EG": "arz", "SA": "ars", "AE": "afb"}
_AMAZIGH_DIALECTS: Final = {"MA-01": "rif", "MA-02": "rif", "MA-09": "shi", "MA-10": "shi", "MA-07": "shi"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Draft:
    """The catalogue before its texts: the truth, the row of each video's creator, and when it was published."""

    truth: ItemTruth
    creator: Longs
    published_at: Longs


def _tiers(kind: Longs, rng: np.random.Generator) -> Longs:
    """(n,) tiers in exactly the stated shares; heavy content comes more often from some kinds of creator."""
    calm = rng.exponential(size=len(kind)) / np.array(_RISK_BY_KIND)[kind]
    bounds = np.round(np.cumsum(TIER_SHARES[::-1])[:-1] * len(kind)).astype(np.int64)
    tiers = np.empty(len(kind), np.int64)
    tiers[np.argsort(calm, kind="stable")] = 4 - np.searchsorted(bounds, np.arange(len(kind)), side="right")
    return tiers


def _draw_topic(tier: int, kind: int, family: int, rng: np.random.Generator) -> str:
    if tier == 0 and rng.random() < _SUPPORTIVE_BY_KIND[kind]:
        return str(rng.choice(TOPICS, p=_TOPIC_WEIGHTS[kind] / _TOPIC_WEIGHTS[kind].sum()))
    if tier == 0:
        return str(rng.choice(TRUE_TOPICS[N_SUPPORTIVE:]))
    return str(rng.choice(_HEAVY_TOPICS if tier == 1 else _RISKY_TOPICS[FAMILIES[family]]))


def _draft(params: WorldParams, creators: CreatorTruth, rng: np.random.Generator) -> _Draft:
    n = params.n_items
    weights = rng.lognormal(0, 0.7, len(creators.kind))
    creator = rng.choice(len(weights), n, p=weights / weights.sum())
    tier = _tiers(creators.kind[creator], rng)
    families, chances = list(_FAMILY_SHARES), list(_FAMILY_SHARES.values())
    family = np.where(tier >= 2, rng.choice(len(families), n, p=chances), -1)
    topic = np.array(
        [
            TRUE_TOPICS.index(_draw_topic(int(t), int(k), int(f), rng))
            for t, k, f in zip(tier, creators.kind[creator], family, strict=True)
        ]
    )
    has_second = (tier == 0) & (topic < N_SUPPORTIVE) & (rng.random(n) < 0.25)
    second = rng.choice(10, n)  # S1 to S10
    uses_first = rng.random(n) < 0.85
    age = rng.uniform(1 * HOUR, AGE_DAYS * DAY, n)
    age = np.where(rng.random(n) < NEW_SHARE, rng.uniform(1 * HOUR, 2 * DAY, n), age)
    truth = ItemTruth(
        topic=topic,
        second_topic=np.where(has_second & (second != topic), second, -1),
        tier=tier,
        family=family,
        quality=creators.quality[creator] + rng.normal(0, 0.7, n),
        style=rng.normal(size=(n, STYLE_SIZE)),
        language=np.where(uses_first, creators.first[creator], creators.second[creator]),
        is_moroccan=np.array(creators.country)[creator] == COUNTRY,
        region=creators.region[creator],
        duration_s=np.clip(rng.lognormal(np.log(32), 0.5, n), 6, 90).astype(np.float64).round(1),
        group=np.arange(n),
    )
    return _Draft(truth=truth, creator=creator, published_at=params.ends_at - age.astype(np.int64))


def _with_near_duplicates(
    params: WorldParams, draft: _Draft, creators: CreatorTruth, rng: np.random.Generator
) -> _Draft:
    """Some rows become re-uploads, by another creator of the same country, of an earlier video of tier R0 to R2."""
    n = params.n_items
    rows = rng.permutation(n)
    copies = rows[: round(n * params.near_duplicate_share)]
    rest = rows[len(copies) :]
    is_source = (draft.truth.tier[rest] <= 2) & (draft.published_at[rest] < params.ends_at - 2 * DAY)
    sources = rng.choice(rest[is_source], len(copies))
    country = np.array(creators.country)
    creator, published_at = draft.creator.copy(), draft.published_at.copy()
    for copy, source in zip(copies, sources, strict=True):
        others = np.flatnonzero(country == country[creator[source]])
        others = others[others != creator[source]]
        creator[copy] = rng.choice(others) if len(others) else creator[copy]
        latest = params.ends_at - HOUR
        delay = int(rng.uniform(HOUR, 20 * DAY))
        published_at[copy] = min(int(published_at[source]) + delay, latest)
    truth = _copy_rows(draft.truth, copies, sources)
    truth = replace(truth, is_moroccan=country[creator] == COUNTRY, region=creators.region[creator])
    return _Draft(truth=truth, creator=creator, published_at=published_at)


def _copy_rows(truth: ItemTruth, copies: Longs, sources: Longs) -> ItemTruth:
    """The truth in which the rows `copies` show what the rows `sources` show."""
    shows = np.arange(len(truth.topic))
    shows[copies] = sources
    return replace(
        truth,
        topic=truth.topic[shows],
        second_topic=truth.second_topic[shows],
        tier=truth.tier[shows],
        family=truth.family[shows],
        quality=truth.quality[shows],
        style=truth.style[shows],
        language=truth.language[shows],
        duration_s=truth.duration_s[shows],
        group=shows,
    )


def _titles_and_captions(
    draft: _Draft, creators: CreatorTruth, rng: np.random.Generator
) -> tuple[list[str], list[str], list[str | None]]:
    """
    Titles, captions and the English of titles. Originals first, so that a re-upload can edit the title of its original.
    """
    truth, draws = draft.truth, rng.random((len(draft.creator), N_DRAWS))
    titles, captions = [""] * len(draft.creator), [""] * len(draft.creator)
    glosses: list[str | None] = [None] * len(draft.creator)
    taken: set[str] = set()
    is_copy = truth.group != np.arange(len(draft.creator))
    for row in np.argsort(is_copy, kind="stable"):
        language = LANGUAGES[truth.language[row]]
        country, region = creators.country[draft.creator[row]], int(truth.region[row])
        wording = Wording(
            language=language,
            topic=TRUE_TOPICS[truth.topic[row]],
            tier=TIERS[truth.tier[row]],
            family=FAMILIES[truth.family[row]] if truth.family[row] >= 0 else None,
            city=city_name(language, country, region),
        )
        draw = tuple(draws[row].tolist())
        original = titles[truth.group[row]]
        titles[row] = make_distinct(edit_title(original, draw[6]) if is_copy[row] else title_of(wording, draw), taken)
        captions[row] = caption_of(wording, is_moroccan=country == COUNTRY, draws=draw)
        in_latin = replace(wording, city=city_name("en", country, region))
        glosses[row] = glosses[truth.group[row]] if is_copy[row] else gloss_of(in_latin, draw)
    return titles, captions, glosses


def _labels(params: WorldParams, truth: ItemTruth, rng: np.random.Generator) -> dict[str, list[object]]:
    """The risk columns: some videos are not labelled yet (never tier R3 or R4), some labels are unsure."""
    n = len(truth.tier)
    could = np.flatnonzero(truth.tier <= 2)
    unlabelled = set(rng.choice(could, round(n * params.unlabelled_share), replace=False).tolist())
    source = rng.choice(("platform", "partner", "human"), size=n, p=(0.7, 0.2, 0.1))
    confidence = np.where(rng.random(n) < 0.12, rng.uniform(0.5, 0.8, n), rng.uniform(0.8, 1, n))
    is_plain = (source != "platform") & (rng.random(n) < 0.5)  # a person labelled it and gave no number
    columns: dict[str, list[object]] = {
        "risk_tier": [TIERS[t] for t in truth.tier],
        "risk_family": [FAMILIES[f] if f >= 0 else None for f in truth.family],
        "risk_source": [str(s) for s in source],
        "risk_confidence": [
            None if plain else round(float(c), 3) for c, plain in zip(confidence, is_plain, strict=True)
        ],
    }
    for values in columns.values():
        for row in unlabelled:
            values[row] = None
    return columns


def _topics(truth: ItemTruth) -> list[list[str]]:
    return [
        [TOPICS[t] for t in (first, second) if 0 <= t < N_SUPPORTIVE]
        for first, second in zip(truth.topic.tolist(), truth.second_topic.tolist(), strict=True)
    ]


def _dialect(language: str, country: str, region: str | None) -> str | None:
    if language.startswith("ary"):
        return "ary"
    if language.startswith("zgh"):
        return _AMAZIGH_DIALECTS.get(region or "", "tzm")
    return _DIALECTS.get(country) if language == "ar" else None


def _hashes(params: WorldParams, truth: ItemTruth) -> list[str | None]:
    """The platform's hash of each video, the same for its re-uploads; unknown for a tenth of the uploads. Not drawn."""

    def digest(*parts: object) -> bytes:
        return blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()

    return [
        None if digest(params.seed, "is known", row)[0] < UNHASHED * 256 else digest(params.seed, "video", group).hex()
        for row, group in enumerate(truth.group.tolist())
    ]


def make_items(
    params: WorldParams, table: pl.DataFrame, creators: CreatorTruth, rng: np.random.Generator
) -> tuple[pl.DataFrame, ItemTruth, tuple[str | None, ...]]:
    """The items table, the truth behind it, and the English of its titles."""
    draft = _with_near_duplicates(params, _draft(params, creators, rng), creators, rng)
    truth, creator, n = draft.truth, draft.creator, params.n_items
    titles, captions, glosses = _titles_and_captions(draft, creators, rng)
    languages = [LANGUAGES[code] for code in truth.language]
    country, region = [creators.country[m] for m in creator], [creators.region_code[m] for m in creator]
    sounds = rng.integers(0, 200, n)
    has_sound, least_age = rng.random(n) < 0.4, rng.random(n)
    columns: dict[str, ColumnValues] = {
        "item_id": [f"v{row + 1:05d}" for row in range(n)],
        "creator_id": table["creator_id"].gather(creator),
        "published_at": draft.published_at,
        "title": titles,
        "text": captions,
        "language": languages,
        "dialect": [_dialect(*row) for row in zip(languages, country, region, strict=True)],
        "script": [LANGUAGE_SCRIPTS[code] for code in languages],
        "country": country,
        "region": region,
        "topics": _topics(truth),
        "duration_s": truth.duration_s,
        "perceptual_hash": _hashes(params, truth),
        "sound_id": [f"s{s:03d}" if has else None for s, has in zip(sounds, has_sound, strict=True)],
        "min_age": [18 if d < 0.01 else 16 if d < 0.02 else None for d in least_age],
        "is_hidden": rng.random(n) < 0.01,
        **_labels(params, truth, rng),
    }
    return table_frame(ITEMS, columns), truth, tuple(glosses)
