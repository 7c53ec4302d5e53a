"""
The locality part of a report: local shares under three definitions, how pages differ from what people chose and from
what could be shown, how attention is spread among local creators, and the accuracy cost of a local floor.

| definition     | an item is local when |
|----------------|-----------------------|
| floor_eligible | it is near and its evidence is enough for a slot of the local floor |
| near           | the policy's locality score says so, also on a creator's own word |
| place          | its country is the person's, whatever the source; speech does not count |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from recsys import metrics
from recsys.catalogue.items import Items
from recsys.clock import DAY, Millis
from recsys.feed.context import RequestContext
from recsys.feed.query import Query
from recsys.feed.scorers import page_order, value
from recsys.feed.slate import floors, select
from recsys.services.floor_audit import FloorAudit, below, is_fair, runs
from recsys.types import Candidates, Ids, Mask, Pages, Reals
from recsys.user.state import Ledger

DEFINITIONS: Final = ("floor_eligible", "near", "place")
FLOORS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # shares of any 20 deliveries
FLOOR_RANKINGS: Final = ("no_local", "score")
LONG_PAGE: Final = 10  # slots from which the prefix test of the floor says something


class LocalShare(msgspec.Struct, frozen=True, kw_only=True):
    """
    One ranking under one definition of local; None = unknown.

    `share` of the slots. `bias`: that share less the share of what people liked before. `exposure_ratio`: the share of
    position-weighted attention divided by the share of what could be shown. `visibility` and `exposure`: the share of
    slots and of attention less the share of what could be shown (disparate visibility and exposure).
    """

    share: float | None
    bias: float | None
    exposure_ratio: float | None
    visibility: float | None
    exposure: float | None


class LocalDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Under one definition: the local share of what people liked before, of what could be shown, and each ranking."""

    name: str
    history_share: float | None
    eligible_share: float | None
    rankings: dict[str, LocalShare]


class CreatorConcentration(msgspec.Struct, frozen=True, kw_only=True):
    """How concentrated attention is among the creators of floor-eligible items that could be shown."""

    gini: float | None
    hhi: float | None
    top_10_share: float | None


