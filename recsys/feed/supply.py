"""
Supply: how many supportive and local items of any 20 the catalogue could fill for a viewer. The floors shrink to it.
"""

import numpy as np

from recsys.clock import Millis
from recsys.feed.query import Query
from recsys.policy.limits import Limits
from recsys.safety.floors import Supply
from recsys.safety.ledger import RUN, room, served, windows_of
from recsys.types import Mask
from recsys.user.state import Ledger


def remaining_supply(query: Query, ledger: Ledger, at: Millis) -> Supply:
    """
    What the catalogue still offers: eligible and unseen, at most `creator_last_20` of each creator, and as many stories
    of hope as any 20 can hold.
    """
    is_eligible, whole = query.is_eligible, query.whole
    is_calm = is_eligible & (whole["tier"] == 0)
    n_eligible, n_local = int(is_eligible.sum()), int((is_eligible & query.nearness.is_floor_eligible).sum())
    n_hope = _hope_stories(query.limits, ledger, at)
    return Supply(
        supportive=_fill_of_20(query, is_calm & whole["is_supportive"], n_hope),
        local=_fill_of_20(query, is_calm & query.nearness.is_floor_eligible, n_hope),
        local_share=n_local / n_eligible if n_eligible else 0.0,
    )


def catalogue_supply(query: Query) -> Supply:
    """What the catalogue holds for such a viewer, seen or not."""
    items, whole = query.items, query.whole
    is_there = items.exists & ~items.is_hidden & (whole["tier"] == 0)
    is_local = is_there & query.nearness.is_floor_eligible
    n_there, n_local = int(is_there.sum()), int(is_local.sum())
    fills = _fill_of_20(query, is_local, RUN)
    return Supply(supportive=0, local=fills, local_share=n_local / n_there if n_there else 0.0)


def _hope_stories(limits: Limits, ledger: Ledger, at: Millis) -> int:
    """How many stories of hope a run of 20 can hold: those that stand in it, and what their windows still admit."""
    cap = windows_of(limits, "S4").last_20
    in_last_19 = sum(delivery.is_s4 for delivery in served(ledger, RUN - 1))
    return min(RUN if cap is None else cap, in_last_19 + max(0, room(ledger, limits, "S4", at)))


def _fill_of_20(query: Query, mask: Mask, n_hope: int) -> int:
    """How many of 20 the masked items can fill, with the cap per creator and `n_hope` stories of hope."""
    cap = RUN if query.limits.creator_last_20 is None else query.limits.creator_last_20
    is_s4, creators = query.whole["is_s4"], query.items.creator_row
    n_creators = int(creators.max(initial=0)) + 1
    n_calm = np.bincount(creators[mask & ~is_s4], minlength=n_creators)
    n_stories = np.bincount(creators[mask & is_s4], minlength=n_creators)
    filled = np.minimum(n_calm, cap)
    stories = np.minimum(n_stories, cap - filled).sum()
    return min(RUN, int(filled.sum()) + min(n_hope, int(stories)))
