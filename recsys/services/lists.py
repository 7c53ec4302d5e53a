"""
Lists without a person: creators near a place, items like an item, what a market acts on.

They are lists, not feeds: no ledger counts them, so they hold only what no cap counts and anybody may see, labelled R0
items that are R0 for minors too, for which no age is asked.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from recsys.catalogue.copies import copy_columns
from recsys.catalogue.creators import EVIDENCE_SOURCES, Creator, creator_place
from recsys.catalogue.items import Items, creator_number, topic_names
from recsys.clock import Millis, to_text
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.languages import lookup
from recsys.policy.schema import LocalityRules, Market
from recsys.safety.copies import PageCopies
from recsys.text.duplicates import bound_by
from recsys.types import Ids, Integers, JsonObject, Mask, rank_order

YOUNGEST: Final = 12  # years: an item for which a higher age is asked is on no list


def for_anybody(items: Items, at: Millis) -> Mask:
    """(n_items,) what a list may hold at `at`."""
    is_calm = items.is_labelled & (items.minor_tier == 0) & (items.min_age <= YOUNGEST)
    return np.asarray(items.exists & ~items.is_hidden & (items.published_at <= at) & is_calm)


def trending(
    engine: Engine, *, country: str | None, region: str | None, language: str | None, size: int, at: Millis
) -> JsonObject:
    """
    What people of a market act on most, lately and by now, best first; with `region` only items from there, with
    `language` only such.
    """
    items, model = _items(engine), engine.resources.model
    market = country or engine.resources.policy.market.market
    numbers = _listed(engine, items, region, language, at)
    scores = engine.resources.catalogue_cache.rankings(items, model, market).popularity[numbers]
    is_known = np.isfinite(scores)
    ranked = numbers[is_known][rank_order(scores[is_known], numbers[is_known])]
    chosen = _distinct(items, ranked, size)
    return {"country": market, "region": region, "language": language, "items": [_item(items, n) for n in chosen]}


def latest(engine: Engine, *, region: str | None, language: str | None, size: int, at: Millis) -> JsonObject:
    """What was published last; with `region` only items from there, with `language` only such."""
    items = _items(engine)
    numbers = _listed(engine, items, region, language, at)
    newest_first = numbers[rank_order(items.published_at[numbers].astype(np.float64), numbers)]
    chosen = _distinct(items, newest_first, size)
    return {"region": region, "language": language, "items": [_item(items, n) for n in chosen]}


def _listed(engine: Engine, items: Items, region: str | None, language: str | None, at: Millis) -> Ids:
    """The numbers of what a list may hold, of a region and a language where they are named."""
    ranges = engine.resources.policy.market.language_ranges
    languages = (None,) if language is None else lookup(language, ranges)
    is_spoken = np.logical_or.reduce([_of(items.language, items, name) for name in languages])
    return np.flatnonzero(for_anybody(items, at) & _of(items.region, items, region) & is_spoken).astype(np.int32)


def similar(engine: Engine, item_id: str, size: int, at: Millis) -> JsonObject | None:
    """
    Items like an item, nearest first; None when there is no such item. Of an item that is no list's there are none:
    a door that leads from risk to more like it stays shut.
    """
    items, spaces = _items(engine), engine.resources.model.spaces
    item_no = items.index.get(item_id)
    if item_no is None:
        return None
    row, keep = int(items.row[item_no]), for_anybody(items, at)
    ranked = spaces.get("text") or spaces.get("cf")
    if ranked is None or row < 0 or not keep[item_no]:
        return {"item_id": item_id, "items": []}
    keep &= ~bound_by(items.copies, np.arange(len(items)) == item_no)
    by_row = np.zeros(engine.resources.model.n_rows, np.int32)
    known = np.flatnonzero(items.row >= 0)
    by_row[items.row[known]] = known
    vector = np.asarray(ranked.space.item_vectors[row])
    neighbours = by_row[ranked.nearest(vector, 3 * size, keep[by_row])]
    return {"item_id": item_id, "items": [_item(items, n) for n in _distinct(items, neighbours, size)]}


def local(
    engine: Engine,
    *,
    country: str | None,
    region: str | None,
    language: str | None,
    kind: str | None,
    size: int,
    at: Millis,
) -> JsonObject:
    """
    Creators near a place who have something that a list may hold: from the region, from one beside it, from the
    country; surer places first, then who has more. A creator of unknown place is not among them.
    """
    items, market = _items(engine), engine.resources.policy.market
    home = country or (region.partition("-")[0] if region else market.market)
    if region and region.partition("-")[0] != home:
        raise DataError(f"region: found {region!r}, expected one of {home}, or no country")
    n_items = _counts(items, at)
    languages = None if language is None else frozenset(lookup(language, market.language_ranges))
    near = [
        (score, n_items[creator_number(creator.creator_id)], creator, match)
        for creator in engine.resources.catalogue_cache.creators.values()
        if creator_number(creator.creator_id) in n_items and _fits(creator, languages, kind)
        for match, score in [_near(creator, home, region, market)]
        if score > 0
    ]
    near.sort(key=lambda ranked: (-ranked[0], -ranked[1], ranked[2].creator_id))
    creators = [_creator(creator, match, score, n) for score, n, creator, match in near[:size]]
    return {"country": home, "region": region, "language": language, "kind": kind, "creators": creators}


def _near(creator: Creator, country: str, region: str | None, market: Market) -> tuple[str, float]:
    """How near a creator's base is, by the grades of the feed."""
    base, rules = creator_place(creator), market.locality
    if base.country != country:
        return "foreign", 0.0
    known = market.regions.get(region or "")
    if region and base.region == region:
        return "region", rules.scores["region"] * _sure(base.region_source, rules)
    if known and base.region in known.neighbours:
        return "neighbour", rules.scores["neighbour"] * _sure(base.region_source, rules)
    return "country", rules.scores["country"] * _sure(base.source, rules)


