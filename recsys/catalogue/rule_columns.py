"""The columns that filters and the slot loop read, for one kind of viewer."""

import numpy as np

from recsys.catalogue.copies import copy_columns
from recsys.catalogue.items import Items, topic_bits
from recsys.catalogue.locality import Nearness
from recsys.policy.schema import Market
from recsys.types import Candidates, Mask


def rule_columns(items: Items, nearness: Nearness, is_new: Mask, market: Market, *, is_minor: bool) -> Candidates:
    """
    The whole catalogue as candidates, with the columns that filters and the slot loop read, for one kind of viewer.

    `tier` is the one that counts for the viewer; an item is supportive when it is R0 on a supportive topic. `is_new`
    (n_items,) says whose creators are new: hardly delivered yet. Only reviewed local items of theirs count as such.
    """
    tier = items.minor_tier if is_minor else items.tier
    supportive = topic_bits(market.supportive_topics)
    is_s4 = (items.topics & topic_bits([market.hope_topic])) != 0
    return Candidates(
        np.arange(len(items), dtype=np.int32),
        {
            "tier": tier,
            "family": np.where(tier >= 2, items.family, -1).astype(np.int8),
            "is_s4": is_s4,
            "is_supportive": (tier == 0) & items.is_labelled & ((items.topics & supportive) != 0),
            "is_local": nearness.is_floor_eligible,  # what a slot of the floor takes
            "match": nearness.match,
            "creator_no": items.creator_no,
            **copy_columns(items.copies),
            "topics": items.topics,
            "is_explorable": items.is_reviewed & (tier == 0),
            "is_new_creator": items.is_reviewed & (tier == 0) & nearness.is_floor_eligible & is_new,
        },
    )
