"""From replayed pages to the numbers of a report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from eval.offline.compare import Difference, Draws, Estimate, difference, draws, estimate, plain
from eval.offline.locality import LocalityReport, report_on
from eval.offline.reliability import Reliability
from eval.offline.replay import RANKINGS, Replayed
from eval.offline.split import Holdout
from recsys import metrics
from recsys.catalogue.items import topic_bits
from recsys.clock import to_text
from recsys.metrics import Reals
from recsys.models.artifact import Artifact
from recsys.policy.schema import Market
from recsys.types import Mask
from recsys.vocabulary import TIERS

COMPARED: Final = (("engine", "popularity"), ("score", "popularity"), ("engine", "score"), ("score", "no_local"))
WARMTH: Final = (
    ("cold, liked nothing before", 0, 0),
    ("warm, liked 1 to 9", 1, 9),
    ("hot, liked 10 or more", 10, 10**9),
)
FEWEST: Final = 5
"""Groups of fewer people are left out of the breakdowns: their means say nothing and could point at someone."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Metric -> ranking -> estimate, over a part of the people."""

    name: str
    n_people: int
    values: dict[str, dict[str, Estimate]]


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """
    One place's part of the catalogue that could be shown, of what people liked before, and of the attention that each
    ranking gives: shares in [0, 1], position-weighted. A ratio of 1 is attention in proportion to what there is.
    """

    place: str
    is_home: bool
    offered: float
    exposure: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `sanad eval` says. Rates are in [0, 1], times RFC 3339 in UTC."""

    model_version: str
    policy_version: str
    market: str
    risk_source: str
    cutoff: str
    until: str | None
    k: int
    seed: int
    n_people: int
    n_judgeable: int
    n_active: int
    n_held_out_events: int
    n_items: int
    wanted_per_person: float
    local_share_liked: Estimate
    local_share_offered: Estimate
    values: dict[str, dict[str, Estimate]]
    differences: list[Difference]
    price_of_locality: float | None
    regions: list[Group]
    warmth: list[Group]
    places: list[Fairness]
    locality: LocalityReport
    reliability: list[Reliability]
    notices: list[str]


def measure(
    replayed: Replayed,
    artifact: Artifact,
    market: Market,
    holdout: Holdout,
    said: list[Reliability],
    *,
    k: int,
    seed: int,
) -> Report:
    """The report. `said`: how far the ranker can be believed; `seed`: the bootstrap's. Equal inputs, equal reports."""
    rng = np.random.default_rng([seed, 2])
    values = per_person(replayed, market, k)
    drawn = draws(len(replayed.people), rng)
    estimates = {metric: {name: estimate(of[name], drawn) for name in of} for metric, of in values.items()}
    differences = [
        difference(metric, first, second, values[metric], drawn)
        for metric in ("recall", "ndcg", "order", "local", "supportive")
        for first, second in COMPARED
        if not (metric == "order" and "engine" in (first, second))
    ]
    return Report(
        model_version=artifact.version,
        policy_version=market.version,
        market=market.market,
        risk_source=artifact.manifest.risk_source,
        cutoff=to_text(holdout.cutoff),
        until=None if holdout.until is None else to_text(holdout.until),
        k=k,
        seed=seed,
        n_people=len(replayed.people),
        n_judgeable=len(holdout.people),
        n_active=holdout.n_active,
        n_held_out_events=holdout.n_events,
        n_items=int((replayed.n_offered > 0).sum()),
        wanted_per_person=float(replayed.n_relevant.mean()),
        local_share_liked=estimate(replayed.liked_local, drawn),
        local_share_offered=estimate(replayed.offered_local, drawn),
        values=estimates | _of_whole(replayed),
        differences=differences,
        price_of_locality=_price(estimates),
        regions=_groups(values | {"liked_local": {"history": replayed.liked_local}}, _by_region(replayed), rng),
        warmth=_groups({name: values[name] for name in ("recall", "ndcg")}, _by_warmth(replayed), rng),
        places=_places(replayed, market),
        locality=report_on(
            replayed.seen, replayed.pages, dict(enumerate(replayed.wanted)), replayed.items, replayed.at, k
        ),
        reliability=said,
        notices=list(replayed.notices),
    )