class FloorCost(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of one ranking under the policy with this local floor. `accuracy_cost`: NDCG lost against floor 0."""

    ranking: str
    floor: float
    ndcg: float | None
    local_share: float | None
    accuracy_cost: float | None


class LocalityReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    `unknown_share`: slots with an item of unknown place. `divergence`: Jensen-Shannon divergence in bits between the
    countries of a page and those of what the person liked. `n_unlabelled`: items that wait for a label;
    `unlabelled_days` is their median age. Until they are labelled they count as R2, which reduces their reach.
    """

    definitions: list[LocalDefinition]
    unknown_share: dict[str, float | None]
    divergence: dict[str, float | None]
    creators: dict[str, CreatorConcentration]
    floor_costs: list[FloorCost]
    audit: FloorAudit
    n_unlabelled: int
    n_unlabelled_local: int
    unlabelled_days: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonLocality:
    """
    What the report needs of one person.

    `history_share` and `eligible_share` by definition. `slots` by definition and ranking: which slots are local.
    `unknown` by ranking: which slots are of unknown place. `floor_pages` by ranking and floor: the page, and which of
    its slots are floor-eligible. `countries` by ranking, and for `liked`: counts by country code. `n_local_required`:
    local items that the floor requires in any 20. `is_floor_eligible` (n_items,) among what could be shown.
    """

    history_share: Mapping[str, float]
    eligible_share: Mapping[str, float]
    slots: Mapping[str, Mapping[str, Mask]]
    unknown: Mapping[str, Mask]
    floor_pages: Mapping[tuple[str, float], tuple[Ids, Mask]]
    countries: Mapping[str, Reals]
    n_local_required: int
    is_floor_eligible: Mask


def observe_locality(
    context: RequestContext,
    rankings: Mapping[str, Candidates],
    pages: Mapping[str, Ids],
    liked: Ids,
    k: int,
) -> PersonLocality:
    """One person's part. `rankings`: the candidates of each of `FLOOR_RANKINGS`, best first."""
    query = context.query
    items, near = query.items, query.nearness
    is_home = (items.country == items.code(query.viewer.country)) & (items.country > 0)
    masks = {"floor_eligible": near.is_floor_eligible, "near": near.is_local, "place": is_home}
    is_unknown = near.match == 0
    n_codes = len(items.codes) + 1
    floor_pages = {
        (name, floor): _page_with_floor(context, rankings[name], floor, k)
        for name in FLOOR_RANKINGS
        for floor in FLOORS
    }
    local_floor = floors(Ledger(), query.limits, context.supply, query.market.locality.supply_factor)[1]
    return PersonLocality(
        history_share={name: _mean(mask[liked]) for name, mask in masks.items()},
        eligible_share={name: _mean(mask[query.is_eligible]) for name, mask in masks.items()},
        slots={name: {ranking: mask[page] for ranking, page in pages.items()} for name, mask in masks.items()},
        unknown={ranking: is_unknown[page] for ranking, page in pages.items()},
        floor_pages={key: (page, near.is_floor_eligible[page]) for key, page in floor_pages.items()},
        countries={
            name: np.bincount(items.country[page], minlength=n_codes)[1:n_codes].astype(np.float64)
            for name, page in {**pages, "liked": liked}.items()
        },
        n_local_required=local_floor.wanted,
        is_floor_eligible=near.is_floor_eligible & query.is_eligible,
    )


def without_local(query: Query, candidates: Candidates) -> Candidates:
    """The candidates in the order of the same score without its weight for local items."""
    neutral = replace(query, weights={**query.weights, "local": 0.0})
    scored = candidates.with_columns({"score": value(neutral, candidates)})
    order, final = page_order(scored, query.items.confidence[candidates.item_nos])
    return scored.with_columns({"score": final}).take(order)


def _page_with_floor(context: RequestContext, candidates: Candidates, floor: float, k: int) -> Ids:
    """A page under the policy with another local floor and without exploration."""
    query = context.query
    selection = select(
        candidates,
        ledger=Ledger(),
        limits=replace(query.limits, local_floor=floor),
        supply=context.supply,
        supply_factor=query.market.locality.supply_factor,
        size=k,
        at=context.at,
        rng=np.random.default_rng(0),
        explore_slots=0,
    )
    return candidates.item_nos[selection.rows]


def summarise_locality(
    people: Sequence[PersonLocality],
    pages: Mapping[str, Pages],
    relevant: Sequence[Ids],
    items: Items,
    at: Millis,
    k: int,
) -> LocalityReport:
    """The report over all people. `relevant`: the relevant items of each person."""
    waiting = np.flatnonzero(items.exists & ~items.is_hidden & ~items.is_labelled)
    is_floor_eligible = np.any([person.is_floor_eligible for person in people], axis=0)
    ages = (at - items.published_at[waiting]) / DAY
    return LocalityReport(
        definitions=[_local_definition(name, people, list(pages)) for name in DEFINITIONS],
        unknown_share={name: _mean_or_none([_mean(person.unknown[name]) for person in people]) for name in pages},
        divergence={name: _or_none(metrics.mean(_divergence(people, name))) for name in pages},
        creators={name: _concentration(page, items, is_floor_eligible) for name, page in pages.items()},
        floor_costs=[cost for name in FLOOR_RANKINGS for cost in _floor_costs(name, people, relevant, k)],
        audit=_audit(people),
        n_unlabelled=len(waiting),
        n_unlabelled_local=int((items.place_source[waiting] >= 3).sum()),
        unlabelled_days=round(float(np.median(ages)), 1) if len(waiting) else None,
    )


def _local_definition(name: str, people: Sequence[PersonLocality], rankings: Sequence[str]) -> LocalDefinition:
    history = np.array([person.history_share[name] for person in people])
    eligible = np.array([person.eligible_share[name] for person in people])
    shares = {
        ranking: _local_share([person.slots[name][ranking] for person in people], history, eligible)
        for ranking in rankings
    }
    return LocalDefinition(
        name=name,
        history_share=_or_none(metrics.mean(history)),
        eligible_share=_or_none(metrics.mean(eligible)),
        rankings=shares,
    )


def _local_share(slots: Sequence[Mask], history: Reals, eligible: Reals) -> LocalShare:
    share = np.array([_mean(is_local) for is_local in slots])
    attention = np.array([_attention(is_local) for is_local in slots])
    supply = metrics.mean(eligible)
    return LocalShare(
        share=_or_none(metrics.mean(share)),
        bias=_or_none(metrics.mean(share - history)),
        exposure_ratio=_or_none(metrics.mean(attention) / supply if supply else float("nan")),
        visibility=_or_none(metrics.mean(share - eligible)),
        exposure=_or_none(metrics.mean(attention - eligible)),
    )


def _attention(is_local: Mask) -> float:
    """The share of position-weighted attention that local slots get; NaN for an empty page."""
    weights = 1 / np.log2(np.arange(2, len(is_local) + 2))
    return float(weights[is_local].sum() / weights.sum()) if len(is_local) else float("nan")


def _divergence(people: Sequence[PersonLocality], ranking: str) -> Reals:
    shown = np.stack([person.countries[ranking] for person in people])
    return metrics.jensen_shannon(shown, np.stack([person.countries["liked"] for person in people]))


def _concentration(pages: Pages, items: Items, is_floor_eligible: Mask) -> CreatorConcentration:
    attention = metrics.exposure(pages, len(items))
    creators, creator_no = np.unique(items.creator_row[is_floor_eligible], return_inverse=True)
    amounts = np.bincount(creator_no, attention[is_floor_eligible], len(creators)).astype(np.float64)
    if not len(amounts):
        return CreatorConcentration(gini=None, hhi=None, top_10_share=None)
    return CreatorConcentration(
        gini=_or_none(metrics.gini(amounts)),
        hhi=_or_none(metrics.hhi(amounts)),
        top_10_share=_or_none(metrics.top_share(amounts, 10)),
    )


def _floor_costs(ranking: str, people: Sequence[PersonLocality], relevant: Sequence[Ids], k: int) -> list[FloorCost]:
    costs: list[FloorCost] = []
    n_relevant = np.array([len(rows) for rows in relevant])
    for floor in FLOORS:
        pages = [person.floor_pages[ranking, floor] for person in people]
        hits = np.zeros((len(people), k), np.bool_)
        for n, (page, _) in enumerate(pages):
            hits[n, : len(page)] = np.isin(page, relevant[n])
        ndcg = _or_none(metrics.mean(metrics.ndcg(hits, n_relevant, k)))
        without_floor = costs[0].ndcg if costs else ndcg
        costs.append(
            FloorCost(
                ranking=ranking,
                floor=floor,
                ndcg=ndcg,
                local_share=_mean_or_none([_mean(is_local) for _, is_local in pages]),
                accuracy_cost=1 - ndcg / without_floor if ndcg is not None and without_floor else None,
            )
        )
    return costs


def _audit(people: Sequence[PersonLocality]) -> FloorAudit:
    """The engine's pages, each as the first page of a person: a run of deliveries is complete when it holds 20."""
    pages = [(person.slots["floor_eligible"]["engine"].tolist(), person.n_local_required) for person in people]
    long_pages = [(hits, required) for hits, required in pages if len(hits) >= LONG_PAGE]
    n_below = sum(below(hits, required) for hits, required in pages)
    return FloorAudit(
        runs=sum(runs(len(hits)) for hits, _ in pages),
        below_policy=n_below,
        below_supply=n_below,
        reasons={},
        pages=len(long_pages),
        prefix_failures=sum(not is_fair(hits, required / 20) for hits, required in long_pages),
    )


def _mean(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else float("nan")


def _mean_or_none(values: Sequence[float]) -> float | None:
    return _or_none(metrics.mean(np.array(values)))


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
