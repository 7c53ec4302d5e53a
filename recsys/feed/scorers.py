"""
Scores: each part in standard deviations over the catalogue, and their weighted sum.

A score of a row depends on the query and the row only. R2 never competes on engagement: an R2 candidate gets the
30th percentile of the page's R0 scores, and among R2 the surest label comes first.
"""

from collections.abc import Callable, Mapping
from ctypes import CDLL
from typing import Final

import numpy as np

from recsys.catalogue.items import topic_bits
from recsys.clock import DAY
from recsys.feed.calibration import language_bonus
from recsys.feed.compiled_order import order_compiled
from recsys.feed.query import Query
from recsys.kernels import library
from recsys.models.features import RankerQuery, ranker_features
from recsys.models.ranker import Ranker
from recsys.safety.loop.levels import reduce_scores
from recsys.sets import is_among
from recsys.types import Candidates, Columns, Floats, Longs, Rows
from recsys.vocabulary import FAMILIES, HEADS, TOPICS

Scorer = Callable[[Query, Candidates], Floats]
FRESH_HALF_LIFE: Final = 7 * DAY
R2_PERCENTILE: Final = 30


def content(query: Query, candidates: Candidates) -> Floats:
    """How near an item is to the person by its texts; NaN = unknown, or not worked out, as it weighs nothing."""
    if not query.weights.get("content"):
        return np.full(len(candidates), np.nan, np.float32)
    ranked, vector = query.model.spaces.get("text"), query.vector("text")
    if ranked is None or vector is None:
        return np.zeros(len(candidates), np.float32)
    return ranked.scores(vector, query.items.row[candidates.item_nos])


def blend(query: Query, candidates: Candidates) -> Floats:
    """
    The blend's standardised scores; NaN = unknown, or not worked out, as it weighs nothing. Zeros for a person without
    a history.
    """
    if not query.weights.get("cf"):
        return np.full(len(candidates), np.nan, np.float32)
    scores = query.blend_scores(query.items.row[candidates.item_nos])
    return np.zeros(len(candidates), np.float32) if scores is None else scores


def popular(query: Query, candidates: Candidates) -> Floats:
    """What people of the viewer's market act on."""
    return query.rankings.popularity[candidates.item_nos]


def fresh(query: Query, candidates: Candidates) -> Floats:
    """1 for an item published now, half after 7 days."""
    age = np.maximum(query.at - query.items.published_at[candidates.item_nos], 0)
    return np.exp2(-age / FRESH_HALF_LIFE).astype(np.float32)


def followed(query: Query, candidates: Candidates) -> Floats:
    """1 for creators the person follows."""
    return is_among(candidates["creator_no"], np.array([*query.followed], np.int64)).astype(np.float32)


def local(query: Query, candidates: Candidates) -> Floats:
    """The locality score; unknown counts as 0, neither local nor foreign."""
    return np.nan_to_num(query.nearness.of(candidates.item_nos).score, nan=0.0)


def supportive(query: Query, candidates: Candidates) -> Floats:
    """1 for R0 items on a supportive topic."""
    return candidates["is_supportive"].astype(np.float32)


def of_head(name: str) -> Scorer:
    """
    The chance that the person does this with an item; NaN = no ranker. An item without a label, or of R2 and above,
    gets the same chance for everybody: nothing is predicted from risk.
    """

    def score(query: Query, candidates: Candidates) -> Floats:
        ranker = query.model.ranker
        if ranker is None or name not in ranker.heads.heads:
            return np.full(len(candidates), np.nan, np.float32)
        key = candidates.item_nos.tobytes()
        if key not in query.chances:  # all heads read the same features
            query.chances[key] = _chances(ranker, query, candidates)
        return np.asarray(query.chances[key][name])

    return score


def asked_of(query: Query) -> RankerQuery:
    """The part of a query that features may read."""
    vectors = {name: query.vector(name) for name in query.model.spaces}
    return RankerQuery(
        country=query.viewer.country,
        region=query.viewer.region,
        languages=query.viewer.languages,
        at=query.at,
        history=query.history,
        responses=query.responses,
        vectors={name: vector for name, vector in vectors.items() if vector is not None},
        user=None if query.rankable is None else query.user(),
    )


def _chances(ranker: Ranker, query: Query, candidates: Candidates) -> Columns:
    assert query.rankable is not None
    rows = query.rankable.rows[candidates.item_nos]
    is_met = (rows >= 0) & (candidates["tier"] < 2)
    predicted = ranker.heads.predict(ranker_features(asked_of(query), query.rankable.inputs, rows[is_met]))
    columns = {name: np.full(len(rows), head.prior, np.float32) for name, head in ranker.heads.heads.items()}
    for name, chances in predicted.items():
        columns[name][is_met] = chances
    return columns


def of_caller(part: str) -> Scorer:
    """A feature that the caller brought with its candidates."""

    def score(query: Query, candidates: Candidates) -> Floats:
        assert query.only is not None
        return query.caller_parts[part][np.searchsorted(query.only, candidates.item_nos)]

    return score


SCORERS: Final[Mapping[str, Scorer]] = {
    "cf": blend,
    "content": content,
    "popular": popular,
    "fresh": fresh,
    "followed": followed,
    "local": local,
    "supportive": supportive,
    **{name: of_head(name) for name in HEADS},
}


PARTS: Final = (*SCORERS, "language")
"""Every part of a score; `language` is worked out last, from the sum of the others."""


