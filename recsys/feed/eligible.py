"""
What every filter lets through, without a pass over the catalogue in each request.

Most filters look at no single person: what they let through is worked out once for all viewers of one age, languages
and limits. The others run on the few items that they can remove. Where a filter may remove anything (mutes, a list of
the caller, a surface of one's own), all filters run over the whole catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.errors import StageError
from recsys.feed.filters import Filter
from recsys.feed.query import EligibleItems, Query, count_eligible
from recsys.sets import distinct
from recsys.types import Candidates, Ids, Longs, Mask

PERSONAL: Final = ("published", "seen", "excluded", "muted")
"""The filters whose verdicts differ between people of one age, languages and limits, or with the time."""

SHARED_SURFACES: Final = ("for_you", "search", "together")
"""The surfaces on which the filter of surfaces lets the same through for everybody."""

MAX_SHARED: Final = 48
"""Groups of viewers whose eligible items are at hand: a byte for each item and group."""


@dataclass(frozen=True, slots=True, eq=False)
class _SharedEligible:
    """Shapes: `mask` (n_items,), `rows` (n_rows,) of the artifact, `n_by_class` (n_classes,) of `NearnessClasses`."""

    mask: Mask
    rows: Mask
    n_by_class: Longs


def find_eligible(filters: Mapping[str, Filter], query: Query) -> Query:
    """The query with what is eligible. Raises what a filter raises, and StageError for a verdict that is no mask."""
    if not _is_shared(filters, query):
        keep = np.ones(len(query.whole), np.bool_)
        for name, check in filters.items():
            keep &= verdict(name, check, query, query.whole)
        return replace(query, eligible=count_eligible(query, keep))
    shared = _shared(filters, query)
    removed = _removed(filters, query)
    removed = removed[shared.mask[removed]]
    mask, rows = shared.mask.copy(), shared.rows.copy()
    mask[removed] = False
    of_removed = query.items.row[removed]
    rows[of_removed[of_removed >= 0]] = False
    class_of = query.rankings.index.classes.class_of
    n_by_class = shared.n_by_class - np.bincount(class_of[removed], minlength=len(shared.n_by_class))
    return replace(query, eligible=EligibleItems(mask, rows, n_by_class))


def verdict(name: str, check: Filter, query: Query, candidates: Candidates) -> Mask:
    """A filter's verdict. Raises StageError when it is no mask of the candidates."""
    keep = check(query, candidates)
    if keep.shape != (len(candidates),) or keep.dtype != np.bool_:
        raise StageError(f"filter {name}: found {keep.dtype}{keep.shape}, expected bool({len(candidates)},)")
    return keep


def _is_shared(filters: Mapping[str, Filter], query: Query) -> bool:
    limits = query.limits
    mutes = (limits.blocked_topics, limits.blocked_families, limits.blocked_creators, limits.blocked_words)
    is_common = query.surface in SHARED_SURFACES or query.is_help
    asked = (query.only, query.topics, query.languages_only)
    is_open = not any(mutes) and all(wish is None for wish in asked)
    return is_common and is_open and filters.keys() >= set(PERSONAL)


def _shared(filters: Mapping[str, Filter], query: Query) -> _SharedEligible:
    """What the filters that look at no single person let through."""
    checks = {name: check for name, check in filters.items() if name not in PERSONAL}
    limits, memo = query.limits, query.rules.shared
    key = (
        "eligible", tuple(checks.items()), query.viewer.age_band, query.viewer.languages, limits.labelled_only,
        limits.blocked_tiers, query.is_help or query.surface == "together",
    )  # fmt: skip
    shared: _SharedEligible | None = memo.memo.get(key)
    if shared is None:
        keep = np.ones(len(query.whole), np.bool_)
        for name, check in checks.items():
            keep &= verdict(name, check, query, query.whole)
        counted = count_eligible(query, keep)
        shared = _SharedEligible(keep, counted.rows, counted.n_by_class)
        memo.remember(key, shared, MAX_SHARED)
    return shared


def _removed(filters: Mapping[str, Filter], query: Query) -> Ids:
    """The items that a filter removes for this person or at this time, of those that it can remove."""
    can_remove = {
        "published": query.rankings.index.published_after(query.at),
        "seen": query.shown,
        "excluded": np.array(sorted(query.excluded), np.int32),
        "muted": np.empty(0, np.int32),
    }
    removed = []
    for name, item_nos in can_remove.items():
        keep = verdict(name, filters[name], query, query.rules.on_demand(item_nos))
        removed.append(item_nos[~keep])
    return distinct(np.concatenate(removed))
