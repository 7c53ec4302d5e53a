"""
Creators over the wire, and the report a creator or a partner organisation can read: how far the work reached, where,
and how its places were won.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np

from recsys.catalogue.items import Items, creator_number
from recsys.clock import DAY, Millis, to_text
from recsys.columns import CREATORS
from recsys.errors import Conflict, StoreError
from recsys.feed.attribution import ATTRIBUTIONS
from recsys.feed.engine import Engine
from recsys.policy.schema import Market
from recsys.services.audit import creator_decisions
from recsys.services.fields import check_id, check_row
from recsys.services.labels import is_predicted, label_origin
from recsys.services.profiles import MAX_WRITE_TRIES
from recsys.services.reviews import latest_reviews
from recsys.stores.audit import LOCAL
from recsys.stores.protocols import ABSENT, Catalogue, CreatorChange, CreatorRow, ExposureCount, ItemRow
from recsys.types import Fields, JsonObject
from recsys.vocabulary import FAMILIES, TIERS

MIN_PLACE_IMPRESSIONS: Final = 5
"""Impressions in a place below which the report says only that there were some: less could point at a person."""
MAX_LABELS: Final = 1_000


def get_creator(catalogue: Catalogue, creator_id: str) -> JsonObject | None:
    """One creator in the contract's columns, times as text; None when there is none."""
    row = catalogue.creator(check_id("creator_id", creator_id))
    return None if row is None else _shown(row)


def _shown(row: CreatorRow) -> JsonObject:
    fields = {column.name: row.fields.get(column.name) for column in CREATORS.columns}
    joined = fields["joined_at"]
    return {**fields, "joined_at": None if joined is None else to_text(joined)}


def list_creators(engine: Engine, after: str, size: int) -> JsonObject:
    """A page of all creators, hidden ones too, by their ids; `next` is the `after` of the next page."""
    cache = engine.resources.catalogue_cache
    cache.at_least(engine.stores.users.read("").revision)
    page = heapq.nsmallest(size + 1, (creator_id for creator_id in cache.creators if creator_id > after))
    creators = [get_creator(cache.catalogue, creator_id) for creator_id in page[:size]]
    return {"creators": creators, "next": page[size - 1] if len(page) > size else None}


def put_creator(catalogue: Catalogue, creator_id: str, fields: Fields, at: Millis, who: str = LOCAL) -> JsonObject:
    """
    Insert or replace a creator; binding on the next page of every worker. Raises DataError.

    Who was taken down stays so unless `is_hidden` is false, also when that happens while this is written.
    """
    return _write(catalogue, creator_id, lambda _: fields, at, who) or {}


def patch_creator(
    catalogue: Catalogue, creator_id: str, fields: Fields, at: Millis, who: str = LOCAL
) -> JsonObject | None:
    """Change some columns of a creator; None when there is none. Two patches at once both hold."""
    return _write(catalogue, creator_id, lambda row: None if row is None else {**_shown(row), **fields}, at, who)


def _write(
    catalogue: Catalogue,
    creator_id: str,
    new_fields: Callable[[CreatorRow | None], Fields | None],
    at: Millis,
    who: str,
) -> JsonObject | None:
    """
    The creator as stored once `new_fields` of the row that is there are written; None, and nothing written, where they
    are None.
    """
    for _ in range(MAX_WRITE_TRIES):
        row = catalogue.creator(check_id("creator_id", creator_id))
        fields = new_fields(row)
        if fields is None:
            return None
        is_down = fields.get("is_hidden") is None and row is not None and row.fields.get("is_hidden")
        held = {"is_hidden": True} if is_down else {}  # no silence takes a takedown away, as with items
        changed = check_row(CREATORS, {**fields, **held, "creator_id": creator_id})
        decisions = creator_decisions(creator_id, {} if row is None else row.fields, changed, at, who)
        change = CreatorChange(fields=changed, expects=ABSENT if row is None else row.revision)
        with suppress(Conflict):
            catalogue.put_creators([change], at, decisions)
            return get_creator(catalogue, creator_id)
    raise StoreError(
        f"found {MAX_WRITE_TRIES} other writes of creator {creator_id!r} at once, expected fewer; try again"
    )


def delete_creator(catalogue: Catalogue, creator_id: str, at: Millis, who: str = LOCAL) -> bool:
    """Take a creator and everything of theirs down, until somebody puts them back. False when there is none."""
    return patch_creator(catalogue, creator_id, {"is_hidden": True}, at, who) is not None


