"""
Rows of the store as columns of the catalogue.

What a label or a place means is worked out once for all rows that say the same: a catalogue has a million rows, but a
few thousand of either.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from recsys.catalogue.copies import CopyMemory, keys_of_row, level_of, memory_of
from recsys.catalogue.creators import Creator, EvidencedPlace, creator_place, declared_place, resolve_place
from recsys.columns import LABEL_WAITS, REVIEWED
from recsys.languages import lookup
from recsys.policy.schema import Market, family_number, tier_number
from recsys.stores.protocols import ItemRow
from recsys.text.clusters import Wording
from recsys.types import Columns, Fields, Ids, Rows
from recsys.vocabulary import FAMILIES, TOPICS, TRUSTED_RISK_SOURCES

UNLABELLED_FAMILY: Final = FAMILIES.index("unlabelled")

_NAMES_BY_DTYPE: Final[Mapping[type[np.generic], tuple[str, ...]]] = {
    np.bool_: (
        "exists", "is_hidden", "is_taken_down", "is_labelled", "is_reviewed", "is_held", "has_own_language",
        "is_dialect",
    ),
    np.int8: (
        "own_tier", "own_minor_tier", "own_family", "peak_tier", "tier", "minor_tier", "family", "place_source",
        "region_source", "declared_source",
    ),
    np.int16: (
        "topics", "own_min_age", "min_age", "language", "country", "region", "reviewed_fit", "audience",
        "declared_country", "declared_region", "given_level", "given_minor_level",
    ),
    np.int32: ("creator_row", "row"),
    np.int64: ("creator_no", "published_at", "worded_since"),
    np.uint64: ("hash_key", "creator_text_key", "duration_text_key"),
    np.float32: ("confidence",),
}  # fmt: skip
DTYPES: Final = {name: dtype for dtype, names in _NAMES_BY_DTYPE.items() for name in names}  # of every array (n,)

_SINGLE: Final = (
    "own_min_age", "published_at", "worded_since", "confidence", "hash_key", "creator_text_key", "duration_text_key",
)  # fmt: skip
"""Columns that almost every row has a value of its own in."""


class _Label(NamedTuple):
    """What the values of a label depend on, beside the market."""

    tier: str | None
    source: str | None
    family: str | None
    topics: tuple[str, ...]
    is_sure: bool
    predicted_tier: str | None  # where the model is sure of it
    predicted_family: str | None
    is_review_of_now: bool
    peak_tier: int


class _Place(NamedTuple):
    """What the values of an item's place and language depend on, beside its creator and the market."""

    creator_id: str
    language: str | None
    dialect: str | None
    country: str | None
    region: str | None
    place_source: str | None
    reviewed_fit: str | None
    is_hidden: bool


@dataclass(frozen=True, slots=True, eq=False)
class ReadRows:
    """n rows: `columns` (n,) by the names of `Items`, without those that depend on other rows or the artifact."""

    item_nos: Ids
    columns: Columns
    item_ids: list[str]
    creator_ids: list[str]
    texts: list[str]
    memory: dict[int, CopyMemory]


def read_rows(
    rows: Iterable[ItemRow], market: Market, creators: Mapping[str, Creator], codes: dict[str, int]
) -> ReadRows:
    """
    Rows as columns. `codes` get a number for every new language, country and region. Rows are asked for one by one.
    """
    labels: dict[_Label, int] = {}
    places: dict[_Place, int] = {}
    place_values: list[Fields] = []
    numbers: list[tuple[Any, ...]] = []
    strings: list[tuple[str, str, str]] = []
    memory: dict[int, CopyMemory] = {}
    for row in rows:
        item, wording = row.fields, row.wordings[0]
        place, confidence = _place_of(item), _confidence(item)
        place_no = places.setdefault(place, len(places))
        if place_no == len(place_values):  # in the order of rows, in which codes are numbered
            creator = creators.get(place.creator_id) or Creator(creator_id=place.creator_id)
            place_values.append(_place_values(place, creator, market, codes))
        label_no = labels.setdefault(_label_of(row, confidence, market), len(labels))
        keys = keys_of_row(row, Wording(wording.text_id, wording.n_words))
        min_age = item.get("min_age") or 0
        numbers.append(
            (row.item_no, place_no, label_no, min_age, item["published_at"], wording.since, confidence, *keys)
        )
        strings.append((item["item_id"], item["creator_id"], _search_text(item)))
        if (remembered := memory_of(row, market)) is not None:
            memory[row.item_no] = remembered
    item_nos, of_place, of_label, *single = zip(*numbers, strict=True) if numbers else [()] * (3 + len(_SINGLE))
    columns = {
        **{name: np.array(values, DTYPES[name]) for name, values in zip(_SINGLE, single, strict=True)},
        **_spread(place_values, np.array(of_place, np.intp)),
        **_spread([_label_values(label, market) for label in labels], np.array(of_label, np.intp)),
        "exists": np.ones(len(numbers), np.bool_),
    }
    item_ids, creator_ids, texts = map(list, zip(*strings, strict=True)) if strings else ([], [], [])
    return ReadRows(np.array(item_nos, np.int32), columns, item_ids, creator_ids, texts, memory)


def _spread(values: Sequence[Fields], of_row: Rows) -> Columns:
    """The values of classes as columns of the rows (n,) that belong to them."""
    names = values[0] if values else {}
    return {name: np.array([value[name] for value in values], DTYPES[name])[of_row] for name in names}


