"""
The pages that each ranking would have shown to held-out people, as of the instant when each person came back.

| ranking    | what it is |
|------------|------------|
| engine     | a page of the full engine under the policy: caps, gaps, floors, spacing, one explored slot |
| score      | the same candidates in the order of the score, without the slot rules |
| no_local   | the same score without its weight for local items: the baseline of the accuracy cost of locality |
| popularity | what people of the person's market interact with most |

All four choose from the same items: those that pass every filter and that the person had not met before. The ledger is
empty, as for somebody who comes back after a week, so caps bind within the page only.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from eval.offline.base_models import chosen_models, pages_of_models
from eval.offline.holdout import HeldOutUser
from eval.offline.leaks import check_pages
from eval.offline.locality import PersonLocality, observe_locality, without_local
from eval.offline.watch import RankedImpressions, effective_impressions, estimated_watch, rank_impressions
from recsys.catalogue.items import Items
from recsys.clock import Millis, from_text
from recsys.experiments.payload import Experiments
from recsys.feed import scorers
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine
from recsys.feed.plan import Plan
from recsys.feed.query import Query
from recsys.feed.response import shortfall_of
from recsys.messages import FeedRequest
from recsys.metrics import EMPTY, auc
from recsys.models.artifact import Artifact
from recsys.models.base import PreferenceModel
from recsys.policy.schema import Market
from recsys.processes import in_processes
from recsys.progress import Progress, quiet
from recsys.stores.memory import MemoryStore
from recsys.types import Candidates, Floats, Ids, Longs, Mask, Pages, Reals, rank_order

RANKINGS: Final = ("engine", "score", "no_local", "popularity")
_PEOPLE_PER_CHUNK: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayResult:
    """
    The pages of q people. Item numbers are those of `items`; `at` is the latest request.

    Shapes, by ranking: `pages` (q, k), `EMPTY` where a page is short; `is_relevant` and `is_local` (q, k), slot by
    slot; `impression_auc` and `watch` (q,), NaN for the engine, see `eval.offline.watch`.
    `effective_impressions`: how many equally weighted impressions would tell as much about the score.
    Shapes, by person: `n_relevant`, `n_liked` (q,); `local_share_history` and `local_share_eligible` (q,), the local
    share of what the person liked before and of what could be shown; `country`, `region`, `locality`, `relevant`.
    `n_eligible` (n_items,): for how many people an item could be shown. `is_minor` (q,): whose page was a minor's.
    `missing`: of each page that is short, how many videos each reason kept back. `notices`: alerts of the engine.
    `model_pages`: (q, k) by base model, see `eval.offline.base_models`. `language` and `age_band`: of each person, the
    first language and the band that counted. `item_nos` (n_rows,): item numbers of the artifact's rows.
    """

    people: tuple[HeldOutUser, ...]
    items: Items
    at: Millis
    pages: Mapping[str, Pages]
    is_relevant: Mapping[str, Mask]
    is_local: Mapping[str, Mask]
    impression_auc: Mapping[str, Reals]
    watch: Mapping[str, Reals]
    effective_impressions: float
    n_relevant: Longs
    n_liked: Longs
    local_share_history: Reals
    local_share_eligible: Reals
    country: tuple[str, ...]
    region: tuple[str | None, ...]
    locality: tuple[PersonLocality, ...]
    relevant: tuple[Ids, ...]
    n_eligible: Longs
    is_minor: Mask
    missing: tuple[Mapping[str, int], ...]
    notices: tuple[str, ...]
    model_pages: Mapping[str, Pages]
    language: tuple[str, ...]
    age_band: tuple[str, ...]
    item_nos: Ids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PersonReplay:
    """One person's part of a `ReplayResult`. `is_eligible` (n_items,): what could be shown to them."""

    pages: Mapping[str, Ids]
    is_local: Mapping[str, Mask]
    impression_auc: Mapping[str, float]
    impressions: RankedImpressions
    relevant: Ids
    local_share_history: float
    local_share_eligible: float
    country: str
    region: str | None
    locality: PersonLocality
    is_eligible: Mask
    is_minor: bool
    missing: Mapping[str, int]
    model_pages: Mapping[str, Ids]
    language: str
    age_band: str