def per_person(replayed: Replayed, market: Market, k: int) -> dict[str, dict[str, Reals]]:
    """Metric -> ranking -> (q,) one value per person."""
    tiers = replayed.items.tier
    supportive = _is_supportive(replayed, market)
    pages, hits, wanted = replayed.pages, replayed.is_relevant, replayed.n_relevant
    of: dict[str, Callable[[str], Reals]] = {
        "recall": lambda name: metrics.recall(hits[name], wanted, k),
        "ndcg": lambda name: metrics.ndcg(hits[name], wanted, k),
        "order": lambda name: replayed.order[name],
        "local": lambda name: metrics.share(replayed.is_local[name], pages[name]),
        "supportive": lambda name: metrics.share(supportive, pages[name]),
        "filled": lambda name: (pages[name] != metrics.EMPTY).mean(axis=1),
    }
    values = {metric: {name: of_ranking(name) for name in RANKINGS} for metric, of_ranking in of.items()}
    for number, tier in enumerate(TIERS):
        values[tier] = {name: metrics.share(tiers == number, pages[name]) for name in RANKINGS}
    return values


def _of_whole(replayed: Replayed) -> dict[str, dict[str, Estimate]]:
    """Numbers that belong to a ranking as a whole: no interval, because people drawn twice show nothing new."""
    offered = replayed.n_offered > 0
    n_items = len(replayed.items)
    known, creators = np.unique(replayed.items.creator_row[offered], return_inverse=True)
    given = {name: metrics.exposure(replayed.pages[name], n_items)[offered] for name in RANKINGS}
    return {
        "coverage": {name: plain(metrics.coverage(replayed.pages[name], offered)) for name in RANKINGS},
        "gini_items": {name: plain(metrics.gini(given[name])) for name in RANKINGS},
        "gini_creators": {
            name: plain(metrics.gini(np.bincount(creators, given[name], len(known)).astype(np.float64)))
            for name in RANKINGS
        },
    }


def _is_supportive(replayed: Replayed, market: Market) -> Mask:
    """(n_items,) R0 on a supportive topic, by the rule of the engine."""
    items = replayed.items
    is_on_topic = (items.topics & topic_bits(market.supportive_topics)) != 0
    return np.asarray((items.tier == 0) & items.is_labelled & is_on_topic)


def _price(estimates: Mapping[str, Mapping[str, Estimate]]) -> float | None:
    """
    What favouring local items costs: the per cent of NDCG lost from `no_local` to `score`, for each hundredth of the
    page that became local. Below 0: it gains. None when the local share did not grow.
    """
    ndcg, local = estimates["ndcg"], estimates["local"]
    before, after = ndcg["no_local"].mean, ndcg["score"].mean
    share_before, share_after = local["no_local"].mean, local["score"].mean
    if not before or after is None or share_before is None or share_after is None or share_after - share_before < 0.005:
        return None
    return (1 - after / before) / (share_after - share_before)


def _by_region(replayed: Replayed) -> dict[str, Mask]:
    regions = np.array([region or "unknown" for region in replayed.region], np.str_)
    return {str(name): regions == name for name in np.unique(regions)}


def _by_warmth(replayed: Replayed) -> dict[str, Mask]:
    return {name: (replayed.n_liked >= least) & (replayed.n_liked <= most) for name, least, most in WARMTH}


def _groups(
    values: Mapping[str, Mapping[str, Reals]], members: Mapping[str, Mask], rng: np.random.Generator
) -> list[Group]:
    """The metrics for each group of at least `FEWEST` people."""
    groups = []
    for name, mask in members.items():
        if (n_people := int(mask.sum())) < FEWEST:
            continue
        drawn: Draws = draws(n_people, rng)
        of_group = {metric: {r: estimate(of[r][mask], drawn) for r in of} for metric, of in values.items()}
        groups.append(Group(name=name, n_people=n_people, values=of_group))
    return groups


def _places(replayed: Replayed, market: Market) -> list[Fairness]:
    """Attention against supply by where items are from: the market's regions, and other countries."""
    items = replayed.items
    names: Sequence[str] = [
        _place(items.name(int(region)), items.name(int(country)), market)
        for region, country in zip(items.region, items.country, strict=True)
    ]
    places = np.array(names, np.str_)
    supply = replayed.n_offered.astype(np.float64)
    given = {name: metrics.exposure(replayed.pages[name], len(items)) for name in RANKINGS}
    return [
        Fairness(
            place=str(place),
            is_home=str(place).startswith(market.market),
            offered=float(supply[places == place].sum() / supply.sum()),
            exposure={name: float(of[places == place].sum() / max(of.sum(), 1e-12)) for name, of in given.items()},
        )
        for place in np.unique(places[supply > 0])
    ]


def _place(region: str | None, country: str | None, market: Market) -> str:
    if country == market.market:
        return region or country
    return country or "unknown"
