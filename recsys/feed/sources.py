"""
Sources: where candidates come from. Each returns item numbers, best first, among what the filters let through, so
that a rule never leaves a page short because the nearest items were all forbidden. Sources fail open.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from recsys.catalogue.items import mentions
from recsys.catalogue.rankings import PopularHead
from recsys.feed.query import Query
from recsys.models.affinity import affinities
from recsys.models.affinity_index import best_by_affinity
from recsys.models.best_rows import best_allowed
from recsys.models.features import RESPONSE
from recsys.sets import distinct, is_among
from recsys.types import Ids, Mask, rank_order

Source = Callable[[Query], Ids]
"""Item numbers, best first, without repeats. Raises SourceError when it is unavailable."""

LARGE_SOURCE_ITEMS: Final = 200
"""Items of a source that ranks for the person; the others give fewer."""

MEDIUM_SOURCE_ITEMS: Final = 60
SMALL_SOURCE_ITEMS: Final = 20


def content(query: Query) -> Ids:
    """The nearest items to the person's history in the space of texts; nothing where content weighs nothing."""
    ranked = query.model.spaces.get("text") if query.weights.get("content") else None
    vector = query.vector("text") if ranked else None
    if ranked is None or vector is None:
        return np.empty(0, np.int32)
    return query.item_nos(ranked.nearest(vector, LARGE_SOURCE_ITEMS, query.eligible.rows))


def blend(query: Query) -> Ids:
    """The items with the best scores of the blend; nothing without a history, or where it weighs nothing."""
    if not query.weights.get("cf"):
        return np.empty(0, np.int32)
    rows = _blend_rows(query)
    of_blend = query.all_blend_scores() if rows is None else query.blend_scores(rows)
    if of_blend is None:
        return np.empty(0, np.int32)
    allowed = np.isfinite(of_blend) & (query.eligible.rows if rows is None else True)
    best = best_allowed(of_blend, allowed, LARGE_SOURCE_ITEMS)
    return query.item_nos(best.astype(np.int32) if rows is None else rows[best])


MAX_SCORED_ROWS: Final = 50_000
"""Artifact rows that one product scores in less time than an index takes; of more, those that an index finds."""


def _blend_rows(query: Query) -> Ids | None:
    """The eligible artifact rows among which the blend's best are looked for; None = all that are eligible."""
    rows, cf, vector = query.eligible.rows, query.model.spaces.get("cf"), query.vector("cf")
    if len(rows) <= MAX_SCORED_ROWS or query.model.linear_blend is None or cf is None or vector is None:
        return None
    popular = query.items.row[_first(query.rankings.popular, query.is_eligible, 2 * LARGE_SOURCE_ITEMS)]
    nearest = cf.nearest(vector, 2 * LARGE_SOURCE_ITEMS, rows)
    return distinct(np.concatenate([nearest, popular[popular >= 0]]).astype(np.int32))


def affinity(query: Query) -> Ids:
    """The R0 and R1 that the person would watch most of: what is expected of each, and the person's affinity."""
    index = query.model.affinity_index
    if query.rankable is None or index is None:
        return np.empty(0, np.int32)
    inputs, user = query.rankable.inputs, query.user()
    best = best_by_affinity(index, user[:-1], LARGE_SOURCE_ITEMS, query.eligible.rows & query.rules.shared.is_calm_row)
    new = query.rankable.new
    new = new[query.is_eligible[new] & (query.rules["tier"][new] < 2)]
    numbers = np.concatenate([query.item_nos(best.astype(np.int32)), new])
    rows = query.rankable.rows[numbers]
    expected = inputs.rates[rows, RESPONSE] + affinities(inputs.item_features, user, rows)
    return numbers[rank_order(expected, numbers)[:LARGE_SOURCE_ITEMS]]


def trending_local(query: Query) -> Ids:
    """What people of the market act on, among items near the viewer: first what the floor takes, then the others."""
    return np.concatenate(
        [
            _first_of_head(query, query.kind.floor_eligible, _is_floor_eligible, MEDIUM_SOURCE_ITEMS),
            _first_of_head(query, query.kind.near, _is_near, SMALL_SOURCE_ITEMS),
        ]
    )


def trending(query: Query) -> Ids:
    """What people of the market act on, wherever it is from."""
    return _first(query.rankings.popular, query.is_eligible, MEDIUM_SOURCE_ITEMS)


def fresh(query: Query) -> Ids:
    """The newest items, also those that no model has seen yet."""
    return _first(query.rankings.index.newest, query.is_eligible, MEDIUM_SOURCE_ITEMS)


def followed(query: Query) -> Ids:
    """The newest items of creators the person follows."""
    index = query.rankings.index
    creators = index.creator_rows(np.array(sorted(query.followed), np.int64))
    items = index.by_creator.heads(creators, len(query.items))
    items = items[query.is_eligible[items]]
    return items[np.argsort(index.newest_rank[items])][:MEDIUM_SOURCE_ITEMS]