def exposure(engine: Engine, creator_id: str, at: Millis) -> JsonObject | None:
    """
    What was delivered of a creator, and what bears on it: impressions by market and region, slots by how they were won,
    labels with their reason. None when neither the catalogue nor the counts know the creator.

    Deliveries are counted when a page is reserved. Days older than 90 are counted, and not told apart.
    """
    items = engine.resources.catalogue_cache.at_least(engine.stores.users.read("").revision)
    counts = engine.stores.exposure.counts(check_id("creator_id", creator_id))
    alike = np.flatnonzero(items.exists & (items.creator_no == creator_number(creator_id)))
    mine = [n for n in alike.tolist() if items.creator_ids[n] == creator_id]
    row = engine.resources.catalogue_cache.catalogue.creator(creator_id)
    if row is None and not counts and not len(mine):
        return None
    market, catalogue = engine.resources.policy.market, engine.resources.catalogue_cache.catalogue
    reviews = latest_reviews(engine, [items.item_ids[n] for n in mine[:MAX_LABELS]])
    return {
        "creator_id": creator_id,
        "until": to_text(at),
        "items": {"all": len(mine), "shown": sum(not items.is_hidden[n] for n in mine)},
        **exposure_summary(counts, market, at),
        "labels": [
            {**_label(items, n, catalogue), "review": reviews.get(items.item_ids[n])} for n in mine[:MAX_LABELS]
        ],
    }


def exposure_summary(counts: tuple[ExposureCount, ...], market: Market, at: Millis) -> JsonObject:
    """The numbers of a report."""
    total = sum(t.n for t in counts)
    limit = market.locality.new_creator.impressions
    since = at // DAY - 6
    return {
        "impressions": {
            "all": total,
            "last_7_days": sum(t.n for t in counts if t.day >= since),
            "by_market": _by_place(counts, "country", named=market.market),
            "by_region": _by_place(counts, "region"),
            "as_local": sum(t.n for t in counts if t.is_local),
        },
        "slots": {
            attribution: sum(t.n for t in counts if t.attribution == attribution) for attribution in ATTRIBUTIONS
        },
        "is_new": total < limit,
        "new_until_impressions": limit,
        "days_to_new_until": days_to(counts, limit),
    }


def days_to(counts: tuple[ExposureCount, ...], limit: int) -> int | None:
    """Days from the first delivery to the `limit`th; None when it is not reached, or the days are no longer known."""
    by_day: Counter[int] = Counter()
    for t in counts:
        by_day[t.day] += t.n
    if not by_day or 0 in by_day:
        return None
    total, first = 0, min(by_day)
    for day in sorted(by_day):
        total += by_day[day]
        if total >= limit:
            return day - first
    return None


def _by(counts: tuple[ExposureCount, ...], name: str) -> Counter[str]:
    totals: Counter[str] = Counter()
    for t in counts:
        totals[getattr(t, name)] += t.n
    return totals


def _by_place(counts: tuple[ExposureCount, ...], name: str, named: str | None = None) -> dict[str, int]:
    """
    Impressions by where the viewers live; `unknown` where the place is not known, `few` for places with fewer than
    five. The market itself is always `named`.
    """
    totals = {place or "unknown": n for place, n in sorted(_by(counts, name).items())}
    shown = {place: n for place, n in totals.items() if n >= MIN_PLACE_IMPRESSIONS or place == named}
    few = sum(totals.values()) - sum(shown.values())
    return {**shown, "few": few} if few else shown


def _label(items: Items, item_no: int, catalogue: Catalogue) -> JsonObject:
    """The label of an item, where it comes from, its reason, and how long it holds."""
    row = catalogue.get(items.item_ids[item_no])
    tier, family = int(items.tier[item_no]), int(items.family[item_no])
    return {
        "item_id": items.item_ids[item_no],
        "tier": TIERS[tier],
        "family": FAMILIES[family] if family >= 0 else None,
        **label_origin(items, item_no, row),
        "reason": _why(items, item_no, row),
        "is_reviewed": bool(items.is_reviewed[item_no]),
        "is_hidden": bool(items.is_hidden[item_no]),
        "expires_at": None,
        "until": "a label" if not items.is_labelled[item_no] else "another label",
    }


def _why(items: Items, item_no: int, row: ItemRow | None) -> str:
    tier = int(items.own_tier[item_no])
    if items.tier[item_no] == tier > 0 and is_predicted(row, tier):
        return "our own label raised it; a person's review takes that back"
    if not items.is_labelled[item_no]:
        return "nobody labelled it yet, so it counts as R2 and minors never get it"
    if items.tier[item_no] > items.own_tier[item_no]:
        return "a copy of it has this label, and copies share the highest one"
    if items.minor_tier[item_no] > items.tier[item_no]:
        return "labelled; not surely enough for minors, for whom it counts one tier higher"
    return "labelled"
