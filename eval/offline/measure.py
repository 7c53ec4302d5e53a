"""The numbers of a report, from the pages that each ranking would have shown."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from eval.offline.against import Against
from eval.offline.holdout import Holdout
from eval.offline.intervals import (
    Difference,
    Estimate,
    Resamples,
    corrected,
    difference,
    estimate,
    resample,
    without_interval,
)
from eval.offline.locality import LocalityReport, summarise_locality
from eval.offline.model_rows import ModelRow, model_rows
from eval.offline.quality import accuracy_values, variety_values
from eval.offline.reliability import Reliability
from eval.offline.replay import RANKINGS, ReplayResult
from eval.offline.slices import (
    HISTORY_SEGMENTS,
    MIN_GROUP_SIZE,
    CreatorSize,
    Segment,
    creator_sizes,
    segments,
    share_of,
)
from recsys import metrics
from recsys.catalogue.items import topic_bits
from recsys.clock import to_text
from recsys.models.artifact import Artifact
from recsys.policy.schema import Market
from recsys.types import Longs, Mask, Reals
from recsys.vocabulary import TIERS

COMPARISONS: Final = (("engine", "popularity"), ("score", "popularity"), ("engine", "score"), ("score", "no_local"))
COMPARED_METRICS: Final = ("watch", "recall", "ndcg", "impression_auc", "local_share", "supportive_share")
MIN_LOCAL_SHARE_CHANGE: Final = 0.005
"""With a smaller change of the local share, an accuracy cost per percentage point would be noise."""

PerPerson = Mapping[str, dict[str, Reals]]
"""Metric -> ranking -> (q,) a value for each person."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Metric -> ranking -> estimate, over a part of the people."""

    name: str
    n_people: int
    values: dict[str, dict[str, Estimate]]


