"""
The catalogue as the engine sees it: one frozen table of arrays at one revision, indexed by `item_no`.

A store owns the rows. `apply_delta` makes the next revision's table from a delta and copies arrays, so that a page in
progress keeps the table it started with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.copies import CopyMemory, copies_in, keys_of_row, level_of, memory_of, raise_copies
from recsys.catalogue.creators import Creator, EvidencedPlace, creator_place, declared_place, resolve_place
from recsys.columns import LABEL_WAITS, REVIEWED
from recsys.languages import lookup
from recsys.policy.schema import Market, family_number, tier_number
from recsys.stores.protocols import CatalogueDelta, ItemRow
from recsys.strings import IdIndex, StringColumn, id_index, string_column
from recsys.text.clusters import Wording
from recsys.text.duplicates import Copies, no_copies
from recsys.types import Array, Columns, Fields, Floats, Ids, Mask
from recsys.vocabulary import FAMILIES, TOPICS, TRUSTED_RISK_SOURCES

UNLABELLED_FAMILY: Final = FAMILIES.index("unlabelled")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Items:
    """
    The live catalogue. Every array has one row per `item_no` (row 0 and unused numbers have `exists` False).

    `tier` and `minor_tier` are 0 to 4 and already raised by what binds the item as a copy; `own_...` is the item's
    alone. `minor_tier` is one higher where the label's confidence is below the market's threshold. An unlabelled item
    is tier 2, family `unlabelled`, and not `is_labelled`. `row` is the item's row in the artifact's vectors, -1 for
    none. `place_source` and `region_source` are positions in `creators.EVIDENCE_SOURCES`: the evidence of the item's
    place. `declared_...` is what the item itself declares, so that its place can be resolved again after a change of
    its creator.
    """

    revision: int
    newest_raise: int
    item_ids: StringColumn
    creator_ids: StringColumn
    texts: StringColumn  # title and text in one line, case-folded
    index: IdIndex
    exists: Mask
    is_hidden: Mask
    is_taken_down: Mask  # the item itself, whatever its creator is
    is_labelled: Mask
    is_reviewed: Mask
    is_held: Mask  # a person reviewed the item itself: no copy raises it
    own_tier: NDArray[np.int8]
    own_minor_tier: NDArray[np.int8]
    own_family: NDArray[np.int8]
    given_level: NDArray[np.int16]  # `copies.level_of` the label of a person, a partner or the platform, else 0
    given_minor_level: NDArray[np.int16]
    peak_tier: NDArray[np.int8]
    tier: NDArray[np.int8]
    minor_tier: NDArray[np.int8]
    family: NDArray[np.int8]
    confidence: Floats
    topics: NDArray[np.int16]  # bit n-1 = topic Sn
    own_min_age: NDArray[np.int16]
    min_age: NDArray[np.int16]  # years; raised by what binds the item as a copy
    language: NDArray[np.int16]  # code of the spoken language
    country: NDArray[np.int16]
    region: NDArray[np.int16]
    place_source: NDArray[np.int8]
    region_source: NDArray[np.int8]
    reviewed_fit: NDArray[np.int16]  # code of the country or region that a partner found the item fits
    audience: NDArray[np.int16]  # code of the country that most of the creator's audience lives in
    has_own_language: Mask  # the item names its language; else `language` is its creator's first one
    is_dialect: Mask
    declared_country: NDArray[np.int16]
    declared_region: NDArray[np.int16]
    declared_source: NDArray[np.int8]
    creator_no: NDArray[np.int64]
    creator_row: Ids  # creators of this revision, numbered from 0
    hash_key: NDArray[np.uint64]  # `recsys.text.clusters`: the evidence that two items are one video, 0 = none
    creator_text_key: NDArray[np.uint64]
    duration_text_key: NDArray[np.uint64]
    worded_since: NDArray[np.int64]  # the revision since which an item has its present text
    copies: Copies
    memory: Mapping[int, CopyMemory]  # of the few items that have one
    published_at: NDArray[np.int64]
    row: Ids
    codes: Mapping[str, int]  # languages, countries and regions as small numbers; 0 = unknown
    search_cache: dict[str, Ids] = field(init=False, default_factory=dict)  # results of `mentions` on this revision

    def __len__(self) -> int:
        return len(self.exists)

    def code(self, name: str | None) -> int:
        """The number of a language, country or region; -1 for one that no item has."""
        return 0 if name is None else self.codes.get(name, -1)

    def name(self, code: int) -> str | None:
        """The inverse of `code`."""
        return next((name for name, number in self.codes.items() if number == code), None) if code > 0 else None


MAX_CACHED_SEARCHES: Final = 1_000  # words
_BY_CREATOR: Final = ("is_hidden", "language", "country", "region", "place_source", "region_source", "audience")
STRINGS: Final = ("item_ids", "creator_ids", "texts")


def empty_items() -> Items:
    """A catalogue without items."""
    arrays: dict[str, Any] = {name: np.zeros(1, dtype) for name, dtype in DTYPES.items()}
    arrays["row"][:] = -1
    strings = string_column([""])
    return Items(
        revision=0, newest_raise=0, item_ids=strings, creator_ids=strings, texts=strings, index=id_index(strings),
        codes={}, copies=no_copies(1), memory={}, **arrays
    )  # fmt: skip


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


def apply_delta(
    items: Items,
    delta: CatalogueDelta,
    *,
    market: Market,
    creators: Mapping[str, Creator],
    rows: Mapping[str, int],
) -> Items:
    """
    The table at the delta's revision.

    `creators` by creator_id; `rows` gives the artifact's row of an item_id. Items of unknown creators stay, with an
    unknown place.
    """
    if delta.revision == items.revision and not delta.rows:
        return items
    size = max([len(items), *(row.item_no + 1 for row in delta.rows)])
    arrays: dict[str, Any] = {name: _resized(getattr(items, name), size) for name in DTYPES}
    arrays["row"][len(items) :] = -1  # an unused number is in no artifact
    strings: dict[str, dict[int, str]] = {name: {} for name in STRINGS}
    codes = dict(items.codes)
    memory = dict(items.memory)
    for row in delta.rows:
        creator = creators.get(row.fields["creator_id"], Creator(creator_id=row.fields["creator_id"]))
        for name, value in _row_values(row, creator, market, codes).items():
            arrays[name][row.item_no] = value
        arrays["row"][row.item_no] = rows.get(row.fields["item_id"], -1)
        strings["item_ids"][row.item_no] = row.fields["item_id"]
        strings["creator_ids"][row.item_no] = row.fields["creator_id"]
        strings["texts"][row.item_no] = _search_text(row.fields)
        memory.pop(row.item_no, None)
        if (remembered := memory_of(row, market)) is not None:
            memory[row.item_no] = remembered
    arrays["creator_row"] = np.unique(arrays["creator_no"], return_inverse=True)[1].astype(np.int32)
    changes: dict[str, Any] = {name: getattr(items, name).with_changes(new, size) for name, new in strings.items()}
    new_ids = {item_id: n for n, item_id in strings["item_ids"].items() if n >= len(items) or not items.exists[n]}
    changes["index"] = items.index.with_changes(new_ids, changes["item_ids"])
    changes |= {"codes": codes, "memory": memory, "copies": copies_in(arrays, memory)}
    raise_copies(arrays, changes["copies"], memory)
    newest_raise = max(items.newest_raise, delta.newest_raise, _newest_raise(items, arrays, delta.revision))
    return replace(items, revision=delta.revision, newest_raise=newest_raise, **changes, **arrays)


def _newest_raise(before: Items, arrays: Columns, revision: int) -> int:
    """
    The revision, if an item that was there counts higher than before, by its copies too; else 0. When a table begins,
    what was counted before is unknown.
    """
    was_there = before.exists.nonzero()[0]
    is_raised = [np.any(arrays[name][was_there] > getattr(before, name)[was_there]) for name in ("tier", "minor_tier")]
    return revision if before.revision == 0 or any(is_raised) else 0


def _search_text(fields: Fields) -> str:
    """Title and text of an item as one case-folded line."""
    return " ".join(f"{fields.get('title') or ''} {fields.get('text') or ''}".casefold().split())


def mentions(items: Items, word: str) -> Mask:
    """
    (n,) items whose text contains `word`, in any case. The search takes about 1 ms for 20,000 items; its result is
    cached for the same revision.
    """
    folded = " ".join(word.casefold().split())
    rows = items.search_cache.get(folded)
    if rows is None:
        rows = np.fromiter(items.texts.rows_with(folded), np.int32)
        if len(items.search_cache) < MAX_CACHED_SEARCHES:
            items.search_cache[folded] = rows
    has_word = np.zeros(len(items), np.bool_)
    has_word[rows] = True
    return has_word


def _resized(array: Array, size: int) -> Array:
    resized = np.zeros(size, array.dtype)
    resized[: len(array)] = array
    return resized


def _code(codes: dict[str, int], name: str | None) -> int:
    return 0 if name is None else codes.setdefault(name, len(codes) + 1)


def _row_values(row: ItemRow, creator: Creator, market: Market, codes: dict[str, int]) -> Fields:
    """One row's values, from the contract's columns and its creator."""
    item = row.fields
    # people name languages, not dialects: Tashelhit is `zgh` to them, Egyptian is `ar`
    language = _spoken(item.get("language") or item.get("dialect"), market)
    declared = declared_place(item)
    is_down = bool(item.get("is_hidden"))
    wording = row.wordings[0]
    keys = keys_of_row(row, Wording(wording.text_id, wording.n_words))
    return {
        **_label_values(row, market),
        **_creator_values(resolve_place(declared, creator_place(creator)), language, creator, is_down, codes),
        "exists": True,
        "is_taken_down": is_down,
        "own_min_age": item.get("min_age") or 0,
        "reviewed_fit": _code(codes, item.get("reviewed_fit")),
        "has_own_language": language is not None,
        "is_dialect": not {language, _spoken(item.get("dialect"), market)}.isdisjoint(market.locality.dialects),
        "declared_country": _code(codes, declared.country),
        "declared_region": _code(codes, declared.region),
        "declared_source": declared.source,
        "creator_no": creator_number(item["creator_id"]),
        "published_at": item["published_at"],
        "hash_key": keys.hash,
        "creator_text_key": keys.creator_text,
        "duration_text_key": keys.duration_text,
        "worded_since": wording.since,
    }


def _spoken(tag: str | None, market: Market) -> str | None:
    """The language of an item's tag; of several that a tag stands for, the market's dialect: it names the country."""
    if tag is None:
        return None
    possible = lookup(tag, market.language_ranges)
    return next((language for language in possible if language in market.locality.dialects), possible[0])


def _creator_values(
    place: EvidencedPlace, language: str | None, creator: Creator, is_down: bool, codes: dict[str, int]
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


def with_creator_changes(items: Items, changed: Iterable[Creator], revision: int) -> Items:
    """The same items after changes of some creators: places, languages, audience, and whether they are hidden."""
    arrays: dict[str, Any] = {name: getattr(items, name).copy() for name in _BY_CREATOR}
    codes = dict(items.codes)
    names = {number: name for name, number in codes.items()}
    for creator in changed:
        for n in np.flatnonzero(items.exists & (items.creator_no == creator_number(creator.creator_id))):
            if items.creator_ids[n] != creator.creator_id:
                continue  # two ids of one number
            source = int(items.declared_source[n])
            region = names.get(int(items.declared_region[n]))
            declared = EvidencedPlace(
                names.get(int(items.declared_country[n])), region, source, source if region else 0
            )
            language = names.get(int(items.language[n])) if items.has_own_language[n] else None
            place, is_down = resolve_place(declared, creator_place(creator)), bool(items.is_taken_down[n])
            for name, value in _creator_values(place, language, creator, is_down, codes).items():
                arrays[name][n] = value
    if not np.array_equal(arrays["is_hidden"], items.is_hidden):  # hidden items raise no copies by words
        arrays = {name: getattr(items, name).copy() for name in DTYPES} | arrays
        raise_copies(arrays, items.copies, items.memory)
        arrays["newest_raise"] = max(items.newest_raise, _newest_raise(items, arrays, revision))
    return replace(items, revision=revision, codes=codes, **arrays)


def _label_values(row: ItemRow, market: Market) -> Fields:
    """
    The values that the label decides; in doubt the stricter ones.

    A missing confidence is 1 from a trusted source and 0 otherwise (policy-spec 0); grief counts as R1 at least.
    """
    item = row.fields
    tier_name, source = item.get("risk_tier"), item.get("risk_source")
    topics = topic_bits(item.get("topics") or ())
    confidence = item.get("risk_confidence")
    if confidence is None:
        confidence = 1.0 if source in TRUSTED_RISK_SOURCES else 0.0
    tier = 2 if tier_name is None else tier_number(tier_name)
    if topics & topic_bits([market.grief_topic]):
        tier = max(tier, 1)
    is_sure = confidence >= market.label_threshold
    family = UNLABELLED_FAMILY if tier_name is None else family_number(item.get("risk_family"))
    minor_tier = min(4, tier + (not is_sure))
    is_given = tier_name is not None and source in TRUSTED_RISK_SOURCES
    given = {name: level_of(number, family if tier >= 2 else -1) if is_given else 0
             for name, number in (("given_level", tier), ("given_minor_level", minor_tier))}  # fmt: skip
    predicted = _predicted_tier(item, market)
    is_raised = predicted > tier
    if is_raised and (tier < 2 or family < 0):
        family = family_number(item.get("predicted_family") or "unlabelled")
    tier, minor_tier = max(tier, predicted), max(minor_tier, predicted)
    return {
        **given,
        "is_labelled": tier_name is not None,
        "is_reviewed": is_given and is_sure and not is_raised,
        "is_held": tier_name is not None and source == "human" and _is_review_of_now(item),
        "own_tier": tier,
        "own_minor_tier": minor_tier,
        "peak_tier": max(row.peak_tier, tier) if tier_name is not None else row.peak_tier,
        "own_family": family if tier >= 2 else -1,
        "confidence": confidence,
        "topics": topics,
    }


def _is_review_of_now(item: Fields) -> bool:
    """Whether a person reviewed the item, and its text was not edited since."""
    return item.get("label_version") == REVIEWED and LABEL_WAITS not in item


def _predicted_tier(item: Fields, market: Market) -> int:
    """The predicted tier if its confidence is enough, else 0. It may raise a tier, but neither lower nor replace it."""
    tier = item.get("predicted_tier")
    is_sure = (item.get("label_confidence") or 0.0) >= market.label_threshold
    return tier_number(tier) if tier is not None and is_sure else 0


def topic_bits(topics: Iterable[str]) -> int:
    """Topics as bits: S1 is bit 0."""
    return sum(1 << TOPICS.index(topic) for topic in set(topics))


def topic_names(bits: int) -> list[str]:
    """The inverse of `topic_bits`, in order."""
    return [topic for n, topic in enumerate(TOPICS) if bits >> n & 1]


def creator_number(creator_id: str) -> int:
    """A 32-bit hash: stable everywhere, nothing to store. A collision only spaces two creators as one."""
    return crc32(creator_id.encode())


def is_unlearnable(items: Items, rows: int | slice = slice(None)) -> Mask:
    """(n,) items from which nothing positive may be learned: R2 and above by any reading ever, or unlabelled."""
    return ~items.is_labelled[rows] | (np.maximum(items.minor_tier[rows], items.peak_tier[rows]) >= 2)
