"""
Which measure on held-out events orders rankers as their true worth does: Kendall's tau of each, over listed rankers.

All rankers rank the same videos: those of R0 and R1 that the person could be shown when they first came back after the
cutoff, and had not met before it. Their true worth is that of their first 20, without floors and caps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from scipy.stats import kendalltau, t
from worth_pages import completion_rate, engine_of, popularity, popularity_of_groups
from worth_tables import Numbers, line, number
from worth_worlds import JudgedWorld

from eval.offline.holdout import hold_out
from eval.simulation.world.behaviour import topic_effect
from eval.simulation.worth import PAGE_SIZE, Offer, best_page, offer_to, padded, page_worth
from recsys import metrics
from recsys.feed.engine import Engine
from recsys.feed.query import Query
from recsys.feed.scorers import of_head
from recsys.messages import FeedRequest
from recsys.models.base import PreferenceModel
from recsys.models.interactions import interactions_from_history
from recsys.policy.schema import Market
from recsys.types import Ids, Longs, Reals, rank_order
from training.interactions import build_interactions
from training.models.blend import fit_models
from training.models.registry import MODELS, training_matrix
from training.models.settings import BlendParams
from training.validate import clean

CLIP: Final = 5.0
"""The most that an impression weighs, in medians of the weights."""
WIDTHS: Final = (20, 100, 300)
"""How many of a ranker's first videos an estimate looks at: wider ones match more of the log."""
HALVING_RANKS: Final = 100
"""After so many places a video counts half for the estimate that looks at all of them."""
EXPOSED: Final = "NDCG as exposed"
TRUTH: Final = "true worth"
RANKER: Final = "ranker"
"""The ranker's chance of a watch to the end, which is the outcome model too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visit:
    """
    One person when they came back.

    `rows` (n,): what they could be shown. `shown` (m,) places in `rows` of what they were shown afterwards, with
    `propensity` and `watched` (m,). `relevant`: rows of what they went on to want. `scores`: (n,) by ranker, NaN sinks.
    """

    offer: Offer
    rows: Ids
    shown: Longs
    propensity: Reals
    watched: Reals
    relevant: Ids
    scores: Mapping[str, Reals]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rankers:
    """What the scores of all rankers are worked out from. Every array of items is in rows of the items table."""

    world: JudgedWorld
    engine: Engine
    base_models: Mapping[str, PreferenceModel]
    popular: Reals
    by_language: Sequence[Reals]
    by_region: Sequence[Reals]
    rate: Reals


def yardsticks(world: JudgedWorld, market: Market) -> Numbers:
    """By ranker, its true worth and what each yardstick says of it."""
    visits = _visits(world, market)
    measures: Numbers = {name: _judged(visits, name) for name in visits[0].scores}
    print(line(f"{len(visits)} people came back", list(measures["random"])))
    for name, row in measures.items():
        print(line(name, [number(value, 3) for value in row.values()]))
    return measures


# --- rankers ---


def _visits(world: JudgedWorld, market: Market) -> list[Visit]:
    rankers = _Rankers(
        world=world,
        engine=engine_of(world, market),
        base_models=_fit_base_models(world),
        popular=popularity(world),
        by_language=popularity_of_groups(world, [first for first, _ in world.kinds]),
        by_region=popularity_of_groups(world, list(world.users["region"].fill_null(""))),
        rate=completion_rate(world),
    )
    relevant = {person.user_id: person.relevant for person in hold_out(world.artifact, world.data).people}
    later = world.impressions.filter(pl.col("at") >= world.cutoff)
    return [
        visit
        for (person,), shown in later.group_by("person", maintain_order=True)
        if (visit := _visit(rankers, int(str(person)), shown, relevant)) is not None
    ]


def _fit_base_models(world: JudgedWorld) -> Mapping[str, PreferenceModel]:
    """Every base model, fitted as training fits it, also those that the artifact's blend does without."""
    dataset, _ = clean(world.data, at=world.at)
    params, train = BlendParams(), training_matrix(build_interactions(dataset, before=world.cutoff))
    return fit_models([name for name in params.models if MODELS[name].can_fit(train)], train, params, 0)


