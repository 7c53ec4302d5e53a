"""
What a report says about locality: shares under three definitions of local, with what is unknown shown apart; how pages
differ from what people chose and from what there was; how attention is spread among local creators; and what a floor
costs.

| definition | an item is local when |
|------------|-----------------------|
| proven     | it is near and somebody vouches for it: what a slot of the floor takes |
| near       | the policy's score says so, also on a creator's own word |
| place      | its country is the person's, whatever says so; speech does not count |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from recsys import metrics
from recsys.catalogue.items import Items
from recsys.clock import DAY, Millis
from recsys.feed.query import Query
from recsys.feed.scorers import page_order, value
from recsys.feed.slate import Supply, floors, select
from recsys.metrics import Reals
from recsys.services.floor_audit import FloorAudit, below, is_fair, runs
from recsys.types import Candidates, Ids, Mask
from recsys.user.state import Ledger

DEFINITIONS: Final = ("proven", "near", "place")
FLOORS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
PRICED: Final = ("no_local", "score")


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """
    One ranking under one definition. `share` of the slots; `bias` the share less that of what people liked before;
    `exposure_ratio` the share of position-weighted attention over that of the supply; `visibility` and `exposure` the
    share of slots and of attention less that of the supply (disparate visibility and exposure). None = nobody says.
    """

    share: float | None
    bias: float | None
    exposure_ratio: float | None
    visibility: float | None
    exposure: float | None


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of what people liked and of what could be shown to them, and each ranking."""

    name: str
    liked: float | None
    offered: float | None
    rankings: dict[str, Local]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Attention among the creators of proven local items that could be shown."""

    gini: float | None
    hhi: float | None
    top_10_share: float | None


class PricePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A page under the policy with another local floor, of one ranking: what it holds and what it lost."""

    ranking: str
    floor: float
    ndcg: float | None
    local_share: float | None
    loss: float | None  # of NDCG, against floor 0 of the same ranking


class LocalityReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    `unknown_share`: slots whose place nobody said. `divergence`: how far the countries of a page are from those of what
    the person liked, in bits (Jensen-Shannon). `unlabelled`: items that wait for a label, and their median age in days:
    until then they count as R2, which takes reach from whoever made them.
    """

    definitions: list[Definition]
    unknown_share: dict[str, float | None]
    divergence: dict[str, float | None]
    creators: dict[str, Spread]
    price: list[PricePoint]
    audit: FloorAudit
    n_unlabelled: int
    n_unlabelled_local: int
    unlabelled_days: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """
    One person's part. `local` by definition: (n_items,) masks reduced to what is needed: shares of what was liked and
    offered, and per ranking the mask slot by slot. `priced` by ranking and floor: the page and its proven slots.
    `wanted_local` of any 20 was promised to the engine's page.
    """

    liked: Mapping[str, float]
    offered: Mapping[str, float]
    slots: Mapping[str, Mapping[str, Mask]]
    unknown: Mapping[str, Mask]
    priced: Mapping[tuple[str, float], tuple[Ids, Mask]]
    countries: Mapping[str, Reals]  # ranking, and "liked": counts by country code
    wanted_local: int
    is_proven: Mask  # (n_items,)


def seen_by(
    query: Query,
    ranked: Candidates,
    plain: Candidates,
    pages: Mapping[str, Ids],
    liked: Ids,
    supply: Supply,
    at: Millis,
    k: int,
) -> Seen:
    """What a report needs of one person. `ranked` and `plain`: candidates best first, with locality and without."""
    items, near = query.items, query.nearness
    home = (items.country == items.code(query.viewer.country)) & (items.country > 0)
    masks = {"proven": near.is_proven, "near": near.is_local, "place": home}
    unknown = near.match == 0
    n_codes = len(items.codes) + 1
    shown = {**pages, "liked": liked}
    ledger, factor = Ledger(), query.market.locality.supply_factor
    return Seen(
        liked={name: _mean(mask[liked]) for name, mask in masks.items()},
        offered={name: _mean(mask[query.is_eligible]) for name, mask in masks.items()},
        slots={name: {ranking: mask[page] for ranking, page in pages.items()} for name, mask in masks.items()},
        unknown={ranking: unknown[page] for ranking, page in pages.items()},
        priced={
            (name, floor): (page, near.is_proven[page])
            for name, candidates in (("score", ranked), ("no_local", plain))
            for floor in FLOORS
            for page in [_with_floor(query, candidates, supply, floor, at, k)]
        },
        countries={
            name: np.bincount(items.country[page], minlength=n_codes)[1:n_codes].astype(np.float64)
            for name, page in shown.items()
        },
        wanted_local=floors(ledger, query.limits, supply, factor)[1].wanted,
        is_proven=near.is_proven & query.is_eligible,
    )


def without_local(query: Query, candidates: Candidates) -> Candidates:
    """The candidates in the order of the same score without its weight for local items."""
    bare = replace(query, weights={**query.weights, "local": 0.0})
    scored = candidates.with_columns({"score": value(bare, candidates)})
    order, final = page_order(scored, query.items.confidence[candidates.item_nos])
    return scored.with_columns({"score": final}).take(order)


def _with_floor(query: Query, candidates: Candidates, supply: Supply, floor: float, at: Millis, k: int) -> Ids:
    """A page under the policy, with another local floor and no exploration."""
    chosen = select(
        candidates,
        ledger=Ledger(),
        limits=replace(query.limits, local_floor=floor),
        supply=supply,
        supply_factor=query.market.locality.supply_factor,
        size=k,
        at=at,
        rng=np.random.default_rng(0),
        explore_slots=0,
    )
    return candidates.item_nos[chosen.rows]


def report_on(
    seen: Sequence[Seen],
    pages: Mapping[str, metrics.Pages],
    hits_of: Mapping[int, Ids],
    items: Items,
    at: Millis,
    k: int,
) -> LocalityReport:
    """The numbers over everybody. `hits_of`: by person, the items that they wanted."""
    waiting = np.flatnonzero(items.exists & ~items.is_hidden & ~items.is_labelled)
    is_local = np.any([one.is_proven for one in seen], axis=0)
    ages = (at - items.published_at[waiting]) / DAY
    return LocalityReport(
        definitions=[_definition(name, seen, list(pages)) for name in DEFINITIONS],
        unknown_share={
            name: _known(metrics.mean(np.array([_mean(one.unknown[name]) for one in seen]))) for name in pages
        },
        divergence={name: _known(metrics.mean(_divergence(seen, name))) for name in pages},
        creators={name: _spread(page, items, is_local) for name, page in pages.items()},
        price=_prices(seen, hits_of, k),
        audit=_audit(seen),
        n_unlabelled=len(waiting),
        n_unlabelled_local=int((items.place_source[waiting] >= 3).sum()),
        unlabelled_days=round(float(np.median(ages)), 1) if len(waiting) else None,
    )


def _definition(name: str, seen: Sequence[Seen], rankings: Sequence[str]) -> Definition:
    liked = np.array([one.liked[name] for one in seen])
    offered = np.array([one.offered[name] for one in seen])
    found = {}
    for ranking in rankings:
        share = np.array([_mean(one.slots[name][ranking]) for one in seen])
        given = np.array([_attention(one.slots[name][ranking]) for one in seen])
        attention, supply = metrics.mean(given), metrics.mean(offered)
        found[ranking] = Local(
            share=_known(metrics.mean(share)),
            bias=_known(metrics.mean(share - liked)),
            exposure_ratio=_known(attention / supply if supply else float("nan")),
            visibility=_known(metrics.mean(share - offered)),
            exposure=_known(metrics.mean(given - offered)),
        )
    return Definition(
        name=name, liked=_known(metrics.mean(liked)), offered=_known(metrics.mean(offered)), rankings=found
    )


def _attention(is_local: Mask) -> float:
    """The share of position-weighted attention that local slots get; NaN for an empty page."""
    weights = 1 / np.log2(np.arange(2, len(is_local) + 2))
    return float(weights[is_local].sum() / weights.sum()) if len(is_local) else float("nan")


def _divergence(seen: Sequence[Seen], ranking: str) -> Reals:
    first = np.stack([one.countries[ranking] for one in seen])
    return metrics.jensen_shannon(first, np.stack([one.countries["liked"] for one in seen]))


def _spread(page: metrics.Pages, items: Items, is_local: Mask) -> Spread:
    given = metrics.exposure(page, len(items))
    known, creators = np.unique(items.creator_row[is_local], return_inverse=True)
    amounts = np.bincount(creators, given[is_local], len(known)).astype(np.float64)
    if not len(amounts):
        return Spread(gini=None, hhi=None, top_10_share=None)
    return Spread(
        gini=_known(metrics.gini(amounts)), hhi=_known(metrics.hhi(amounts)),
        top_10_share=_known(metrics.top_share(amounts, 10)),
    )  # fmt: skip


def _prices(seen: Sequence[Seen], hits_of: Mapping[int, Ids], k: int) -> list[PricePoint]:
    found: list[PricePoint] = []
    wanted = np.array([len(hits_of[n]) for n in range(len(seen))])
    for ranking in PRICED:
        first: float | None = None
        for floor in FLOORS:
            parts = [one.priced[ranking, floor] for one in seen]
            hits = np.zeros((len(seen), k), np.bool_)
            for n, (page, _) in enumerate(parts):
                hits[n, : len(page)] = np.isin(page, hits_of[n])
            ndcg = _known(metrics.mean(metrics.ndcg(hits, wanted, k)))
            first = ndcg if first is None else first
            share = metrics.mean(np.array([_mean(is_local) for _, is_local in parts]))
            loss = 1 - ndcg / first if ndcg is not None and first else None
            found.append(PricePoint(ranking=ranking, floor=floor, ndcg=ndcg, local_share=_known(share), loss=loss))
    return found


def _audit(seen: Sequence[Seen]) -> FloorAudit:
    """The engine's pages, each as the first of a person: a run is complete when it holds 20 slots."""
    hits = [one.slots["proven"]["engine"].tolist() for one in seen]
    wanted = [one.wanted_local for one in seen]
    long = [(page, least) for page, least in zip(hits, wanted, strict=True) if len(page) >= 10]
    missed = sum(below(page, least) for page, least in zip(hits, wanted, strict=True))
    return FloorAudit(
        runs=sum(runs(len(page)) for page in hits),
        below_policy=missed,
        below_supply=missed,
        reasons={},
        pages=len(long),
        prefix_failures=sum(not is_fair(page, least / 20) for page, least in long),
    )


def _mean(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else float("nan")


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