def value(query: Query, candidates: Candidates) -> Floats:
    """The weighted sum of the parts; an unknown part counts as the catalogue's mean, 0."""
    total = np.zeros(len(candidates), np.float32)
    for weight, part in _weighed(query, candidates):
        add_part(total, weight, part)
    return total


def _weighed(query: Query, candidates: Candidates) -> list[tuple[float, Floats]]:
    """The parts that are there and weigh something, with their weights."""
    weights, columns = query.weights, candidates.columns
    named = ((weights.get(name), columns.get(f"p_{name}")) for name in (*PARTS, *query.caller_parts))
    return [(weight, part) for weight, part in named if weight and part is not None]


def add_part(total: Floats, weight: float, part: Floats) -> None:
    """Adds a part times its weight to the sum (n,), in place; an unknown part adds nothing."""
    is_known = np.isfinite(part)
    total += np.float32(weight) * (part if is_known.all() else np.nan_to_num(part, nan=0.0))


def language(query: Query, candidates: Candidates, scores: Floats) -> Floats:
    """
    How far a page of the best is behind in each item's language; 0 for a page that is not calibrated.

    `scores` (n,) are the weighted sums of the other parts. R2 and above have a constant score and take no part.
    """
    weight, wanted = query.weights.get("language", 0.0), query.wanted_languages
    columns = _places_of_languages(query)[query.items.language[candidates.item_nos]]
    rows = np.flatnonzero((columns >= 0) & (candidates["tier"] < 2))
    bonus = np.zeros(len(candidates), np.float32)
    if weight and len(rows):
        shares = np.array(list(wanted.values()), np.float64)
        is_r1 = candidates["tier"][rows] == 1
        bonus[rows] = language_bonus(scores[rows], columns[rows], shares, weight, query.size, is_r1)
    return bonus


def _places_of_languages(query: Query) -> Longs:
    """(n_codes,) the place of each language among those that are wanted; -1 for the others."""
    codes = query.items.codes
    places = np.full(max(codes.values(), default=0) + 1, -1)
    for place, name in enumerate(query.wanted_languages):
        if name in codes:
            places[codes[name]] = place
    return places


def ordered(query: Query, candidates: Candidates) -> tuple[Floats, Floats, Rows]:
    """The bonus of languages (n,), the scores (n,) that order the page, and the rows best first."""
    native = library()
    known = None if native is None or query.reduced else _ordered_compiled(native, query, candidates)
    return ordered_in_numpy(query, candidates) if known is None else known


def ordered_in_numpy(query: Query, candidates: Candidates) -> tuple[Floats, Floats, Rows]:
    """The reference of `ordered`, and what orders a page on which scores are faded."""
    scores = value(query, candidates)
    bonus = language(query, candidates, scores)
    add_part(scores, query.weights.get("language", 0.0), bonus)
    valued = candidates.with_columns({"score": scores})
    valued = valued.with_columns({"score": faded(query, valued)})
    order, final = page_order(valued, query.items.confidence[candidates.item_nos])
    return bonus, final, order


def _ordered_compiled(native: CDLL, query: Query, candidates: Candidates) -> tuple[Floats, Floats, Rows] | None:
    items, numbers = query.items, candidates.item_nos.astype(np.intp)
    return order_compiled(
        native,
        candidates,
        _weighed(query, candidates),
        query.weights.get("language", 0.0),
        confidence=items.confidence[numbers],
        language=items.language[numbers],
        wanted=list(query.wanted_languages.values()),
        column_of=_places_of_languages(query),
        depth=query.size,
        percent=R2_PERCENTILE,
    )


def faded(query: Query, candidates: Candidates) -> Floats:
    """The scores, those of topics and families that the person refused a while ago moved towards the page's worst."""
    if not query.reduced:
        return np.asarray(candidates["score"])
    factors = np.ones(len(candidates), np.float32)
    for name, factor in query.reduced.items():
        if name in TOPICS:
            is_meant = (candidates["topics"] & topic_bits([name])) != 0
        else:
            is_meant = candidates["family"] == FAMILIES.index(name)
        factors[is_meant] = np.minimum(factors[is_meant], factor)
    return reduce_scores(candidates["score"], factors)


def percentile_of(values: Floats, percent: int) -> np.float32:
    """`np.percentile` of one or more float32 numbers without its preparations; NaN when one is."""
    place = (len(values) - 1) * (percent / 100)
    before = int(place)
    after = min(before + 1, len(values) - 1)
    ordered = np.sort(values)  # NaN comes last
    if np.isnan(ordered[-1]):
        return np.float32(np.nan)
    low, high, share = ordered[before], ordered[after], place - before
    step = high - low
    return np.float32(high - step * (1 - share) if share >= 0.5 else low + step * share)


def page_order(candidates: Candidates, confidence: Floats) -> tuple[Rows, Floats]:
    """
    Rows best first, and the scores that order them: R2 at the constant, surest label first, then item number.

    Shapes: confidence (n,); returns (n,) and (n,).
    """
    is_r2 = candidates["tier"] >= 2
    scores = np.array(candidates["score"], np.float32)
    if is_r2.any():
        neutral = scores[candidates["tier"] == 0]
        scores[is_r2] = percentile_of(neutral, R2_PERCENTILE) if len(neutral) else 0.0
    scores = np.where(np.isfinite(scores), scores, -np.inf).astype(np.float32)
    order = np.lexsort((candidates.item_nos, np.where(is_r2, -confidence, 0.0), -scores))
    return order, scores
