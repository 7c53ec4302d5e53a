"""
How a market's feeds treat its creators: impressions by size, by how slots were won, concentration among the local ones,
and how fast new ones are found. From the counts alone: it names creators, and no viewer.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from recsys import metrics
from recsys.catalogue.creators import Creator, creator_size
from recsys.catalogue.items import Items
from recsys.clock import DAY, Millis, to_text
from recsys.feed.attribution import ATTRIBUTIONS
from recsys.policy.schema import Market
from recsys.services.creators import days_to
from recsys.stores.protocols import ExposureCount

TOP: Final = 10


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the creators: how many, of how many items, and their impressions, as a share of all and by way."""

    name: str
    n_creators: int
    n_items: int
    impressions: int
    share: float
    slots: dict[str, int]


class Concentration(msgspec.Struct, frozen=True, kw_only=True):
    """How impressions are spread over creators with items; None where there were none."""

    n_creators: int
    gini: float | None
    hhi: float | None
    top_10_share: float | None


class NewCreatorExposure(msgspec.Struct, frozen=True, kw_only=True):
    """How many creators are new now, what part of the local slots goes to them, and how long the others were new."""

    n_new: int
    share_of_local_slots: float | None
    n_known: int
    median_days: float | None


class CreatorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `sanad creators report` says. Shares are in [0, 1]."""

    until: str
    market: str
    impressions: int
    local_share: float | None
    by_size: list[Part]
    by_kind: list[Part]
    local: Concentration
    new_creators: NewCreatorExposure
    top: list[Part]


def report_of(
    counts: Sequence[ExposureCount],
    creators: Mapping[str, Creator],
    items: Items,
    market: Market,
    at: Millis,
    *,
    days: int | None = None,
) -> CreatorReport:
    """The report over the last `days`, or over everything; only deliveries to people of the market."""
    since = 0 if days is None else at // DAY - days + 1
    counted = [t for t in counts if t.country == market.market and t.day >= since]
    n_items = Counter(items.creator_ids[n] for n in np.flatnonzero(items.exists & ~items.is_hidden))
    total = sum(t.n for t in counted)
    by_size = _grouped(counted, n_items, lambda name: _size(creators.get(name)), total)
    by_kind = _grouped(counted, n_items, lambda name: _kind(creators.get(name)), total)
    top = _grouped(counted, n_items, lambda name: name, total)
    home = {c.creator_id for c in creators.values() if c.country == market.market and n_items[c.creator_id]}
    return CreatorReport(
        until=to_text(at),
        market=market.market,
        impressions=total,
        local_share=sum(t.n for t in counted if t.is_local) / total if total else None,
        by_size=by_size,
        by_kind=by_kind,
        local=concentration(counted, home),
        new_creators=_new_creators(counts, counted, home, market),
        top=sorted(top, key=lambda part: (-part.impressions, part.name))[:TOP],
    )


def concentration(counts: Iterable[ExposureCount], creators: Iterable[str]) -> Concentration:
    """How the impressions of these creators are spread; who got none counts."""
    given: dict[str, int] = dict.fromkeys(creators, 0)
    for t in counts:
        if t.creator_id in given:
            given[t.creator_id] += t.n
    amounts = np.array(list(given.values()), np.float64)
    values = (metrics.gini(amounts), metrics.hhi(amounts), metrics.top_share(amounts, TOP))
    gini, hhi, top = (None if np.isnan(value) else round(value, 4) for value in values)
    return Concentration(n_creators=len(amounts), gini=gini, hhi=hhi, top_10_share=top)


def _grouped(
    counts: Sequence[ExposureCount], n_items: Mapping[str, int], name_of: Callable[[str], str], total: int
) -> list[Part]:
    """The creators with items or impressions, by the name of their group."""
    by_attribution: dict[str, Counter[str]] = defaultdict(Counter)
    members: dict[str, set[str]] = defaultdict(set)
    for creator_id in n_items:
        members[name_of(creator_id)].add(creator_id)
    for t in counts:
        members[name_of(t.creator_id)].add(t.creator_id)
        by_attribution[name_of(t.creator_id)][t.attribution] += t.n
    return [
        Part(
            name=name,
            n_creators=len(members[name]),
            n_items=sum(n_items.get(creator_id, 0) for creator_id in members[name]),
            impressions=by_attribution[name].total(),
            share=by_attribution[name].total() / total if total else 0.0,
            slots={attribution: by_attribution[name][attribution] for attribution in ATTRIBUTIONS},
        )
        for name in sorted(members)
    ]


def _size(creator: Creator | None) -> str:
    size = None if creator is None else creator_size(creator.followers)
    return "followers unknown" if size is None else size


def _kind(creator: Creator | None) -> str:
    return "unknown" if creator is None or creator.kind is None else creator.kind


def _new_creators(
    counts: Sequence[ExposureCount], counted: Sequence[ExposureCount], home: set[str], market: Market
) -> NewCreatorExposure:
    """New are local creators below the policy's impressions, counted everywhere and ever."""
    limit = market.locality.new_creator.impressions
    of: dict[str, list[ExposureCount]] = defaultdict(list)
    for t in counts:
        of[t.creator_id].append(t)
    new = {creator_id for creator_id in home if sum(t.n for t in of[creator_id]) < limit}
    days = [n_days for creator_id in home - new if (n_days := days_to(tuple(of[creator_id]), limit)) is not None]
    n_local = sum(t.n for t in counted if t.is_local)
    to_new = sum(t.n for t in counted if t.is_local and t.creator_id in new)
    return NewCreatorExposure(
        n_new=len(new),
        share_of_local_slots=to_new / n_local if n_local else None,
        n_known=len(home) - len(new),
        median_days=float(np.median(days)) if days else None,
    )
