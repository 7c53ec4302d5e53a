"""The candidates that a caller brings to be ranked: those that the catalogue holds, the others, and their features."""

from collections.abc import Iterable, Mapping

import numpy as np

from recsys.catalogue.creators import Creator
from recsys.catalogue.items import Items
from recsys.errors import DataError
from recsys.messages import FeedRequest, RankCandidate, RankRequest
from recsys.types import Floats, Ids


def listed_of(request: FeedRequest, items: Items) -> Ids | None:
    """The item numbers that the caller limits the page to, ascending; unknown ids are left out."""
    if request.candidate_ids is None:
        return None
    numbers = {items.index[item_id] for item_id in request.candidate_ids if item_id in items.index}
    return np.array(sorted(numbers), np.int32)


def unlisted_of(request: FeedRequest, items: Items) -> tuple[RankCandidate, ...]:
    """The candidates that the catalogue does not hold and the caller wants, in the caller's order, each id once."""
    if not isinstance(request, RankRequest):
        return ()
    first: dict[str, RankCandidate] = {}
    for candidate in request.candidates:
        if candidate.item_id not in items.index and candidate.item_id not in request.exclude_ids:
            first.setdefault(candidate.item_id, candidate)
    return tuple(first.values())


def hidden_among(unlisted: Iterable[RankCandidate], creators: Mapping[str, Creator]) -> frozenset[str]:
    """The creators of these candidates that the catalogue hides."""
    named = {candidate.creator_id for candidate in unlisted} & creators.keys()
    return frozenset(name for name in named if name is not None and creators[name].is_hidden)


def feature_weights(request: FeedRequest) -> Mapping[str, float]:
    """The weights of the caller's features by the name of their part. Raises DataError where names do not match."""
    if not isinstance(request, RankRequest):
        return {}
    given = {name for candidate in request.candidates for name in candidate.features}
    if unknown := sorted(given ^ request.feature_weights.keys()):
        found, expected = ("features", "feature_weights") if unknown[0] in given else ("feature_weights", "features")
        raise DataError(f"{found}: found {unknown[0]!r}, which {expected} does not name; name each in both")
    return {part_of(name): weight for name, weight in request.feature_weights.items()}


def part_of(feature: str) -> str:
    """The name of the part of a score that a feature makes."""
    return f"caller:{feature}"


def caller_parts(request: FeedRequest, items: Items, only: Ids | None) -> Mapping[str, Floats]:
    """
    Each feature (n_only,) in standard deviations over all candidates of the request; NaN = not given. One that is the
    same everywhere says nothing: 0. Its computed deviation need not be 0, so the values themselves are compared.
    """
    if not isinstance(request, RankRequest) or only is None:
        return {}
    first = {candidate.item_id: candidate for candidate in reversed(request.candidates)}
    known = [first[items.item_ids[item_no]] for item_no in only.tolist()]
    parts = {}
    for name in request.feature_weights:
        given = np.array([c.features[name] for c in first.values() if name in c.features], np.float64)
        values = np.array([c.features.get(name, np.nan) for c in known], np.float64)
        spread = float(given.std()) if len(given) and given.min() < given.max() else 0.0
        parts[part_of(name)] = ((values - given.mean()) / spread if spread else 0.0 * values).astype(np.float32)
    return parts