def _visit(rankers: _Rankers, person: int, shown: pl.DataFrame, relevant: Mapping[str, Ids]) -> Visit | None:
    """None for somebody who could be shown nothing."""
    world, engine = rankers.world, rankers.engine
    user_id, at = world.user_ids[person], int(shown["at"].to_numpy().min())
    before = world.impressions.filter(pl.col("person") == person, pl.col("at") < world.cutoff)["row"]
    met = tuple(world.items["item_id"].gather(before))
    query = engine.context(FeedRequest(user_id=user_id, request_id="y", exclude_ids=met), at).query
    index = query.items.index
    numbers = np.array([index.get(item_id, 0) for item_id in world.items["item_id"]], np.int32)
    offer = offer_to(world.truth, person, world.counted, query.is_eligible[numbers])
    rows = np.flatnonzero(offer.is_open).astype(np.int32)
    if len(rows) == 0:
        return None
    places = np.full(len(world.items), -1)
    places[rows] = np.arange(len(rows))
    shown = shown.with_columns(place=places[shown["row"].to_numpy()]).filter(pl.col("place") >= 0)
    of_artifact = np.full(len(world.items), -1)
    of_artifact[world.artifact_rows] = np.arange(len(world.items))
    return Visit(
        offer=offer,
        rows=rows,
        shown=shown["place"].to_numpy(),
        propensity=shown["propensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        watched=shown["watch_fraction"].cast(pl.Float64).to_numpy(),
        relevant=of_artifact[relevant.get(user_id, np.empty(0, np.int32))].astype(np.int32),
        scores=_scores(rankers, person, query, rows, numbers[rows]),
    )


def _scores(rankers: _Rankers, person: int, query: Query, rows: Ids, numbers: Ids) -> Mapping[str, Reals]:
    world = rankers.world
    candidates = query.whole.take(numbers.astype(np.intp))
    chance = np.asarray(of_head("complete")(query, candidates), np.float64)
    markets = world.artifact.popularity.markets
    country = query.viewer.country
    market = markets.index(country) if country in markets else len(markets)
    history = interactions_from_history(query.history, len(world.artifact.items), market)
    blend = np.asarray(query.model.blend_scores(query.history, country)[world.artifact_rows[rows]], np.float64)
    of_models = {
        name: np.asarray(model.scores(history)[0][world.artifact_rows[rows]], np.float64)
        for name, model in rankers.base_models.items()
    }
    topics = topic_effect(world.truth, np.full(len(rows), person), rows.astype(np.int64))
    return {
        "random": np.random.default_rng([world.params.seed, person]).random(len(rows)),
        "popularity": rankers.popular[rows],
        "popularity by first language": rankers.by_language[person][rows],
        "popularity by region": rankers.by_region[person][rows],
        "completion rate": rankers.rate[rows],
        **of_models,
        "blend": blend,
        **_of_ranker(chance, blend),
        "oracle of topics": topics,
    }


def _of_ranker(chance: Reals, blend: Reals) -> Mapping[str, Reals]:
    """Nothing where the artifact has no ranker."""
    if not np.isfinite(chance).all():
        return {}
    log_odds = np.log(chance / (1 - chance))
    return {RANKER: chance, "ranker + blend": _standardised(log_odds) + _standardised(blend)}


def _standardised(scores: Reals) -> Reals:
    """Scores in standard deviations; the unknown count as the mean."""
    centred = scores - np.nanmean(scores) if np.isfinite(scores).any() else np.zeros(len(scores))
    return np.asarray(np.nan_to_num(centred) / max(float(np.nanstd(scores)), 1e-9))


# --- yardsticks ---


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outcomes:
    """
    The held-out impressions of everybody, m in all, and where a ranker has them: `rank` (m,) from 0.

    Of the outcome model are `predicted` (m,), and `expected`: by width, the mean over a ranker's first videos.
    """

    rank: Longs
    logged: Reals
    watched: Reals
    predicted: Reals
    expected: Mapping[int, float]


def _judged(visits: Sequence[Visit], name: str) -> dict[str, float]:
    pages = np.stack([padded(_page(visit, name)) for visit in visits])
    hits = np.stack([np.isin(page, visit.relevant) for page, visit in zip(pages, visits, strict=True)])
    n_relevant = np.array([len(visit.relevant) for visit in visits])
    outcomes = _outcomes(visits, name)
    is_on_page = outcomes.rank < PAGE_SIZE
    measures = {
        TRUTH: float(np.mean([page_worth(v.offer, page) for v, page in zip(visits, pages, strict=True)])),
        EXPOSED: metrics.mean(metrics.ndcg(hits, n_relevant, PAGE_SIZE)),
        "recall as exposed": metrics.mean(metrics.recall(hits, n_relevant, PAGE_SIZE)),
        "mean watch": float(outcomes.watched[is_on_page].mean()) if is_on_page.any() else float("nan"),
    }
    for width in WIDTHS:
        target = (outcomes.rank < width).astype(np.float64)
        estimate = metrics.snips(outcomes.watched, outcomes.logged, target, CLIP)
        robust = metrics.doubly_robust(
            outcomes.expected[width], outcomes.watched, outcomes.predicted, outcomes.logged, target, CLIP
        )
        measures |= {f"SNIPS {width}": estimate.value, f"robust {width}": robust.value}
        measures |= {f"size {width}": estimate.effective_size}
    fading = metrics.snips(outcomes.watched, outcomes.logged, np.exp2(-outcomes.rank / HALVING_RANKS), CLIP)
    return measures | {"SNIPS fading": fading.value, "weighted order": weighted_order(visits, name)}


def _page(visit: Visit, name: str) -> Ids:
    scores = np.zeros(len(visit.offer.worth))
    scores[visit.rows] = np.nan_to_num(visit.scores[name], nan=-np.inf)
    return best_page(visit.offer, scores)


def _outcomes(visits: Sequence[Visit], name: str) -> _Outcomes:
    orders = [rank_order(np.asarray(visit.scores[name], np.float32), visit.rows) for visit in visits]
    ranks = []
    for visit, order in zip(visits, orders, strict=True):
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ranks.append(rank[visit.shown])
    watched = np.concatenate([visit.watched for visit in visits])
    chances = np.concatenate([_chances(visit)[visit.shown] for visit in visits])
    slope, intercept = _line_through(chances, watched)
    expected = {
        width: float(
            np.mean(
                [
                    intercept + slope * _chances(visit)[order[:width]].mean()
                    for visit, order in zip(visits, orders, strict=True)
                ]
            )
        )
        for width in WIDTHS
    }
    return _Outcomes(
        rank=np.concatenate(ranks),
        logged=np.concatenate([visit.propensity for visit in visits]),
        watched=watched,
        predicted=intercept + slope * chances,
        expected=expected,
    )


def _chances(visit: Visit) -> Reals:
    """(n,) of a watch to the end; the same for all where the artifact has no ranker."""
    return visit.scores.get(RANKER, np.zeros(len(visit.rows)))


def _line_through(chances: Reals, watched: Reals) -> tuple[float, float]:
    """Slope and intercept that make a chance of a watch to the end a fraction watched."""
    spread = float(chances.var())
    slope = float(((chances - chances.mean()) * watched).mean()) / spread if spread > 0 else 0.0
    return slope, float(watched.mean() - slope * chances.mean())


def weighted_order(visits: Sequence[Visit], name: str) -> float:
    """
    The chance that of two impressions of one person the one that was watched longer scores higher.

    A pair counts by the product of the inverse propensities, clipped: as if both had been drawn alike from everything.
    """
    right = total = 0.0
    for visit in visits:
        if len(visit.shown) < 2:
            continue
        scores = np.nan_to_num(visit.scores[name][visit.shown], nan=-np.inf)
        weights = metrics.importance_weights(visit.propensity, np.ones(len(scores)), CLIP)
        pairs = np.outer(weights, weights) * (visit.watched[:, None] > visit.watched[None])
        is_right = (scores[:, None] > scores[None]) + 0.5 * (scores[:, None] == scores[None])
        right, total = right + float((pairs * is_right).sum()), total + float(pairs.sum())
    return right / total if total > 0 else float("nan")


# --- over worlds ---


def print_taus(results: Mapping[str, Numbers]) -> None:
    """Kendall's tau of every yardstick with the true worth, and how much it is above NDCG as exposed."""
    first: Mapping[str, Mapping[str, float]] = next(iter(results.values()))
    names = [name for name in first["random"] if name != TRUTH and not name.startswith("size")]
    taus = {name: np.array([_tau(measures, name) for measures in results.values()]) for name in names}
    print("\n" + line("Kendall's tau with true worth", ["mean", "interval", "above exposed", "interval", "worlds"]))
    for name, values in taus.items():
        above = values - taus[EXPOSED]
        by_world = " ".join(number(value, 2) for value in values)
        means = (number(values.mean(), 2), _interval(values), number(above.mean(), 2), _interval(above))
        print(line(name, [*means, by_world]))


def _tau(measures: Mapping[str, Mapping[str, float]], name: str) -> float:
    truth, measured = ([row[column] for row in measures.values()] for column in (TRUTH, name))
    return float(kendalltau(truth, measured, nan_policy="omit").statistic)


def _interval(values: Reals) -> str:
    """Student's 95 % interval over worlds; none for a single one."""
    if len(values) < 2:
        return "-"
    half = float(t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / len(values) ** 0.5
    return f"{number(values.mean() - half, 2)} to {number(values.mean() + half, 2)}"
