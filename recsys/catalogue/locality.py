"""
How near an item is to a viewer: graded, from evidence with a source and a confidence. The one function that training,
serving and reports use.

Grades, each times the confidence of its evidence; the best one counts:

| match | holds when |
|-----------|------------|
| region    | the item is from the viewer's region |
| neighbour | ... from a region that borders on it |
| country   | ... from the viewer's country |
| fit       | a partner found that it fits the viewer's country or region |
| dialect   | local speech that the viewer understands, wherever the creator lives |
| audience  | made elsewhere in a language the viewer understands, for an audience in the viewer's country |
| language  | a language that the viewer understands |
| foreign   | from another country, and none of these |
| unknown   | nobody said: neither local nor foreign |

Local is one thing, floor-eligible another: a slot of the floor takes a place that a partner or the platform vouches
for, local speech, or a partner's review. What a creator says alone only weighs in the score, and so does an audience,
which can be bought.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.creators import SOURCES
from recsys.catalogue.items import Items
from recsys.policy.schema import LocalityRules, Market
from recsys.types import Floats, Ids, Mask, Viewer

MATCHES: Final = (
    "unknown", "foreign", "language", "dialect", "country", "neighbour", "region", "fit", "audience",
)  # fmt: skip
"""Tables and records hold the position."""
_NEAREST_FIRST: Final = ("region", "neighbour", "country", "fit", "dialect", "audience", "language", "foreign")


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """
    Per item: `score` (n,) in [0, 1], NaN = unknown; `match` (n,) an index into MATCHES; `is_local` (n,) by the score;
    `is_floor_eligible` (n,) local, and by evidence that a slot of the floor takes; `sure` the confidence of `SOURCES`.
    """

    score: Floats
    match: NDArray[np.int8]
    is_local: Mask
    is_floor_eligible: Mask
    sure: Floats


def nearness(viewer: Viewer, items: Items, market: Market, item_nos: Ids | slice = slice(None)) -> Nearness:
    """The nearness of items to a viewer: the best of place, speech, audience and review."""
    rules = market.locality
    sure = _confidence(rules)
    grades = _grades(viewer, items, market, item_nos, sure)
    best = np.full(len(grades["foreign"]), np.nan, np.float32)
    match = np.zeros(len(best), np.int8)
    for name in _NEAREST_FIRST:  # the first of equal scores wins
        score = np.float32(rules.scores.get(name, 0.0)) * grades[name]
        is_better = (grades[name] > 0) & ~(best >= score)
        best[is_better] = score[is_better]
        match[is_better] = MATCHES.index(name)
    is_local = np.nan_to_num(best, nan=0.0) >= np.float32(rules.local_from)
    return Nearness(best, match, is_local, is_local & _is_floor_eligible(items, rules, item_nos, grades), sure)


def _grades(
    viewer: Viewer, items: Items, market: Market, item_nos: Ids | slice, confidence: Floats
) -> dict[str, Floats]:
    """Match -> (n,) the confidence with which it holds, 0 where it does not."""
    region, country = items.region[item_nos], items.country[item_nos]
    of_region, of_country = confidence[items.region_source[item_nos]], confidence[items.place_source[item_nos]]
    heard = np.where(items.is_heard[item_nos], confidence[_PLATFORM], confidence[_INFERRED])
    understood = heard * _understood(viewer, items, market.locality.other_script, item_nos)
    here = [items.code(place) for place in (viewer.country, viewer.region) if place]
    is_for_here = (items.audience[item_nos] == items.code(viewer.country)) & (items.audience[item_nos] > 0)
    return {
        "region": of_region * ((region == items.code(viewer.region)) & (region > 0)),
        "neighbour": of_region * (np.isin(region, _neighbours(viewer, items, market)) & (region > 0)),
        "country": of_country * ((country == items.code(viewer.country)) & (country > 0)),
        "fit": confidence[-1] * (np.isin(items.reviewed_fit[item_nos], here) & (items.reviewed_fit[item_nos] > 0)),
        "dialect": understood * items.is_dialect[item_nos],  # said of the item: no creator's word
        "audience": confidence[_PLATFORM] * (is_for_here & (understood > 0)),
        "language": understood,
        "foreign": (country > 0).astype(np.float32),
    }


_PLATFORM: Final = SOURCES.index("platform")
_INFERRED: Final = SOURCES.index("inferred")


def _confidence(rules: LocalityRules) -> Floats:
    """The confidence of each of `SOURCES`; none has none."""
    return np.array([rules.evidence.get(source, 0.0) if n else 0.0 for n, source in enumerate(SOURCES)], np.float32)  # type: ignore[call-overload]  # the keys are these


def _understood(viewer: Viewer, items: Items, other_script: float, item_nos: Ids | slice) -> Floats:
    """(n,) 1 for a language that the viewer named, less for one that is only written otherwise, 0 for others."""
    spoken = {name.partition("-")[0] for name in viewer.languages}
    weights = np.zeros(len(items.codes) + 1, np.float32)
    for name, code in items.codes.items():
        if name.partition("-")[0] in spoken:
            weights[code] = 1.0 if name in viewer.languages else other_script
    return np.asarray(weights[items.language[item_nos]])


def _is_floor_eligible(items: Items, rules: LocalityRules, item_nos: Ids | slice, grades: dict[str, Floats]) -> Mask:
    """Whether the evidence is enough for a slot of the floor: vouched for, or the same said in two ways."""
    enough = np.array([source in rules.floor_eligible for source in SOURCES])
    is_here = grades["country"] > 0
    by_speech = grades["dialect"] * np.float32(rules.scores.get("dialect", 0.0)) >= np.float32(rules.local_from)
    is_corroborated = is_here & items.is_dialect[item_nos]
    is_vouched = is_here & enough[items.place_source[item_nos]]
    return np.asarray(is_vouched | is_corroborated | by_speech | (grades["fit"] > 0))


def evidence(near: Nearness, items: Items, item_no: int, market: Market) -> tuple[str, float]:
    """What an item's match rests on and how sure that is: a source, `corroborated`, or `none`."""
    match = MATCHES[near.match[item_no]]
    if match == "unknown":
        return "none", 0.0
    if match in ("dialect", "language", "audience", "fit"):
        by_speech = "platform" if items.is_heard[item_no] else "inferred"
        source = {"fit": "partner", "audience": "platform"}.get(match, by_speech)
        return source, float(near.sure[SOURCES.index(source)])
    position = int((items.region_source if match in ("region", "neighbour") else items.place_source)[item_no])
    source = SOURCES[position]
    sure = float(near.sure[position])
    if near.is_floor_eligible[item_no] and source not in market.locality.floor_eligible:
        return "corroborated", sure
    return source, sure


def _neighbours(viewer: Viewer, items: Items, market: Market) -> list[int]:
    region = market.regions.get(viewer.region or "")
    return [items.code(code) for code in region.neighbours] if region else []