def resources(query: Query) -> Ids:
    """Supportive items of the market, near ones first: what the floors are filled from."""

    def is_near(query: Query, item_nos: Ids) -> Mask:
        return query.rules["is_supportive"][item_nos] & _is_floor_eligible(query, item_nos)

    def is_elsewhere(query: Query, item_nos: Ids) -> Mask:
        return query.rules["is_supportive"][item_nos] & ~_is_floor_eligible(query, item_nos)

    supportive = query.rankings.head_of_supportive(query.rules["is_supportive"], is_minor=query.is_minor)
    return np.concatenate(
        [
            _first_of_head(query, query.kind.floor_eligible, is_near, MEDIUM_SOURCE_ITEMS),
            _first_of_head(query, supportive, is_elsewhere, MEDIUM_SOURCE_ITEMS),
        ]
    )


def explore(query: Query) -> Ids:
    """A uniform draw from reviewed items, and another from those of new creators."""
    rng, rules = np.random.default_rng([query.seed, 1]), query.rules
    reviewed, n = rules.shared.reviewed, query.market.exploration.pool

    def is_new(item_nos: Ids) -> Mask:
        is_creator_new = rules.is_new_creator[rules.creator_row[item_nos]]
        return query.is_eligible[item_nos] & is_creator_new & _is_floor_eligible(query, item_nos)

    drawn = draw(rng, reviewed, lambda item_nos: query.is_eligible[item_nos], n)
    new = draw(rng, reviewed, is_new, n)
    return np.concatenate([drawn, new[~is_among(new, drawn)]]).astype(np.int32)


def draw(rng: np.random.Generator, pool: Ids, keep: Callable[[Ids], Mask], n: int) -> Ids:
    """
    Up to n of the items in a pool that are kept, in random order, each as likely as the others.

    A few of the pool are drawn first. When too few of these are kept, the whole pool is looked at, and drawn from anew.
    """
    tried = pool[rng.choice(len(pool), min(len(pool), TRIES * n), replace=False)]
    drawn = tried[keep(tried)]
    if len(drawn) >= n or len(tried) == len(pool):
        return drawn[:n]
    kept = pool[keep(pool)]
    return kept[rng.choice(len(kept), min(len(kept), n), replace=False)]


TRIES: Final = 8
"""Items drawn for each that is wanted."""


def related(query: Query) -> Ids:
    """Items near the anchor in the space of texts."""
    ranked = query.model.spaces.get("text") or query.model.spaces.get("cf")
    if query.anchor is None or ranked is None or query.items.row[query.anchor] < 0:
        return np.empty(0, np.int32)
    vector = np.asarray(ranked.space.item_vectors[query.items.row[query.anchor]])
    return query.item_nos(ranked.nearest(vector, LARGE_SOURCE_ITEMS, query.eligible.rows))


def listed(query: Query) -> Ids:
    """The items that the caller asked to be ranked."""
    if query.only is None:
        return np.empty(0, np.int32)
    return query.only[query.is_eligible[query.only]]


def matching(query: Query) -> Ids:
    """Items whose words match the search: all words first, then some."""
    hits = np.zeros(len(query.items), np.float32)
    for word in set((query.text or "").casefold().split()):
        hits += mentions(query.items, word)
    numbers = np.flatnonzero((hits > 0) & query.is_eligible)
    return numbers[rank_order(hits[numbers], numbers.astype(np.int32))[:LARGE_SOURCE_ITEMS]].astype(np.int32)


FOR_YOU: Final[Mapping[str, Source]] = {
    "cf": blend,
    "content": content,
    "affinity": affinity,
    "local": trending_local,
    "trending": trending,
    "fresh": fresh,
    "followed": followed,
    "resources": resources,
    "explore": explore,
}
BY_SURFACE: Final[Mapping[str, Mapping[str, Source]]] = {
    "for_you": FOR_YOU,
    "following": {"followed": followed},
    "local": FOR_YOU,
    "related": {"related": related, "resources": resources},
    "search": {"search": matching},
    "together": FOR_YOU,
}


def _is_floor_eligible(query: Query, item_nos: Ids) -> Mask:
    return query.nearness.are_floor_eligible(item_nos)


def _is_near(query: Query, item_nos: Ids) -> Mask:
    near = query.nearness.of(item_nos)
    return near.is_local & ~near.is_floor_eligible


FIRST_LOOK: Final = 8
"""Items of a head that are looked at first, for each that is wanted."""

SECOND_LOOK: Final = 24
"""Likewise, where the first were too few."""


def _first_of_head(query: Query, head: PopularHead, is_meant: Callable[[Query, Ids], Mask], k: int) -> Ids:
    """The first k eligible items that are meant; where the head has too few, of the whole catalogue."""
    for items in (head.item_nos[: FIRST_LOOK * k], head.item_nos[: SECOND_LOOK * k], head.item_nos):
        best = items[query.is_eligible[items]]
        best = best[is_meant(query, best)][:k]
        if len(best) == k:
            return best
    if head.is_whole:
        return best
    everything = query.rankings.popular
    return everything[query.is_eligible[everything] & is_meant(query, everything)][:k]


def _first(order: Ids, keep: Mask, k: int) -> Ids:
    """The first k kept item numbers of an order."""
    head = order[: 20 * k]  # nearly always enough
    best = head[keep[head]][:k]
    return best if len(best) == k else order[keep[order]][:k]