class PlaceExposure(msgspec.Struct, frozen=True, kw_only=True):
    """
    One place: its share of what could be shown, and by ranking its share of position-weighted attention. When the two
    are equal, attention is in proportion to what there is.
    """

    place: str
    is_home: bool
    eligible_share: float
    exposure: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    All results of `sanad eval`. Rates are in [0, 1], times RFC 3339 in UTC. docs/evaluation.md explains them.

    `n_minors`: people whose page was a minor's, among them those of unknown age. `kept_back`: by reason, how many
    videos it kept from a page of the engine that is short, on average over the `n_short_pages`; `kept_back_in_all` sums
    them. `data_notes`: how the data differ from those behind the artifact.

    `ks`: cut-offs of `accuracy`, whose metrics are `name@k`. `variety`: how new, varied and personal pages are.
    `filled`: accuracy over the people whose page of the engine is not empty, where there are `n_empty_pages`.
    `base_models`: the score and each model of the blend alone. `against`: the other artifact, where one was named.
    """

    model_version: str
    policy_version: str
    market: str
    risk_source: str
    cutoff: str
    until: str | None
    k: int
    seed: int
    n_people: int
    n_evaluable: int
    n_active: int
    n_held_out_events: int
    n_items: int
    relevant_per_person: float
    effective_impressions: float
    local_share_history: Estimate
    local_share_eligible: Estimate
    values: dict[str, dict[str, Estimate]]
    differences: list[Difference]
    locality_accuracy_cost: float | None
    regions: list[Group]
    activity_segments: list[Group]
    places: list[PlaceExposure]
    locality: LocalityReport
    reliability: list[Reliability]
    notices: list[str]
    n_minors: int
    n_short_pages: int
    kept_back: dict[str, float]
    assume_adults: bool = False
    data_notes: list[str] = []
    ks: list[int] = []
    accuracy: dict[str, dict[str, Estimate]] = {}
    variety: dict[str, dict[str, Estimate]] = {}
    n_empty_pages: int = 0
    n_empty_slots: int = 0
    kept_back_in_all: dict[str, int] = {}
    filled: dict[str, dict[str, Estimate]] = {}
    segments: list[Segment] = []
    creator_sizes: list[CreatorSize] = []
    base_models: list[ModelRow] = []
    against: Against | None = None


def measure(
    replayed: ReplayResult,
    artifact: Artifact,
    market: Market,
    holdout: Holdout,
    reliability: list[Reliability],
    *,
    k: int,
    seed: int,
    ks: Sequence[int] = (),
) -> Report:
    """
    The report. `seed` is that of the bootstrap; equal inputs give equal reports. `ks`: cut-offs beside k; those above
    it are left out, as a page has k items.
    """
    rng = np.random.default_rng([seed, 2])
    values = per_person(replayed, market, k)
    resamples = resample(len(replayed.people), rng)
    estimates = _estimates(values, resamples)
    is_empty = (replayed.pages["engine"] == metrics.EMPTY).all(axis=1)
    detail = _detail(
        replayed, artifact, sorted({k, *(cut for cut in ks if cut <= k)}), values, is_empty, resamples, seed
    )
    history = {"local_share_history": {"history": replayed.local_share_history}}
    report = Report(
        model_version=artifact.version,
        policy_version=market.version,
        market=market.market,
        risk_source=artifact.manifest.risk_source,
        cutoff=to_text(holdout.cutoff),
        until=None if holdout.until is None else to_text(holdout.until),
        k=k,
        seed=seed,
        n_people=len(replayed.people),
        n_evaluable=len(holdout.people),
        n_active=holdout.n_active,
        n_held_out_events=holdout.n_events,
        n_items=int((replayed.n_eligible > 0).sum()),
        effective_impressions=round(replayed.effective_impressions, 1),
        relevant_per_person=float(replayed.n_relevant.mean()),
        local_share_history=estimate(replayed.local_share_history, resamples),
        local_share_eligible=estimate(replayed.local_share_eligible, resamples),
        values=estimates | _of_rankings(replayed),
        differences=_differences(values, resamples),
        locality_accuracy_cost=_locality_accuracy_cost(estimates),
        regions=_groups({**values, **history}, _by_region(replayed), rng),
        activity_segments=_groups({name: values[name] for name in ("recall", "ndcg")}, _by_activity(replayed), rng),
        places=_places(replayed, market),
        locality=summarise_locality(
            replayed.locality, replayed.pages, replayed.relevant, replayed.items, replayed.at, k
        ),
        reliability=reliability,
        notices=list(replayed.notices),
        n_minors=int(replayed.is_minor.sum()),
        n_short_pages=len(replayed.missing),
        kept_back=_kept_back(replayed),
        n_empty_pages=int(is_empty.sum()),
        n_empty_slots=int((replayed.pages["engine"] == metrics.EMPTY).sum()),
        kept_back_in_all=_kept_back_in_all(replayed),
    )
    return msgspec.structs.replace(report, **detail)


def _detail(
    replayed: ReplayResult,
    artifact: Artifact,
    ks: Sequence[int],
    values: PerPerson,
    is_empty: Mask,
    resamples: Resamples,
    seed: int,
) -> dict[str, object]:
    """The further fields of the report, with resamples of their own, so that what stands above keeps its numbers."""
    rng, k = np.random.default_rng([seed, 3]), max(ks)
    pages = {**replayed.pages, **replayed.model_pages}
    accuracy = accuracy_values(replayed, pages, replayed.n_relevant, ks)
    variety = variety_values(replayed, artifact, pages)
    filled = {name: {r: values[name][r][~is_empty] for r in RANKINGS} for name in ("recall", "ndcg")}
    return {
        "ks": list(ks),
        "accuracy": _estimates(_of_rankings_only(accuracy), resamples),
        "variety": _estimates(_of_rankings_only(variety), resamples),
        "filled": _estimates(filled, resample(int((~is_empty).sum()), rng))
        if 0 < is_empty.sum() < len(is_empty)
        else {},
        "segments": segments(values, replayed, rng),
        "creator_sizes": creator_sizes(replayed, artifact, rng),
        "base_models": model_rows({**accuracy, **variety}, replayed, k, resamples),
    }


def _of_rankings_only(values: PerPerson) -> dict[str, dict[str, Reals]]:
    return {metric: {name: of_metric[name] for name in RANKINGS} for metric, of_metric in values.items()}


def per_person(
    replayed: ReplayResult, market: Market, k: int, n_relevant: Longs | None = None
) -> dict[str, dict[str, Reals]]:
    """Metric -> ranking -> (q,) a value for each person. `n_relevant` (q,): None = that of the replay."""
    pages, hits = replayed.pages, replayed.is_relevant
    n_relevant = replayed.n_relevant if n_relevant is None else n_relevant
    is_supportive = _is_supportive(replayed, market)
    functions: dict[str, Callable[[str], Reals]] = {
        "recall": lambda name: metrics.recall(hits[name], n_relevant, k),
        "ndcg": lambda name: metrics.ndcg(hits[name], n_relevant, k),
        "watch": lambda name: replayed.watch[name],
        "impression_auc": lambda name: replayed.impression_auc[name],
        "local_share": lambda name: metrics.share(replayed.is_local[name], pages[name]),
        "supportive_share": lambda name: metrics.share(is_supportive, pages[name]),
        "fill_rate": lambda name: (pages[name] != metrics.EMPTY).mean(axis=1),
    }
    values = {metric: {name: function(name) for name in RANKINGS} for metric, function in functions.items()}
    for number, tier in enumerate(TIERS):
        values[tier] = {name: metrics.share(replayed.items.tier == number, pages[name]) for name in RANKINGS}
    return values


def _estimates(values: PerPerson, resamples: Resamples) -> dict[str, dict[str, Estimate]]:
    return {
        metric: {name: estimate(column, resamples) for name, column in by_ranking.items()}
        for metric, by_ranking in values.items()
    }


def _differences(values: Mapping[str, dict[str, Reals]], resamples: Resamples) -> list[Difference]:
    """Each comparison of each compared metric. The engine's page has no single score, which two of them need."""
    return corrected(
        [
            difference(metric, first, second, values[metric], resamples)
            for metric in COMPARED_METRICS
            for first, second in COMPARISONS
            if not (metric in ("watch", "impression_auc") and "engine" in (first, second))
        ]
    )


