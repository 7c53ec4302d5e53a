"""
How near an item is to a viewer: a graded match, from evidence with a source and a confidence. Training, serving and
reports share `nearness`.

The score of a match is its grade times the confidence of its evidence; the best one counts:

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
| unknown   | the place is unknown: neither local nor foreign |

Local and floor-eligible differ. A slot of the floor requires a place confirmed by a partner or the platform, local
speech, or a partner's review. A creator's own word counts for the score only, and so does an audience, which can be
bought.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.creators import EVIDENCE_SOURCES
from recsys.catalogue.items import Items
from recsys.policy.schema import LocalityRules, Market
from recsys.types import Floats, Ids, Integers, Mask, Viewer

MATCHES: Final = (
    "unknown", "foreign", "language", "dialect", "country", "neighbour", "region", "fit", "audience",
)  # fmt: skip
"""Tables and records hold the position."""
_NEAREST_FIRST: Final = ("region", "neighbour", "country", "fit", "dialect", "audience", "language", "foreign")


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """
    Shapes: `score` (n,) in [0, 1], NaN = unknown; `match` (n,) an index into MATCHES; `is_local` (n,) by the score;
    `is_floor_eligible` (n,) local, with evidence that is enough for a slot of the floor; `confidence` (5,) of each of
    `EVIDENCE_SOURCES`.
    """

    score: Floats
    match: NDArray[np.int8]
    is_local: Mask
    is_floor_eligible: Mask
    confidence: Floats

    def take(self, rows: Integers | int) -> "Nearness":
        """The nearness at some rows, or at one."""
        return Nearness(
            self.score[rows], self.match[rows], self.is_local[rows], self.is_floor_eligible[rows], self.confidence
        )


@dataclass(frozen=True, slots=True, eq=False)
class NearnessClasses:
    """
    Items of one class are equally near to everybody: there are a few hundred classes, however many items there are.

    Shapes: `class_of` (n_items,); `examples` (n_classes,) an item of each.
    """

    class_of: Ids
    examples: Ids


@dataclass(frozen=True, slots=True, eq=False)
class NearnessByClass:
    """The nearness of every item to a viewer: `by_class` (n_classes,), and `class_of` (n_items,) items."""

    by_class: Nearness
    class_of: Ids

    def of(self, item_nos: Integers | int) -> Nearness:
        """The nearness of some items, or of one."""
        return self.by_class.take(np.asarray(self.class_of[item_nos], np.intp))

    def are_floor_eligible(self, item_nos: Ids) -> Mask:
        """(n,) whether a slot of the floor takes each item: of `of(item_nos)` this column alone."""
        return self.by_class.is_floor_eligible[self.class_of[item_nos]]

    @property
    def score(self) -> Floats:
        """(n_items,) see `Nearness`; a pass over the catalogue, as the next ones are."""
        return self.by_class.score[self.class_of]

    @property
    def match(self) -> NDArray[np.int8]:
        """(n_items,) see `Nearness`."""
        return self.by_class.match[self.class_of]

    @property
    def is_local(self) -> Mask:
        """(n_items,) see `Nearness`."""
        return self.by_class.is_local[self.class_of]

    @property
    def is_floor_eligible(self) -> Mask:
        """(n_items,) see `Nearness`."""
        return self.by_class.is_floor_eligible[self.class_of]


_READ: Final = (
    "region", "country", "region_source", "place_source", "has_own_language", "language", "audience", "reviewed_fit",
    "is_dialect",
)  # fmt: skip
"""All that `nearness` reads of an item."""


def nearness_classes(items: Items) -> NearnessClasses:
    """The classes of the catalogue's items."""
    key, n_keys = np.zeros(len(items), np.int64), 1
    for name in _READ:
        column = getattr(items, name).astype(np.int64)
        least, size = int(column.min(initial=0)), int(np.ptp(column)) + 1 if len(column) else 1
        if n_keys * size > _MAX_KEY:
            key = np.unique(key, return_inverse=True)[1].astype(np.int64)
            n_keys = int(key.max(initial=0)) + 1
        key, n_keys = key * size + (column - least), n_keys * size
    _, examples, class_of = np.unique(key, return_index=True, return_inverse=True)
    return NearnessClasses(class_of.astype(np.int32), examples.astype(np.int32))


_MAX_KEY: Final = 2**62


def nearness_by_class(viewer: Viewer, items: Items, market: Market, classes: NearnessClasses) -> NearnessByClass:
    """The nearness of items to a viewer, worked out for an item of each class."""
    return NearnessByClass(nearness(viewer, items, market, classes.examples), classes.class_of)


def nearness(viewer: Viewer, items: Items, market: Market, item_nos: Ids | slice = slice(None)) -> Nearness:
    """The nearness of items to a viewer: the best of place, speech, audience and review."""
    rules = market.locality
    confidence = _confidence(rules)
    grades = _match_confidences(viewer, items, market, item_nos, confidence)
    best = np.full(len(grades["foreign"]), np.nan, np.float32)
    match = np.zeros(len(best), np.int8)
    for name in _NEAREST_FIRST:  # the first of equal scores wins
        score = np.float32(rules.scores.get(name, 0.0)) * grades[name]
        is_better = (grades[name] > 0) & ~(best >= score)
        best[is_better] = score[is_better]
        match[is_better] = MATCHES.index(name)
    is_local = np.nan_to_num(best, nan=0.0) >= np.float32(rules.local_from)
    return Nearness(best, match, is_local, is_local & _is_floor_eligible(items, rules, item_nos, grades), confidence)


