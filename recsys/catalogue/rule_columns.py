"""The columns that filters and the slot loop read."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recsys.catalogue.copies import copy_columns
from recsys.catalogue.items import Items, topic_bits
from recsys.catalogue.locality import NearnessByClass
from recsys.memo import remember
from recsys.policy.schema import Market
from recsys.types import Candidates, Column, Columns, Ids, Integers, Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class SharedColumns:
    """
    What is the same for all viewers who are, or are not, minors: `columns` (n_items,) each.

    `memo`: what was worked out from them for groups of viewers, such as what is eligible; the oldest goes first.
    """

    columns: Columns
    reviewed: Ids  # the items that exploration may draw
    is_calm_row: Mask  # (n_rows,) artifact rows whose items are R0 or R1
    memo: dict[Hashable, Any] = field(init=False, default_factory=dict)

    def remember(self, key: Hashable, value: object, most: int) -> None:
        """Keep a value, and at most so many of them."""
        remember(self.memo, key, value, most)


@dataclass(frozen=True, slots=True, eq=False)
class RuleColumns:
    """
    The columns of the catalogue for one kind of viewer, put together for the few items that are asked for.

    `creator_row` (n_items,), `is_new_creator` (n_creators,) by it: hardly delivered yet. Only reviewed local items of
    new creators count as theirs.
    """

    shared: SharedColumns
    nearness: NearnessByClass
    creator_row: Ids
    is_new_creator: Mask

    def __len__(self) -> int:
        return len(self.creator_row)

    def __getitem__(self, name: str) -> Column:
        """(n_items,) one of the shared columns."""
        return self.shared.columns[name]

    def on_demand(self, item_nos: Integers | Rows) -> Candidates:
        """Items as candidates whose columns are looked up when they are asked for: for those who read one or none."""
        return Candidates(item_nos.astype(np.int32), _OnDemand(self, item_nos.astype(np.intp)))

    def take(self, item_nos: Integers | Rows) -> Candidates:
        """Items as candidates."""
        at = item_nos.astype(np.intp)  # NumPy takes rows of its own kind three times as fast
        shared = {name: column[at] for name, column in self.shared.columns.items()}
        near = self.nearness.of(at)
        is_new = self.is_new_creator[self.creator_row[at]]
        return Candidates(
            item_nos.astype(np.int32),
            {
                **shared,
                "is_local": near.is_floor_eligible,  # what a slot of the floor takes
                "match": near.match,
                "is_new_creator": shared["is_explorable"] & near.is_floor_eligible & is_new,
            },
        )


@dataclass(frozen=True, slots=True, eq=False)
class _OnDemand(Mapping[str, Column]):
    """The columns of a few items (n,), each when it is asked for."""

    rules: RuleColumns
    at: Rows

    def __getitem__(self, name: str) -> Column:
        shared = self.rules.shared.columns
        return shared[name][self.at] if name in shared else self.rules.take(self.at).columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rules.take(self.at).columns)

    def __len__(self) -> int:
        return len(self.rules.take(self.at).columns)


def shared_columns(items: Items, of_row: Ids, market: Market, *, is_minor: bool) -> SharedColumns:
    """
    The columns of the whole catalogue that do not depend on where a viewer is from.

    `tier` is the one that counts for the viewer; an item is supportive when it is R0 on a supportive topic. `of_row`
    (n_rows,) are the item numbers of artifact rows.
    """
    tier = items.minor_tier if is_minor else items.tier
    supportive = topic_bits(market.supportive_topics)
    is_explorable = items.is_reviewed & (tier == 0)
    columns = {
        "tier": tier,
        "family": np.where(tier >= 2, items.family, -1).astype(np.int8),
        "is_s4": (items.topics & topic_bits([market.hope_topic])) != 0,
        "is_supportive": (tier == 0) & items.is_labelled & ((items.topics & supportive) != 0),
        "creator_no": items.creator_no,
        **copy_columns(items.copies),
        "topics": items.topics,
        "is_explorable": is_explorable,
    }
    return SharedColumns(columns, np.flatnonzero(is_explorable).astype(np.int32), (tier < 2)[of_row])