def _of_rankings(replayed: ReplayResult) -> dict[str, dict[str, Estimate]]:
    """Numbers that belong to a ranking as a whole. People drawn twice show nothing new, so they have no interval."""
    is_eligible = replayed.n_eligible > 0
    creators, creator_no = np.unique(replayed.items.creator_row[is_eligible], return_inverse=True)
    values: dict[str, dict[str, Estimate]] = {"coverage": {}, "gini_items": {}, "gini_creators": {}}
    for name in RANKINGS:
        attention = metrics.exposure(replayed.pages[name], len(replayed.items))[is_eligible]
        by_creator = np.bincount(creator_no, attention, len(creators)).astype(np.float64)
        values["coverage"][name] = without_interval(metrics.coverage(replayed.pages[name], is_eligible))
        values["gini_items"][name] = without_interval(metrics.gini(attention))
        values["gini_creators"][name] = without_interval(metrics.gini(by_creator))
    return values


def _is_supportive(replayed: ReplayResult, market: Market) -> Mask:
    """(n_items,) R0 on a supportive topic, by the rule of the engine."""
    items = replayed.items
    is_on_topic = (items.topics & topic_bits(market.supportive_topics)) != 0
    return np.asarray((items.tier == 0) & items.is_labelled & is_on_topic)


def _locality_accuracy_cost(estimates: Mapping[str, Mapping[str, Estimate]]) -> float | None:
    """
    The accuracy cost of the weight for local items: the per cent of NDCG lost from `no_local` to `score`, for each
    percentage point of the page that became local. Negative when NDCG grows. None when the local share did not grow.
    """
    ndcg, local_share = estimates["ndcg"], estimates["local_share"]
    before, after = ndcg["no_local"].mean, ndcg["score"].mean
    share_before, share_after = local_share["no_local"].mean, local_share["score"].mean
    if not before or after is None or share_before is None or share_after is None:
        return None
    gained = share_after - share_before
    return (1 - after / before) / gained if gained >= MIN_LOCAL_SHARE_CHANGE else None


def _kept_back(replayed: ReplayResult) -> dict[str, float]:
    """By reason, videos kept from a page that is short, the greatest first."""
    return {reason: round(n / len(replayed.missing), 2) for reason, n in _kept_back_in_all(replayed).items()}


def _kept_back_in_all(replayed: ReplayResult) -> dict[str, int]:
    """The same, summed over the pages that are short."""
    total = Counter[str]()
    for reasons in replayed.missing:
        total.update(reasons)
    return dict(total.most_common())


def _by_region(replayed: ReplayResult) -> dict[str, Mask]:
    regions = np.array([region or "unknown" for region in replayed.region], np.str_)
    return {str(name): regions == name for name in np.unique(regions)}


def _by_activity(replayed: ReplayResult) -> dict[str, Mask]:
    n_liked = replayed.n_liked
    return {name: (n_liked >= low) & (n_liked <= high) for name, low, high in HISTORY_SEGMENTS}


def _groups(values: PerPerson, members: Mapping[str, Mask], rng: np.random.Generator) -> list[Group]:
    """The metrics for each group of at least `MIN_GROUP_SIZE` people."""
    groups = []
    for name, mask in members.items():
        n_people = int(mask.sum())
        if n_people < MIN_GROUP_SIZE:
            continue
        of_members = {metric: {r: column[mask] for r, column in row.items()} for metric, row in values.items()}
        groups.append(Group(name=name, n_people=n_people, values=_estimates(of_members, resample(n_people, rng))))
    return groups


def _places(replayed: ReplayResult, market: Market) -> list[PlaceExposure]:
    """Attention against supply by where items are from: the market's regions, and other countries."""
    items = replayed.items
    place_of_item = np.array(
        [
            _place(items.name(int(region)), items.name(int(country)), market)
            for region, country in zip(items.region, items.country, strict=True)
        ],
        np.str_,
    )
    supply = replayed.n_eligible.astype(np.float64)
    attention = {name: metrics.exposure(replayed.pages[name], len(items)) for name in RANKINGS}
    return [
        PlaceExposure(
            place=str(place),
            is_home=str(place).startswith(market.market),
            eligible_share=share_of(supply, place_of_item == place),
            exposure={name: share_of(amounts, place_of_item == place) for name, amounts in attention.items()},
        )
        for place in np.unique(place_of_item[supply > 0])
    ]


def _place(region: str | None, country: str | None, market: Market) -> str:
    if country == market.market:
        return region or country
    return country or "unknown"