def _match_confidences(
    viewer: Viewer, items: Items, market: Market, item_nos: Ids | slice, confidence: Floats
) -> dict[str, Floats]:
    """Match -> (n,) the confidence with which it holds, 0 where it does not."""
    region, country = items.region[item_nos], items.country[item_nos]
    of_region, of_country = confidence[items.region_source[item_nos]], confidence[items.place_source[item_nos]]
    confidence_of_language = np.where(items.has_own_language[item_nos], confidence[_PLATFORM], confidence[_INFERRED])
    understood = confidence_of_language * _understood(viewer, items, market.locality.other_script, item_nos)
    here = [items.code(place) for place in (viewer.country, viewer.region) if place]
    is_for_here = (items.audience[item_nos] == items.code(viewer.country)) & (items.audience[item_nos] > 0)
    return {
        "region": of_region * ((region == items.code(viewer.region)) & (region > 0)),
        "neighbour": of_region * (np.isin(region, _neighbour_codes(viewer, items, market)) & (region > 0)),
        "country": of_country * ((country == items.code(viewer.country)) & (country > 0)),
        "fit": confidence[-1] * (np.isin(items.reviewed_fit[item_nos], here) & (items.reviewed_fit[item_nos] > 0)),
        "dialect": understood * items.is_dialect[item_nos],  # of the item's own speech: no creator's word
        "audience": confidence[_PLATFORM] * (is_for_here & (understood > 0)),
        "language": understood,
        "foreign": (country > 0).astype(np.float32),
    }


_PLATFORM: Final = EVIDENCE_SOURCES.index("platform")
_INFERRED: Final = EVIDENCE_SOURCES.index("inferred")


def _confidence(rules: LocalityRules) -> Floats:
    """The confidence of each of `EVIDENCE_SOURCES`; 0 for `none`."""
    by_source: Mapping[str, float] = dict(rules.evidence.items())
    return np.array([by_source.get(source, 0.0) for source in EVIDENCE_SOURCES], np.float32)


def _understood(viewer: Viewer, items: Items, other_script: float, item_nos: Ids | slice) -> Floats:
    """(n,) 1 for a language that the viewer named, less for the same language in another script, 0 for others."""
    spoken = {name.partition("-")[0] for name in viewer.languages}
    weights = np.zeros(len(items.codes) + 1, np.float32)
    for name, code in items.codes.items():
        if name.partition("-")[0] in spoken:
            weights[code] = 1.0 if name in viewer.languages else other_script
    return np.asarray(weights[items.language[item_nos]])


def _is_floor_eligible(items: Items, rules: LocalityRules, item_nos: Ids | slice, grades: dict[str, Floats]) -> Mask:
    """Whether the evidence is enough for a slot of the floor: a strong source, or two sources that agree."""
    enough = np.array([source in rules.floor_eligible for source in EVIDENCE_SOURCES])
    is_here = grades["country"] > 0
    by_speech = grades["dialect"] * np.float32(rules.scores.get("dialect", 0.0)) >= np.float32(rules.local_from)
    is_corroborated = is_here & items.is_dialect[item_nos]
    has_strong_source = is_here & enough[items.place_source[item_nos]]
    return np.asarray(has_strong_source | is_corroborated | by_speech | (grades["fit"] > 0))


def evidence(near: Nearness, items: Items, item_no: int, market: Market) -> tuple[str, float]:
    """
    The evidence of an item's match and its confidence: a source, `corroborated`, or `none`. `near`: of this item alone.
    """
    return evidence_of(MATCHES[int(near.match)], near.confidence, items, item_no, market, bool(near.is_floor_eligible))


def evidence_of(
    match: str, confidence_of: Floats, items: Items, item_no: int, market: Market, is_floor_eligible: bool
) -> tuple[str, float]:
    """`evidence` of an item with this match; `confidence_of` as in `Nearness`."""
    if match == "unknown":
        return "none", 0.0
    if match in ("dialect", "language", "audience", "fit"):
        by_speech = "platform" if items.has_own_language[item_no] else "inferred"
        source = {"fit": "partner", "audience": "platform"}.get(match, by_speech)
        return source, float(confidence_of[EVIDENCE_SOURCES.index(source)])
    position = int((items.region_source if match in ("region", "neighbour") else items.place_source)[item_no])
    source = EVIDENCE_SOURCES[position]
    confidence = float(confidence_of[position])
    if is_floor_eligible and source not in market.locality.floor_eligible:
        return "corroborated", confidence
    return source, confidence


def _neighbour_codes(viewer: Viewer, items: Items, market: Market) -> list[int]:
    region = market.regions.get(viewer.region or "")
    return [items.code(code) for code in region.neighbours] if region else []
