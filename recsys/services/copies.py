"""What binds an item as a copy, for people: the other item and the kind of evidence, never its words."""

from typing import Final

from recsys.catalogue.copies import FAMILY_BITS
from recsys.catalogue.items import Items
from recsys.text.duplicates import joins_of
from recsys.types import JsonObject
from recsys.vocabulary import TIERS

MAX_COPIES: Final = 20  # named of one item


def copy_of(items: Items, item_no: int) -> list[JsonObject]:
    """
    The items that bind an item: `evidence` is `hash`, `creator_text` or `duration_text`, and `tier` what the item is
    raised to through the join, None where that is nothing. Those that raise it most come first.
    """
    own = int(items.own_tier[item_no])
    joins = [
        (join.item_no, str(join.evidence), _passed(items, join.item_no, join.evidence))
        for join in joins_of(items.copies, item_no)
    ]
    for other, memory in items.memory.items():
        joins += [
            (other, "hash", level >> FAMILY_BITS)
            for key, level, _ in memory.labels
            if key == items.hash_key[item_no] and key
        ]
    joins.sort(key=lambda join: (-join[2], join[0]))
    return [
        {
            "item_id": items.item_ids[other],
            "evidence": evidence,
            "tier": TIERS[tier] if tier > own and not items.is_held[item_no] else None,
        }
        for other, evidence, tier in joins[:MAX_COPIES]
    ]


def _passed(items: Items, other: int, evidence: str) -> int:
    """The tier that an item passes through a join."""
    if evidence == "hash":
        return int(items.given_level[other]) >> FAMILY_BITS
    speaks = items.is_labelled[other] and not items.is_hidden[other]
    return int(items.own_tier[other]) if speaks else 0
