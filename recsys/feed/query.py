"""
One resolved request: everything a pipeline stage may read. The only clock and the only seed a stage may use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recsys.catalogue.items import Items, topic_bits
from recsys.catalogue.locality import Nearness
from recsys.clock import Millis
from recsys.models.loaded import Model
from recsys.policy.limits import Limits
from recsys.policy.schema import Market
from recsys.types import Candidates, Columns, Floats, History, Ids, Mask, Viewer, rank_order
from recsys.user.state import Delivery


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """
    The whole catalogue in the orders that sources start from: `popular` (n_items,) in one market and `newest`
    (n_items,), item numbers, best first; `of_row` (n_rows,) the item number of each artifact row, 0 = none.
    """

    popular: Ids
    newest: Ids
    of_row: Ids


def orders_of(items: Items, model: Model, country: str | None) -> Orders:
    """Worked out once for a market and a revision of the catalogue."""
    numbers = np.arange(len(items), dtype=np.int32)
    of_row = np.zeros(model.n_rows, np.int32)
    known = np.flatnonzero(items.row >= 0)
    of_row[items.row[known]] = known
    popular = rank_order(model.popular(country, items.row), numbers).astype(np.int32)
    newest = rank_order(items.published_at.astype(np.float64), numbers).astype(np.int32)
    return Orders(popular, newest, of_row)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """
    A request, resolved before the pipeline starts; stages do no I/O.

    `items` is the catalogue, `whole` all of it as candidates with the columns that filters read, `is_eligible`
    (n_items,) what every filter lets through. `only` limits the page to some items; `is_shown` (n_clusters,) are the
    clusters delivered lately.
    """

    request_id: str
    viewer: Viewer
    at: Millis
    size: int
    seed: int
    surface: str
    market: Market
    model: Model
    items: Items
    nearness: Nearness
    limits: Limits
    is_minor: bool
    history: History
    followed: frozenset[int]
    is_shown: Mask
    excluded: frozenset[int]
    only: Ids | None
    text: str | None
    anchor: int | None
    weights: Mapping[str, float]
    reduced: Mapping[str, float]  # topics and families that the person refused a while ago: what is left of them
    whole: Candidates
    orders: Orders
    is_eligible: Mask
    _vectors: dict[str, Floats] = field(init=False, default_factory=dict)  # worked out when first asked for
    chances: dict[bytes, Columns] = field(init=False, default_factory=dict)  # by item numbers, likewise

    def vector(self, space: str) -> Floats | None:
        """(d,) the person's place in a space; None for one that the model lacks, or without a history."""
        if space not in self.model.spaces or not len(self.history):
            return None
        if space not in self._vectors:
            self._vectors[space] = self.model.spaces[space].space.fold_in(self.history)
        return self._vectors[space]

    def taste(self) -> Floats | None:
        """(n_rows,) what the blend says of every artifact row, NaN = unknown; None without a history."""
        if not len(self.history) or not self.model.n_rows:
            return None
        if "taste" not in self._vectors:
            is_open = self.allowed_rows() if len(self.is_eligible) else None
            said = self.model.wanted(self.history, self.viewer.country, is_open)
            cf, place = self.model.spaces.get("cf"), self.vector("cf")
            if cf is not None and place is not None:  # what nobody wanted yet may stand there by its words and maker
                new = np.flatnonzero(np.isnan(said) & cf.is_known).astype(np.int32)
                said[new] = cf.scores(place, new)
            self._vectors["taste"] = said
        return self._vectors["taste"]

    def allowed_rows(self) -> Mask:
        """(n_rows,) artifact rows that every filter lets through."""
        return self.is_eligible[self.orders.of_row]  # number 0 is no item's, and never eligible

    def item_nos(self, rows: Ids) -> Ids:
        """Item numbers of artifact rows."""
        return self.orders.of_row[rows]


def rule_columns(items: Items, nearness: Nearness, is_new: Mask, market: Market, *, is_minor: bool) -> Candidates:
    """
    The whole catalogue as candidates, with the columns that filters and the slot loop read, for one kind of viewer.

    `tier` is the one that counts for the viewer; an item is supportive when it is R0 on a supportive topic. `is_new`
    (n_items,) says whose creators were hardly delivered yet: reviewed local items of theirs are newcomers.
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
            "is_local": nearness.is_proven,  # what a slot of the floor takes
            "match": nearness.match,
            "creator_no": items.creator_no,
            "cluster_no": items.cluster_no,
            "topics": items.topics,
            "is_explorable": items.is_reviewed & (tier == 0),
            "is_newcomer": items.is_reviewed & (tier == 0) & nearness.is_proven & is_new,
        },
    )


def counted(items: Items, item_no: int, market: Market, at: Millis, *, is_minor: bool) -> Delivery:
    """One item as a ledger entry that is no page's: opened elsewhere, so it serves no floor."""
    tier = int(items.minor_tier[item_no] if is_minor else items.tier[item_no])
    return Delivery(
        at=at,
        item_no=item_no,
        cluster_no=int(items.cluster_no[item_no]),
        creator_no=int(items.creator_no[item_no]),
        tier=tier,
        family=int(items.family[item_no]) if tier >= 2 else -1,
        is_s4=bool(items.topics[item_no] & topic_bits([market.hope_topic])),
        topics=int(items.topics[item_no]),
        is_open=True,
    )
