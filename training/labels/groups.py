"""
Whom predicted labels err on: false raises, and what becomes of supportive items, by language, dialect and size of the
creator (policy-spec 11, row 22). Over items that people labelled, whose predictions are out of fold.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import numpy as np
import polars as pl

from recsys.catalogue.creators import creator_size
from recsys.types import Mask
from recsys.vocabulary import TIERS
from training.labels.intervals import wilson_interval
from training.safe_feed import SUPPORTIVE

MIN_GROUP_ITEMS: Final = 50
"""Labelled items that a group needs for a row of its own."""

UNKNOWN: Final = "unknown"


class GroupRow(TypedDict):
    """
    One group: `by` names what it is a group of. Of `n` labelled items `n_raised` have a higher predicted tier than
    people gave them: `raised` is their share, with a 95 % interval. Of `n_supportive` supportive R0 items `stay` is the
    share that no predicted tier raises, `recall` the share that has a predicted supportive topic; None without any.
    """

    by: str
    group: str
    n: int
    n_raised: int
    raised: float
    raised_low: float
    raised_high: float
    n_supportive: int
    stay: float | None
    recall: float | None


def group_rows(items: pl.DataFrame, groups: Mapping[str, Sequence[str | None]]) -> list[GroupRow]:
    """
    A row for all items, then one for each group of each kind with at least `MIN_GROUP_ITEMS` items.

    `items`: labelled items with their contract columns and those of the prediction; `groups`: by kind, the name of the
    group of each item, None = unknown.
    """
    tiers, predicted = (
        items[name].replace_strict(list(TIERS), range(len(TIERS)), default=-1, return_dtype=pl.Int8).to_numpy()
        for name in ("risk_tier", "predicted_tier")
    )
    is_raised = predicted > tiers
    is_supportive = (tiers == 0) & _has_supportive(items["topics"])
    is_recalled = _has_supportive(items["predicted_topics"]) & ~is_raised
    rows = [_row("all", "all", is_raised, is_supportive, is_recalled)] if len(items) else []
    for kind, names in groups.items():
        of_item = np.array([name or UNKNOWN for name in names], dtype=object)
        for group in sorted(set(of_item.tolist())):
            members = of_item == group
            if members.sum() >= MIN_GROUP_ITEMS:
                rows.append(_row(kind, group, is_raised[members], is_supportive[members], is_recalled[members]))
    return rows


def sizes_of_creators(items: pl.DataFrame, creators: pl.DataFrame) -> list[str | None]:
    """The size of each item's creator in words, by followers; None where they are unknown."""
    if "followers" not in creators.columns:
        return [None] * len(items)
    followers = dict(creators.select("creator_id", "followers").iter_rows())
    return [creator_size(followers.get(creator_id)) for creator_id in items["creator_id"]]


def _has_supportive(topics: pl.Series) -> Mask:
    return topics.fill_null([]).list.set_intersection(list(SUPPORTIVE)).list.len().gt(0).to_numpy()


def _row(kind: str, group: str, is_raised: Mask, is_supportive: Mask, is_recalled: Mask) -> GroupRow:
    share = float(is_raised.mean())
    low, high = wilson_interval(np.array([share]), np.array([len(is_raised)]))
    has_supportive = bool(is_supportive.any())
    return {
        "by": kind,
        "group": group,
        "n": len(is_raised),
        "n_raised": int(is_raised.sum()),
        "raised": share,
        "raised_low": float(low[0]),
        "raised_high": float(high[0]),
        "n_supportive": int(is_supportive.sum()),
        "stay": float((~is_raised[is_supportive]).mean()) if has_supportive else None,
        "recall": float(is_recalled[is_supportive].mean()) if has_supportive else None,
    }
