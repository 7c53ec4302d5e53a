"""
Sources: where candidates come from. Each returns item numbers, best first, among what the filters let through, so
that a rule never leaves a page short because the nearest items were all forbidden. Sources fail open.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from recsys.feed.query import Query
from recsys.models.affinity import affinities
from recsys.models.features import RESPONSE
from recsys.topk import top_k
from recsys.types import Ids, Mask, rank_order

Source = Callable[[Query], Ids]
"""Item numbers, best first, without repeats. Raises SourceError when it is unavailable."""

LARGE_SOURCE_ITEMS: Final = 200
"""Items of a source that ranks for the person; the others give fewer."""

MEDIUM_SOURCE_ITEMS: Final = 60
SMALL_SOURCE_ITEMS: Final = 20


def space(name: str, k: int = LARGE_SOURCE_ITEMS) -> Source:
    """The nearest items of a space to the person's history; nothing for a person without one."""

    def retrieve(query: Query) -> Ids:
        ranked, vector = query.model.spaces.get(name), query.vector(name)
        if ranked is None or vector is None:
            return np.empty(0, np.int32)
        return query.item_nos(ranked.nearest(vector, k, query.allowed_rows()))

    return retrieve


def blend(query: Query) -> Ids:
    """The items with the best scores of the blend; nothing for a person without a history."""
    of_blend = query.blend_scores()
    if of_blend is None:
        return np.empty(0, np.int32)
    scores = np.where(query.allowed_rows() & np.isfinite(of_blend), of_blend, -np.inf).astype(np.float32)
    best = top_k(scores[None], LARGE_SOURCE_ITEMS)[0]
    return query.item_nos(best[np.isfinite(scores[best])].astype(np.int32))


def affinity(query: Query) -> Ids:
    """The R0 and R1 that the person would watch most of: what is expected of each, and the person's affinity."""
    if query.rankable is None:
        return np.empty(0, np.int32)
    inputs, rows = query.rankable.inputs, query.rankable.rows
    numbers = np.flatnonzero(query.is_eligible & (rows >= 0) & (query.whole["tier"] < 2)).astype(np.int32)
    expected = inputs.rates[rows[numbers], RESPONSE] + affinities(inputs.item_features, query.user(), rows[numbers])
    return np.asarray(numbers[top_k(expected[None].astype(np.float32), LARGE_SOURCE_ITEMS)[0]], np.int32)


def trending_local(query: Query) -> Ids:
    """What people of the market act on, among items near the viewer: first what the floor takes, then the others."""
    near = query.nearness
    floor_eligible = _first(query.rankings.popular, query.is_eligible & near.is_floor_eligible, MEDIUM_SOURCE_ITEMS)
    return np.concatenate(
        [
            floor_eligible,
            _first(
                query.rankings.popular, query.is_eligible & near.is_local & ~near.is_floor_eligible, SMALL_SOURCE_ITEMS
            ),
        ]
    )


def trending(query: Query) -> Ids:
    """What people of the market act on, wherever it is from."""
    return _first(query.rankings.popular, query.is_eligible, MEDIUM_SOURCE_ITEMS)


def fresh(query: Query) -> Ids:
    """The newest items, also those that no model has seen yet."""
    return _first(query.rankings.newest, query.is_eligible, MEDIUM_SOURCE_ITEMS)


def followed(query: Query) -> Ids:
    """The newest items of creators the person follows."""
    if not query.followed:
        return np.empty(0, np.int32)
    mine = np.isin(query.items.creator_no, list(query.followed))
    return _first(query.rankings.newest, query.is_eligible & mine, MEDIUM_SOURCE_ITEMS)


def resources(query: Query) -> Ids:
    """Supportive items of the market, near ones first: what the floors are filled from."""
    is_supportive = query.is_eligible & query.whole["is_supportive"]
    near = _first(query.rankings.popular, is_supportive & query.nearness.is_floor_eligible, MEDIUM_SOURCE_ITEMS)
    return np.concatenate(
        [near, _first(query.rankings.popular, is_supportive & ~query.nearness.is_floor_eligible, MEDIUM_SOURCE_ITEMS)]
    )


def explore(query: Query) -> Ids:
    """A uniform draw from reviewed items, and another from those of new creators."""
    rng = np.random.default_rng([query.seed, 1])
    drawn = [
        rng.choice(pool, min(len(pool), query.market.exploration.pool), replace=False)
        for pool in (
            np.flatnonzero(query.is_eligible & query.whole[name]) for name in ("is_explorable", "is_new_creator")
        )
    ]
    new = drawn[1][~np.isin(drawn[1], drawn[0])]
    return np.concatenate([drawn[0], new]).astype(np.int32)


def related(query: Query) -> Ids:
    """Items near the anchor in the space of texts."""
    ranked = query.model.spaces.get("text") or query.model.spaces.get("cf")
    if query.anchor is None or ranked is None or query.items.row[query.anchor] < 0:
        return np.empty(0, np.int32)
    vector = np.asarray(ranked.space.item_vectors[query.items.row[query.anchor]])
    return query.item_nos(ranked.nearest(vector, LARGE_SOURCE_ITEMS, query.allowed_rows()))


def listed(query: Query) -> Ids:
    """The items that the caller asked to be ranked."""
    if query.only is None:
        return np.empty(0, np.int32)
    return query.only[query.is_eligible[query.only]]


def matching(query: Query) -> Ids:
    """Items whose words match the search: all words first, then some."""
    words = set((query.text or "").casefold().split())
    eligible = np.flatnonzero(query.is_eligible)
    texts = query.items.texts
    hits = np.array([sum(word in texts[n] for word in words) for n in eligible], np.float32)
    numbers = eligible[hits > 0]
    return numbers[rank_order(hits[hits > 0], numbers.astype(np.int32))[:LARGE_SOURCE_ITEMS]].astype(np.int32)


FOR_YOU: Final[Mapping[str, Source]] = {
    "cf": blend,
    "content": space("text"),
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


def _first(order: Ids, keep: Mask, k: int) -> Ids:
    """The first k kept item numbers of an order."""
    head = order[: 20 * k]  # nearly always enough
    best = head[keep[head]][:k]
    return best if len(best) == k else order[keep[order]][:k]