def offline_engine(artifact: Artifact, market: Market, at: Millis, alerts: list[str]) -> Engine:
    """The engine of the service over stores in memory, without experiments; which appends its alerts to `alerts`."""
    store, ids = MemoryStore(), itertools.count()
    return build_engine(
        artifact,
        market,
        Experiments(),
        stores=store.stores,
        key=b"offline",
        new_id=lambda: f"offline-{next(ids)}",
        at=at,
        alert=alerts.append,
    )


def replay(
    artifact: Artifact,
    market: Market,
    people: Sequence[HeldOutUser],
    *,
    k: int,
    models: Sequence[str] | None = None,
    on_progress: Progress = quiet,
) -> ReplayResult:
    """
    Pages of `k` slots for every person, ranking and base model (`models`, None = all), planned in as many processes as
    there are processors. Takes about 15 ms a person on a catalogue of 3,000.
    """
    base_models = chosen_models(artifact, models)
    alerts: list[str] = []
    engine = offline_engine(artifact, market, from_text(artifact.manifest.created_at), alerts)
    items = engine.resources.catalogue_cache.items
    item_nos = np.zeros(len(artifact.items), np.int32)  # by row of the artifact
    item_nos[items.row[items.row >= 0]] = np.flatnonzero(items.row >= 0)
    parts: list[_PersonReplay] = []
    work = partial(_replay_people, engine, alerts, base_models, item_nos, k)
    for of_chunk, said in in_processes(work, people, _PEOPLE_PER_CHUNK):
        parts += of_chunk
        alerts += said
        on_progress("replay", len(parts), len(people))
    replayed = _combine(tuple(people), items, parts, k, tuple(dict.fromkeys(alerts)), item_nos)
    check_pages([*replayed.pages.values(), *replayed.model_pages.values()], people, items, item_nos)
    return replayed


def _replay_people(
    engine: Engine,
    alerts: list[str],
    models: Mapping[str, PreferenceModel],
    item_nos: Ids,
    k: int,
    people: Sequence[HeldOutUser],
) -> tuple[list[_PersonReplay], list[str]]:
    """The parts of these people and what the engine had to say, which no other process sees in `alerts`."""
    n_known, parts, said = len(alerts), [], list[str]()
    items = engine.resources.catalogue_cache.items
    for person in people:
        plan = engine.plan(request_of(person, items, item_nos, k), person.at)
        said += plan.alerts
        parts.append(_replay_person(plan, person, models, item_nos, k))
    said += alerts[n_known:]
    return parts, said


def request_of(person: HeldOutUser, items: Items, item_nos: Ids, k: int) -> FeedRequest:
    """The request of a person who came back. What they had seen, and what was published later, is excluded."""
    excluded = np.union1d(item_nos[person.seen], np.flatnonzero(items.published_at > person.at))
    return FeedRequest(
        user_id=person.user_id,
        size=k,
        request_id=f"eval-{person.user_id}",
        exclude_ids=tuple(items.item_ids[n] for n in excluded),
    )


def _replay_person(
    plan: Plan, person: HeldOutUser, models: Mapping[str, PreferenceModel], item_nos: Ids, k: int
) -> _PersonReplay:
    query, candidates = plan.context.query, plan.ranked.candidates
    rankings = {"score": candidates, "no_local": without_local(query, candidates)}
    pages = {
        "engine": plan.candidates.item_nos[plan.selection.rows],
        **{name: ranked.item_nos[:k] for name, ranked in rankings.items()},
        "popularity": _most_popular(query, k),
    }
    is_local, liked = query.nearness.is_local, item_nos[person.liked]
    return _PersonReplay(
        pages=pages,
        is_local={name: is_local[page] for name, page in pages.items()},
        impression_auc=_impression_auc(query, item_nos[person.relevant], item_nos[person.exposed]),
        impressions=rank_impressions(query, person.impressions, item_nos, partial(_scores, query)),
        relevant=item_nos[person.relevant],
        local_share_history=_mean(is_local[liked]),
        local_share_eligible=_mean(is_local[query.is_eligible]),
        country=query.viewer.country,
        region=query.viewer.region,
        locality=observe_locality(plan.context, rankings, pages, liked, k),
        is_eligible=query.is_eligible,
        is_minor=query.market.ages[query.viewer.age_band].is_minor,
        missing=shortfall_of(k, query.size, len(pages["engine"]), plan.lost, plan.selection.blocked).because,
        model_pages=pages_of_models(models, query, item_nos, k),
        language=next(iter(query.viewer.languages), "unknown"),
        age_band=query.viewer.age_band,
    )