def _place_of(item: Fields) -> _Place:
    return _Place(
        item["creator_id"], item.get("language"), item.get("dialect"), item.get("country"), item.get("region"),
        item.get("place_source"), item.get("reviewed_fit"), bool(item.get("is_hidden")),
    )  # fmt: skip


def _place_values(item: _Place, creator: Creator, market: Market, codes: dict[str, int]) -> Fields:
    # people name languages, not dialects: Tashelhit is `zgh` to them, Egyptian is `ar`
    language = _spoken(item.language or item.dialect, market)
    declared = declared_place(item._asdict())
    return {
        **creator_values(
            resolve_place(declared, creator_place(creator)), language, creator, codes, is_down=item.is_hidden
        ),
        "is_taken_down": item.is_hidden,
        "reviewed_fit": _code(codes, item.reviewed_fit),
        "has_own_language": language is not None,
        "is_dialect": not {language, _spoken(item.dialect, market)}.isdisjoint(market.locality.dialects),
        "declared_country": _code(codes, declared.country),
        "declared_region": _code(codes, declared.region),
        "declared_source": declared.source,
        "creator_no": creator_number(item.creator_id),
    }


def _spoken(tag: str | None, market: Market) -> str | None:
    """The language of an item's tag; of several that a tag stands for, the market's dialect: it names the country."""
    if tag is None:
        return None
    possible = lookup(tag, market.language_ranges)
    return next((language for language in possible if language in market.locality.dialects), possible[0])


def creator_values(
    place: EvidencedPlace, language: str | None, creator: Creator, codes: dict[str, int], *, is_down: bool
) -> Fields:
    """The values of a row that depend on its creator's record."""
    return {
        "is_hidden": is_down or creator.is_hidden,
        "language": _code(codes, language or next(iter(creator.languages), None)),
        "country": _code(codes, place.country),
        "region": _code(codes, place.region),
        "place_source": place.source,
        "region_source": place.region_source,
        "audience": _code(codes, creator.audience),
    }


def _confidence(item: Fields) -> float:
    """A missing confidence is 1 from a trusted source and 0 otherwise (policy-spec 0)."""
    confidence: float | None = item.get("risk_confidence")
    if confidence is None:
        return 1.0 if item.get("risk_source") in TRUSTED_RISK_SOURCES else 0.0
    return confidence


def _label_of(row: ItemRow, confidence: float, market: Market) -> _Label:
    """
    A predicted tier counts if its confidence is enough. A person's review counts as one of now if the text was not
    edited since.
    """
    item = row.fields
    is_predicted = (item.get("label_confidence") or 0.0) >= market.label_threshold
    return _Label(
        item.get("risk_tier"), item.get("risk_source"), item.get("risk_family"), tuple(item.get("topics") or ()),
        confidence >= market.label_threshold, item.get("predicted_tier") if is_predicted else None,
        item.get("predicted_family"), item.get("label_version") == REVIEWED and LABEL_WAITS not in item,
        row.peak_tier,
    )  # fmt: skip


def _label_values(label: _Label, market: Market) -> Fields:
    """
    The values that the label decides; in doubt the stricter ones. Grief counts as R1 at least (policy-spec 0). A
    predicted tier may raise a tier, but neither lower nor replace it.
    """
    topics, is_labelled = topic_bits(label.topics), label.tier is not None
    tier = 2 if label.tier is None else tier_number(label.tier)
    if topics & topic_bits([market.grief_topic]):
        tier = max(tier, 1)
    family = family_number(label.family) if is_labelled else UNLABELLED_FAMILY
    minor_tier = min(4, tier + (not label.is_sure))
    is_given = is_labelled and label.source in TRUSTED_RISK_SOURCES
    given = {name: level_of(number, family if tier >= 2 else -1) if is_given else 0
             for name, number in (("given_level", tier), ("given_minor_level", minor_tier))}  # fmt: skip
    predicted = 0 if label.predicted_tier is None else tier_number(label.predicted_tier)
    is_raised = predicted > tier
    if is_raised and (tier < 2 or family < 0):
        family = family_number(label.predicted_family or "unlabelled")
    tier, minor_tier = max(tier, predicted), max(minor_tier, predicted)
    return {
        **given,
        "is_labelled": is_labelled,
        "is_reviewed": is_given and label.is_sure and not is_raised,
        "is_held": is_labelled and label.source == "human" and label.is_review_of_now,
        "own_tier": tier,
        "own_minor_tier": minor_tier,
        "peak_tier": max(label.peak_tier, tier) if is_labelled else label.peak_tier,
        "own_family": family if tier >= 2 else -1,
        "topics": topics,
    }


def topic_bits(topics: Iterable[str]) -> int:
    """Topics as bits: S1 is bit 0."""
    return sum(1 << TOPICS.index(topic) for topic in set(topics))


def creator_number(creator_id: str) -> int:
    """A 32-bit hash: stable everywhere, nothing to store. A collision only spaces two creators as one."""
    return crc32(creator_id.encode())


def _search_text(fields: Fields) -> str:
    """Title and text of an item as one case-folded line."""
    return " ".join(f"{fields.get('title') or ''} {fields.get('text') or ''}".casefold().split())


def _code(codes: dict[str, int], name: str | None) -> int:
    return 0 if name is None else codes.setdefault(name, len(codes) + 1)
