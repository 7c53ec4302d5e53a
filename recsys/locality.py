"""
How near an item is to a viewer: graded, from evidence with a source and a confidence.

Place counts by region, neighbouring region and country, times the confidence of the evidence; speech counts by
itself, so that a creator abroad who speaks the local dialect is near too. An item without place or dialect is
unknown: neither local nor foreign.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Items
from recsys.policy.market import Market
from recsys.types import Floats, Ids, Mask, Viewer

MATCHES: Final = ("unknown", "foreign", "language", "dialect", "country", "neighbour", "region")


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """Per item: `score` (n,) in [0, 1], NaN = unknown; `match` (n,) an index into MATCHES; `is_local` (n,)."""

    score: Floats
    match: NDArray[np.int8]
    is_local: Mask


def nearness(viewer: Viewer, items: Items, market: Market, item_nos: Ids | slice = slice(None)) -> Nearness:
    """The nearness of items to a viewer: the best of place and speech."""
    rules, scores = market.locality, market.locality.scores
    region, country = items.region[item_nos], items.country[item_nos]
    confidence = items.place_confidence[item_nos]
    speech = np.float32(rules.evidence["platform"])
    is_understood = np.isin(items.language[item_nos], [items.code(name) for name in viewer.languages])
    grades = {
        "region": confidence * ((region == items.code(viewer.region)) & (region > 0)),
        "neighbour": confidence * (np.isin(region, _neighbours(viewer, items, market)) & (region > 0)),
        "country": confidence * ((country == items.code(viewer.country)) & (country > 0)),
        "dialect": speech * (items.is_dialect[item_nos] & is_understood),
        "language": speech * is_understood,
        "foreign": (country > 0).astype(np.float32),
    }
    best = np.full(len(region), np.nan, np.float32)
    match = np.zeros(len(region), np.int8)
    for name in reversed(MATCHES[1:]):  # from the nearest; the first of equal scores wins
        holds = grades[name] > 0
        score = np.float32(scores[name]) * grades[name]
        is_better = holds & ~(best >= score)
        best[is_better] = score[is_better]
        match[is_better] = MATCHES.index(name)
    return Nearness(best, match, np.nan_to_num(best, nan=0.0) >= rules.local_from)


def _neighbours(viewer: Viewer, items: Items, market: Market) -> list[int]:
    region = market.regions.get(viewer.region or "")
    return [items.code(code) for code in region.neighbours] if region else []
