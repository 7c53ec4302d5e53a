"""
What passes between copies in the live catalogue: tiers with their families, and ages (policy-spec 0, Copies).

Through the platform's hash pass the labels of a person, a partner or the platform, of whatever has or had the hash,
also after a takedown. Through words passes what an item counts itself, as long as it is not hidden. An item that a
person reviewed counts what they said.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.policy.schema import Market, family_number, tier_number
from recsys.stores.protocols import HashLabel, ItemRow
from recsys.text.clusters import CopyKeys, Wording, copy_keys
from recsys.text.duplicates import (
    Copies,
    Levels,
    join_copies,
    keys_of,
    through_earlier_hash,
    through_hash_of,
    through_words,
)
from recsys.types import Columns

FAMILY_BITS: Final = 4
"""Those of a level that hold the family, below the tier's: the highest tier decides."""


class CopyMemory(NamedTuple):
    """What an item's copies go by beside its present state: former wordings, and labels that stay with a hash."""

    wordings: tuple[tuple[int, CopyKeys], ...]  # since which revision, and what it was joined by
    labels: tuple[tuple[int, int, int], ...]  # key of the hash, level, level for minors


def level_of(tier: int, family: int) -> int:
    """A tier and its family (-1 = none) as one number, of which the highest counts."""
    return tier << FAMILY_BITS | (family + 1)


def keys_of_row(row: ItemRow, wording: Wording) -> CopyKeys:
    """The evidence of an item that says, or said, a wording."""
    item = row.fields
    return copy_keys(
        item["creator_id"],
        wording,
        duration_s=item.get("duration_s"),
        perceptual_hash=item.get("perceptual_hash"),
    )


def memory_of(row: ItemRow, market: Market) -> CopyMemory | None:
    """What a row remembers; None for almost every one."""
    former = [wording for wording in row.wordings[1:] if wording.is_joined]
    if not former and not row.hash_labels:
        return None
    return CopyMemory(
        wordings=tuple((w.since, keys_of_row(row, Wording(w.text_id, w.n_words))) for w in former),
        labels=tuple(_levels_of(label, market) for label in row.hash_labels),
    )


def _levels_of(label: HashLabel, market: Market) -> tuple[int, int, int]:
    tier, family = tier_number(label.tier), family_number(label.family) if label.family else -1
    is_sure = label.confidence is None or label.confidence >= market.label_threshold
    minor_tier = min(4, tier + (not is_sure))
    return label.key, level_of(tier, family if tier >= 2 else -1), level_of(minor_tier, family if tier >= 2 else -1)


def copies_in(arrays: Columns, memory: Mapping[int, CopyMemory]) -> Copies:
    """The joins of all items, by their keys of now and those of former wordings, in whichever order these came."""
    former = [(item_no, since, *keys) for item_no, kept in sorted(memory.items()) for since, keys in kept.wordings]
    n = len(arrays["hash_key"])
    owner = np.concatenate([np.arange(n), np.array([entry[0] for entry in former], np.int64)]).astype(np.int32)
    since = np.concatenate([arrays["worded_since"], np.array([entry[1] for entry in former], np.int64)])
    _, creator_texts, duration_texts = keys_of([CopyKeys(*entry[2:]) for entry in former])
    arrival = np.empty(len(owner), np.int64)
    arrival[np.lexsort((owner, since))] = np.arange(len(owner))
    return join_copies(
        arrays["hash_key"],
        owner,
        np.concatenate([arrays["creator_text_key"], creator_texts]),
        np.concatenate([arrays["duration_text_key"], duration_texts]),
        arrival,
    )


def copy_columns(copies: Copies) -> Columns:
    """The joins of all items as columns (n,); what an item said before its words of now is left to what was seen."""
    n = len(copies)
    by_duration = copies.duration_text_no[:n]
    return {
        "hash_no": copies.hash_no,
        "creator_text_no": copies.creator_text_no[:n],
        "duration_text_no": by_duration,
        "arrival": np.where(by_duration > 0, copies.arrival[:n], 0).astype(np.int32),
        "is_hashed": copies.is_hashed & (by_duration > 0),
    }


def raise_copies(arrays: Columns, copies: Copies, memory: Mapping[int, CopyMemory]) -> None:
    """Sets `tier`, `minor_tier`, `family` and `min_age`, in place, from what the items count themselves."""
    labels = [label for kept in memory.values() for label in kept.labels]
    hashes = np.concatenate([arrays["hash_key"], np.array([label[0] for label in labels], np.uint64)])
    speaks = arrays["exists"] & ~arrays["is_hidden"]
    for n, prefix in enumerate(("", "minor_"), start=1):
        own, given = arrays[f"own_{prefix}tier"], arrays[f"given_{prefix}level"]
        own_level = (own.astype(np.int64) << FAMILY_BITS) + arrays["own_family"] + 1
        by_words = through_words(copies, np.where(speaks & arrays["is_labelled"], own_level, 0))
        held = np.concatenate([given, np.array([label[n] for label in labels], np.int16)]).astype(np.int64)
        reached = np.maximum(by_words, through_hash_of(hashes, held)[: len(own)])
        reached[arrays["is_held"]] = 0
        tier = np.maximum(own, reached >> FAMILY_BITS)
        arrays[f"{prefix}tier"][:] = tier
        if not prefix:
            arrays["family"][:] = _families(tier, arrays["own_family"], reached)
    ages = np.where(arrays["exists"], arrays["own_min_age"], 0).astype(np.int64)
    of_copies = np.maximum(through_earlier_hash(copies, ages), through_words(copies, np.where(speaks, ages, 0)))
    arrays["min_age"][:] = np.maximum(arrays["own_min_age"], of_copies)


def _families(tier: NDArray[np.int8], own: NDArray[np.int8], reached: Levels) -> NDArray[np.int8]:
    """(n,) an item's family; where it has none, that of the copy that raised it to R2 or above."""
    of_copy = (reached & (2**FAMILY_BITS - 1)) - 1
    return np.where(tier < 2, -1, np.where(own >= 0, own, of_copy)).astype(np.int8)
