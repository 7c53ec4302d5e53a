"""
The catalogue as the engine sees it: one frozen table of arrays at one revision, indexed by `item_no`.

A store owns the rows. `apply_delta` makes the next revision's table from a delta and copies arrays, so that a page in
progress keeps the table it started with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.copies import CopyMemory, copies_in, raise_copies
from recsys.catalogue.creators import Creator, EvidencedPlace, creator_place, resolve_place
from recsys.catalogue.item_rows import (
    DTYPES,
    UNLABELLED_FAMILY,
    creator_number,
    creator_values,
    read_rows,
    topic_bits,
)
from recsys.policy.schema import Market
from recsys.stores.protocols import CatalogueDelta
from recsys.strings import IdIndex, StringColumn, id_index, string_column
from recsys.text.duplicates import Copies, no_copies
from recsys.types import Array, Columns, Floats, Ids, Mask
from recsys.vocabulary import TOPICS

__all__ = [
    "DTYPES", "STRINGS", "UNLABELLED_FAMILY", "Items", "apply_delta", "creator_number", "empty_items", "is_unlearnable",
    "mentions", "topic_bits", "topic_names", "with_creator_changes",
]  # fmt: skip


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
    codes = dict(items.codes)
    read = read_rows(delta.rows, market, creators, codes)
    size = max(len(items), int(read.item_nos.max(initial=0)) + 1)
    arrays: dict[str, Any] = {name: _resized(getattr(items, name), size) for name in DTYPES}
    arrays["row"][len(items) :] = -1  # an unused number is in no artifact
    for name, values in read.columns.items():
        arrays[name][read.item_nos] = values
    arrays["row"][read.item_nos] = np.fromiter((rows.get(item_id, -1) for item_id in read.item_ids), np.int32)
    nos = read.item_nos.tolist()
    changed = set(nos)
    memory = {n: remembered for n, remembered in items.memory.items() if n not in changed} | read.memory
    arrays["creator_row"] = np.unique(arrays["creator_no"], return_inverse=True)[1].astype(np.int32)
    changes: dict[str, Any] = {
        name: getattr(items, name).with_changes(dict(zip(nos, getattr(read, name), strict=True)), size)
        for name in STRINGS
    }
    new_ids = {i: n for n, i in zip(nos, read.item_ids, strict=True) if n >= len(items) or not items.exists[n]}
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
            for name, value in creator_values(place, language, creator, codes, is_down=is_down).items():
                arrays[name][n] = value
    if not np.array_equal(arrays["is_hidden"], items.is_hidden):  # hidden items raise no copies by words
        arrays = {name: getattr(items, name).copy() for name in DTYPES} | arrays
        raise_copies(arrays, items.copies, items.memory)
        arrays["newest_raise"] = max(items.newest_raise, _newest_raise(items, arrays, revision))
    return replace(items, revision=revision, codes=codes, **arrays)


def topic_names(bits: int) -> list[str]:
    """The inverse of `topic_bits`, in order."""
    return [topic for n, topic in enumerate(TOPICS) if bits >> n & 1]


def is_unlearnable(items: Items, rows: int | slice = slice(None)) -> Mask:
    """(n,) items from which nothing positive may be learned: R2 and above by any reading ever, or unlabelled."""
    return ~items.is_labelled[rows] | (np.maximum(items.minor_tier[rows], items.peak_tier[rows]) >= 2)