def _sure(source: int, rules: LocalityRules) -> float:
    evidence: Mapping[str, float] = rules.evidence  # type: ignore[assignment]  # a mapping of fewer keys
    return evidence.get(EVIDENCE_SOURCES[source], 0.0)


def _fits(creator: Creator, languages: frozenset[str] | None, kind: str | None) -> bool:
    speaks = languages is None or not languages.isdisjoint(creator.languages)
    return not creator.is_hidden and kind in (None, creator.kind) and speaks


def _counts(items: Items, at: Millis) -> dict[int, int]:
    """Creator's number -> how many items a list may hold."""
    numbers, counts = np.unique(items.creator_no[for_anybody(items, at)], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _items(engine: Engine) -> Items:
    return engine.resources.catalogue_cache.at_least(engine.stores.users.read("").revision)


def _of(column: Integers, items: Items, name: str | None) -> Mask:
    """Everything, or the rows of a name; a name that no item has has none."""
    return np.ones(len(items), np.bool_) if name is None else np.asarray(column == items.code(name))


def _distinct(items: Items, numbers: Ids, size: int) -> list[int]:
    """The first `size`, no copy after what it copies and at most two of each creator, as on a page."""
    page, creators, chosen = PageCopies(copy_columns(items.copies)), dict[int, int](), list[int]()
    for n in numbers.tolist():
        creator = int(items.creator_no[n])
        if creators.get(creator, 0) < 2 and not page.binds(n):
            chosen.append(n)
            page.add(n)
            creators[creator] = creators.get(creator, 0) + 1
        if len(chosen) == size:
            break
    return chosen


def _item(items: Items, n: int) -> JsonObject:
    at: Millis = int(items.published_at[n])
    return {
        "item_id": items.item_ids[n],
        "creator_id": items.creator_ids[n],
        "tier": "R0",
        "topics": topic_names(int(items.topics[n])),
        "language": items.name(int(items.language[n])),
        "country": items.name(int(items.country[n])),
        "region": items.name(int(items.region[n])),
        "published_at": to_text(at),
    }


def _creator(creator: Creator, match: str, score: float, n_items: int) -> JsonObject:
    return {
        "creator_id": creator.creator_id,
        "country": creator.country,
        "region": creator.region,
        "languages": list(creator.languages),
        "kind": creator.kind,
        "verified": creator.is_verified,
        "followers": creator.followers,
        "n_items": n_items,
        "locality": {
            "score": round(score, 4),
            "match": match,
            "source": EVIDENCE_SOURCES[creator_place(creator).source],
        },
    }
