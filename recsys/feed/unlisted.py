"""
Items that a caller brings and the catalogue does not hold.

Nothing is known of such an item, so it counts as what nobody labelled: R2 of the family `unlabelled`, within all caps,
and never for minors. A creator who is hidden stays hidden, whatever the caller brings. These items keep the caller's
order behind all others, and have no item number (0).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from recsys.catalogue.items import UNLABELLED_FAMILY, creator_number
from recsys.catalogue.locality import MATCHES
from recsys.feed.query import Query
from recsys.messages import RankCandidate
from recsys.types import Candidates, Column

UNLISTED: Final = "unlisted"
"""The column of candidates that names the row of `Query.unlisted`; -1 = an item of the catalogue."""


def kept_out(query: Query, candidate: RankCandidate) -> str | None:
    """The filter that removes an item of which nothing is known; None for one that only the caps bound."""
    limits = query.limits
    if candidate.creator_id in query.hidden_creators:
        return "hidden"
    if 2 in limits.blocked_tiers:
        return "tier"
    if limits.labelled_only or query.is_minor:
        return "unlabelled"
    if query.topics is not None or query.languages_only is not None:
        return "excluded"
    return (
        "muted" if "unlabelled" in limits.blocked_families or candidate.creator_id in limits.blocked_creators else None
    )


def with_unlisted(candidates: Candidates, query: Query) -> Candidates:
    """The candidates, and behind them what the catalogue does not hold and no filter removes."""
    places = [n for n, candidate in enumerate(query.unlisted) if kept_out(query, candidate) is None]
    if not places:
        return candidates
    last = candidates["score"].min() if len(candidates) else 0.0
    told: Mapping[str, object] = {
        "tier": 2,
        "family": UNLABELLED_FAMILY,
        "match": MATCHES.index("unknown"),
        "creator_no": [_creator_no(query.unlisted[n]) for n in places],
        "score": last,
        "rank_listed": np.arange(1, len(places) + 1) + len(candidates),
    }
    known = candidates.with_columns({UNLISTED: np.full(len(candidates), -1, np.int32)})
    columns: dict[str, Column] = {}
    for name, column in known.columns.items():
        row = np.full(len(places), np.nan if column.dtype.kind == "f" else 0, column.dtype)
        row[:] = places if name == UNLISTED else told.get(name, row)
        columns[name] = np.concatenate([column, row])
    return Candidates(np.concatenate([known.item_nos, np.zeros(len(places), np.int32)]), columns)


def _creator_no(candidate: RankCandidate) -> int:
    """The creator that the caller names, or one that made nothing else."""
    return creator_number(candidate.creator_id or f"{UNLISTED} {candidate.item_id}")


def unlisted_at(query: Query, candidates: Candidates, row: int) -> RankCandidate | None:
    """The candidate in a row that the catalogue does not hold; None for an item of the catalogue."""
    column = candidates.columns.get(UNLISTED)
    return None if column is None or column[row] < 0 else query.unlisted[column[row]]


def unlisted_ids(query: Query, candidates: Candidates) -> tuple[str, ...]:
    """The ids of the last rows, which the catalogue does not hold, in order."""
    column = candidates.columns.get(UNLISTED, np.empty(0, np.int32))
    return tuple(query.unlisted[n].item_id for n in column.tolist() if n >= 0)


def removed_unlisted(query: Query) -> Mapping[str, int]:
    """How many items that the catalogue does not hold each filter removes."""
    reasons = [reason for candidate in query.unlisted if (reason := kept_out(query, candidate))]
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