def _most_popular(query: Query, k: int) -> Ids:
    eligible = np.flatnonzero(query.is_eligible).astype(np.int32)
    popularity = scorers.popular(query, query.whole)[eligible]
    return eligible[rank_order(popularity, eligible)][:k]


def _impression_auc(query: Query, relevant: Ids, exposed: Ids) -> Mapping[str, float]:
    """
    By ranking, the chance that a relevant item scores above another item that the person was exposed to.

    The logging policy showed both, so its preferences matter less. Items that a filter removes are left out. The
    engine has no score of its own: NaN.
    """
    item_nos = exposed[query.is_eligible[exposed]]
    is_relevant = np.isin(item_nos, relevant)
    scores = _scores(query, item_nos)
    return {"engine": float("nan")} | {name: auc(values, is_relevant) for name, values in scores.items()}


def _scores(query: Query, item_nos: Ids) -> Mapping[str, Floats]:
    """(n,) the score of items by ranking; the engine has none."""
    candidates = with_predictions(query, query.whole.take(item_nos.astype(np.intp)))
    without_locality = replace(query, weights={**query.weights, "local": 0.0})
    return {
        "score": scorers.value(query, candidates),
        "no_local": scorers.value(without_locality, candidates),
        "popularity": scorers.popular(query, candidates),
    }


def with_predictions(query: Query, candidates: Candidates) -> Candidates:
    """The candidates with every part of their score, as served."""
    return candidates.with_columns({f"p_{name}": scorer(query, candidates) for name, scorer in scorers.SCORERS.items()})


def _combine(
    people: tuple[HeldOutUser, ...],
    items: Items,
    parts: Sequence[_PersonReplay],
    k: int,
    notices: tuple[str, ...],
    item_nos: Ids,
) -> ReplayResult:
    pages = {name: np.stack([_padded_page(part.pages[name], k) for part in parts]) for name in RANKINGS}
    is_relevant = {
        name: np.stack([np.isin(page, part.relevant) for page, part in zip(pages[name], parts, strict=True)])
        for name in RANKINGS
    }
    impressions = [part.impressions for part in parts]
    return ReplayResult(
        people=people,
        items=items,
        at=max(person.at for person in people),
        pages=pages,
        is_relevant=is_relevant,
        is_local={name: np.stack([_padded_mask(part.is_local[name], k) for part in parts]) for name in RANKINGS},
        impression_auc={name: np.array([part.impression_auc[name] for part in parts]) for name in RANKINGS},
        watch=estimated_watch(impressions, RANKINGS, len(items)),
        effective_impressions=effective_impressions(impressions, "score", len(items)),
        n_relevant=np.array([len(part.relevant) for part in parts]),
        n_liked=np.array([len(person.liked) for person in people]),
        local_share_history=np.array([part.local_share_history for part in parts]),
        local_share_eligible=np.array([part.local_share_eligible for part in parts]),
        country=tuple(part.country for part in parts),
        region=tuple(part.region for part in parts),
        locality=tuple(part.locality for part in parts),
        relevant=tuple(part.relevant for part in parts),
        n_eligible=np.sum([part.is_eligible for part in parts], axis=0, dtype=np.int64),
        is_minor=np.array([part.is_minor for part in parts]),
        missing=tuple(part.missing for part in parts if part.missing),
        notices=notices,
        model_pages={
            name: np.stack([_padded_page(part.model_pages[name], k) for part in parts]) for name in parts[0].model_pages
        },
        language=tuple(part.language for part in parts),
        age_band=tuple(part.age_band for part in parts),
        item_nos=item_nos,
    )


def _padded_page(page: Ids, k: int) -> Ids:
    padded = np.full(k, EMPTY, np.int32)
    padded[: len(page)] = page
    return padded


def _padded_mask(mask: Mask, k: int) -> Mask:
    padded = np.zeros(k, np.bool_)
    padded[: len(mask)] = mask
    return padded


def _mean(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else float("nan")
