"""
Supply: how many supportive and local items of any 20 the catalogue could fill for a viewer. The floors shrink to it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from recsys.catalogue.rankings import PopularHead
from recsys.clock import Millis
from recsys.feed.query import Query
from recsys.policy.limits import Limits
from recsys.safety.floors import Supply
from recsys.safety.ledger import RUN, room, served, windows_of
from recsys.types import Ids, Mask
from recsys.user.state import Ledger


def remaining_supply(query: Query, ledger: Ledger, at: Millis) -> Supply:
    """
    What the catalogue still offers: eligible and unseen, at most `creator_last_20` of each creator, and as many stories
    of hope as any 20 can hold.
    """
    is_near = query.nearness.by_class.is_floor_eligible
    n_by_class = query.eligible.n_by_class
    n_eligible = int(n_by_class.sum())
    n_hope = _hope_stories(query.limits, ledger, at)
    supportive = query.rankings.head_of_supportive(query.rules["is_supportive"], is_minor=query.is_minor)

    def is_supportive(item_nos: Ids) -> Mask:
        return np.asarray(query.rules["is_supportive"][item_nos])

    def is_local(item_nos: Ids) -> Mask:
        return np.asarray(query.nearness.are_floor_eligible(item_nos) & (query.rules["tier"][item_nos] == 0))

    return Supply(
        supportive=_eligible_of_20(query, supportive, is_supportive, n_hope),
        local=_eligible_of_20(query, query.kind.floor_eligible, is_local, n_hope),
        local_share=int(n_by_class[is_near].sum()) / n_eligible if n_eligible else 0.0,
    )


FIRST_LOOK: Final = 256
"""Items of a head among which twenty are nearly always found."""


def _eligible_of_20(query: Query, head: PopularHead, is_meant: Callable[[Ids], Mask], n_hope: int) -> int:
    """How many of 20 the eligible items that are meant can fill: those of the head, and all where these are too few."""
    for first in (FIRST_LOOK, len(head.item_nos)):
        items = head.item_nos[:first]
        items = items[query.is_eligible[items]]
        filled = _fill_of_20(query, items[is_meant(items)], n_hope)
        if filled == RUN:
            return filled
    if head.is_whole:
        return filled
    items = np.flatnonzero(query.is_eligible).astype(np.int32)
    return _fill_of_20(query, items[is_meant(items)], n_hope)


def catalogue_supply(query: Query) -> Supply:
    """What the catalogue holds for such a viewer, seen or not."""
    known, cap = query.kind.local_supply, _creator_cap(query.limits)
    if cap not in known:
        known[cap] = _local_supply(query)
    n_local, share = known[cap]
    return Supply(supportive=0, local=n_local, local_share=share)


def _local_supply(query: Query) -> tuple[int, float]:
    items = query.items
    is_there = items.exists & ~items.is_hidden & (query.rules["tier"] == 0)
    is_local = is_there & query.nearness.is_floor_eligible
    n_there, n_local = int(is_there.sum()), int(is_local.sum())
    fills = _fill_of_20(query, np.flatnonzero(is_local).astype(np.int32), RUN)
    return fills, n_local / n_there if n_there else 0.0


def _hope_stories(limits: Limits, ledger: Ledger, at: Millis) -> int:
    """How many stories of hope a run of 20 can hold: those that stand in it, and what their windows still admit."""
    cap = windows_of(limits, "S4").last_20
    in_last_19 = sum(delivery.is_s4 for delivery in served(ledger, RUN - 1))
    return min(RUN if cap is None else cap, in_last_19 + max(0, room(ledger, limits, "S4", at)))


def _fill_of_20(query: Query, item_nos: Ids, n_hope: int) -> int:
    """How many of 20 some items can fill, with the cap per creator and `n_hope` stories of hope."""
    cap = _creator_cap(query.limits)
    of_creator: Counter[int] = Counter()
    is_s4 = query.rules["is_s4"][item_nos]
    n_filled = _fill(query, item_nos[~is_s4], cap, of_creator, RUN)
    return (
        n_filled
        if n_filled == RUN
        else n_filled + _fill(query, item_nos[is_s4], cap, of_creator, min(n_hope, RUN - n_filled))
    )


def _creator_cap(limits: Limits) -> int:
    """How many items of one creator any 20 may hold."""
    return RUN if limits.creator_last_20 is None else limits.creator_last_20


def _fill(query: Query, item_nos: Ids, cap: int, of_creator: Counter[int], most: int) -> int:
    """How many of up to `most` places items fill, at most `cap` of each creator with those counted before."""
    n_filled = 0
    for start in range(0, len(item_nos), FIRST_LOOK):
        for creator in query.items.creator_row[item_nos[start : start + FIRST_LOOK]].tolist():
            if n_filled >= most:
                return n_filled
            if of_creator[creator] < cap:
                of_creator[creator] += 1
                n_filled += 1
    return n_filled
