"""
Fitting the learned ranker, without looking ahead.

    events   ... learned by the spaces ... | trees | calibration and portion |  held out for `sanad eval`
                                        first    then                   until

The spaces, popularity and rates that the trees see are fitted once more on what came before `first`, because a space
that has seen a reaction knows the answer. What calibrates and judges the trees is fitted on what came before `then`, as
the artifact's own, fitted on everything before `until`, will meet later days: judged beside weaker spaces, the trees
would be given too much.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.clock import Millis
from recsys.data.impressions import COMPLETED, Impressions, Log, impressions, log_of, matrix, past, places
from recsys.data.tables import Dataset
from recsys.metrics import auc
from recsys.models.blend import Blend
from recsys.models.features import RATES, Basis, Facts, facts_of, names_of
from recsys.models.loaded import ranked
from recsys.models.popularity import Popularity
from recsys.models.ranker import Head, Heads
from recsys.models.trees import open_booster
from recsys.progress import Progress, quiet
from recsys.types import Floats, Mask, Space
from recsys.vocabulary import HEADS
from training.models.ranker_weight import Late, choose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What was learned from the events before some instant; the blend is fitted when it is asked for."""

    spaces: Mapping[str, Space]
    popularity: Popularity
    blend: Callable[[], Blend]


FitBefore = Callable[[Millis], Fitted]
"""What can be learned from what happened before an instant."""

WEIGHTS: Final = {
    "cf": 1.0, "content": 0.6, "popular": 0.3, "fresh": 0.2, "local": 0.5, "supportive": 0.3,
    "complete": 1.0, "like": 1.0, "helped": 2.0, "share": 1.0, "not_interested": 2.0,
}  # fmt: skip
"""What the shipped policies give; a market with others chooses its portion by them."""
_PULL: Final = 20.0  # impressions


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerParams:
    """
    `first`, `then`: shares of the impressions before which the spaces, and the trees, stop learning. At most `rows`
    impressions are learned from, the newest. A head needs `least` acts in each part. `clip`: the most, and the least,
    that an impression counts by its propensity, against the middle one; 1 = all alike. `weights` are the market's,
    under which the portion is chosen.
    """

    leaves: int = 8
    trees: int = 50
    learning_rate: float = 0.1
    first: float = 0.7
    then: float = 0.9
    rows: int = 200_000
    least: int = 20
    clip: float = 1.25
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerResult:
    """The heads, or None; what was measured; the outcome in words. Heads of portion 0 are of no use to an artifact."""

    heads: Heads | None
    metrics: Mapping[str, float]
    said: str
    content: float = 1.0  # how much of the weight of content stays


def fit(
    data: Dataset,
    items: pl.DataFrame,
    creators: pl.DataFrame,
    fit_before: FitBefore,
    until: Millis | None,
    params: RankerParams,
    rng: np.random.Generator,
    *,
    market: str,
    on_progress: Progress = quiet,
) -> RankerResult:
    """
    The heads of an artifact whose items are `items`. Equal inputs give equal heads.

    `until` is the cutoff, None when nothing is held out; `market` stands in for an unknown country.
    """
    log = log_of(data, items)
    instants = _instants(log, until, params)
    if instants is None:
        return RankerResult(heads=None, metrics={}, said="none: no impression was logged")
    first, then = instants
    shown = impressions(log, first, until)
    is_late = shown.at >= then
    names = _enough(shown.did, is_late, params.least)
    if not names:
        return RankerResult(heads=None, metrics={}, said="none: too few reactions to impressions were logged")
    facts = facts_of(items, creators)
    models = {at: fit_before(at) for at in (first, then)}
    before = {at: _basis(model, facts, rates(log, items, at)) for at, model in models.items()}
    people = past(log, until)
    where = places(log, market)
    on_progress("ranker", 0, None)
    parts = [matrix(shown.take(mask), people, where, before[at]) for at, mask in ((first, ~is_late), (then, is_late))]
    table = np.empty((len(shown), parts[0].shape[1]), np.float32)
    table[~is_late], table[is_late] = parts
    counts = propensity_weights(shown.propensity, params.clip)
    seed = int(rng.integers(2**31))
    heads = {name: _head(table, shown.did[:, HEADS.index(name)], is_late, counts, params, seed) for name in names}
    made = Heads(
        features=names_of(before[then].spaces), heads=heads, rates=before[then].rates, portion=0.0, kept=1.0, taken=0.0
    )
    is_learnable = log.items["is_learnable"].to_numpy()
    late = Late(
        log=log, basis=before[then], blend=models[then].blend(), past=people, where=where, shown=shown,
        is_learnable=is_learnable, then=then,
    )  # fmt: skip
    chosen = choose(made, late, params.weights, rng)
    metrics = {
        "content_share": chosen.content,
        "ranker_portion": chosen.portion,
        **_metrics(made, table, shown, is_late),
        **chosen.metrics,
    }
    whole = replace(made, rates=rates(log, items, until), portion=chosen.portion, kept=chosen.kept, taken=chosen.taken)
    return RankerResult(heads=whole, metrics=metrics, said=_said(metrics), content=chosen.content)


def _basis(fitted: Fitted, facts: Facts, of_items: Floats) -> Basis:
    spaces = {name: ranked(space) for name, space in fitted.spaces.items()}
    return Basis(spaces=spaces, popularity=fitted.popularity, facts=facts, rates=of_items)


def _instants(log: Log, until: Millis | None, params: RankerParams) -> tuple[Millis, Millis] | None:
    """Where the spaces and then the trees stop learning, by shares of the impressions; None without impressions."""
    before = True if until is None else pl.col("at") < until
    at = log.events.filter("is_learnable", pl.col("kind").is_in(["impression", "view"]), before).select("at").sort("at")
    times = at.collect(engine="streaming")["at"]
    if not len(times):
        return None
    begin = max(round(params.first * len(times)), len(times) - params.rows)
    end = round(begin + (params.then - params.first) / (1 - params.first) * (len(times) - begin))
    return int(times[min(begin, len(times) - 1)]), int(times[min(end, len(times) - 1)])


def _said(found: Mapping[str, float]) -> str:
    without, with_ = (
        f"{found[f'ranker_order_{k}']:.3f} and {found[f'ranker_ndcg_{k}']:.4f}" for k in ("without", "with")
    )
    return (
        f"{found['ranker_portion']:.0%} of the taste; AUC among shown and NDCG@20 are {without} without it, {with_} "
        f"with it ({found['ranker_people']:.0f} people, the last days learned from)"
    )


def _enough(did: Mask, is_late: Mask, least: int) -> list[str]:
    """The heads with enough acts, and enough impressions without, in both parts."""
    parts = (did[~is_late], did[is_late])
    return [
        name
        for n, name in enumerate(HEADS)
        if all(min(part[:, n].sum(), len(part) - part[:, n].sum()) >= least for part in parts)
    ]


def propensity_weights(propensity: Floats, clip: float) -> Floats:
    """
    (n,) how much each impression counts: the inverse of its propensity against that of the middle one, between
    1 / clip and clip, so that what the old feed liked to show does not drown the rest; 1 where it was not logged.
    """
    known = np.isfinite(propensity) & (propensity > 0)
    weights = np.ones(len(propensity), np.float32)
    if known.any():
        middle = np.median(propensity[known])
        weights[known] = np.clip(middle / propensity[known], 1 / clip, clip)
    return weights


def rates(log: Log, items: pl.DataFrame, before: Millis | None) -> Floats:
    """
    (n_items, 6) how often an impression of each item ended in each of `RATES`, then of its creator.

    Items of R2 and above count nothing. A creator with few impressions is drawn to the mean of all, an item to its
    creator's rate, by `_PULL` impressions each.
    """
    kind = pl.col("kind")
    tests = {
        "shown": kind == "impression",
        "viewed": kind == "view",
        "complete": kind == "complete",
        "watched": (kind == "view") & (pl.col("watch_fraction") >= COMPLETED).fill_null(False),
        "like": kind == "like",
        "helped": kind == "helped",
    }
    events = log.events.filter("is_learnable", True if before is None else pl.col("at") < before)
    counts = events.group_by("row").agg(test.sum().alias(name) for name, test in tests.items()).sort("row")
    table = log.items.lazy().select("row").join(counts, on="row", how="left", maintain_order="left").fill_null(0)
    found = table.select(
        shown=pl.max_horizontal("shown", "viewed"), complete=pl.max_horizontal("complete", "watched"),
        like="like", helped="helped", creator=pl.lit(items["creator_id"].rank("dense") - 1),
    ).collect(engine="streaming")  # fmt: skip
    shown, creator = found["shown"].to_numpy().astype(np.float64), found["creator"].to_numpy()
    of_creator = np.bincount(creator, shown)
    columns: list[NDArray[Any]] = []
    for name in RATES:
        done = np.minimum(found[name].to_numpy(), shown)
        mean = done.sum() / max(shown.sum(), 1)
        maker = ((np.bincount(creator, done) + _PULL * mean) / (of_creator + _PULL))[creator]
        columns += [(done + _PULL * maker) / (shown + _PULL), maker]
    return np.array([*columns[::2], *columns[1::2]], np.float32).T.copy()


def _head(table: Floats, did: Mask, is_late: Mask, counts: Floats, params: RankerParams, seed: int) -> Head:
    """Trees on the early impressions, as many as the late ones bear, and a calibration on the late ones."""
    import lightgbm

    early, late = (
        lightgbm.Dataset(table[m], did[m], weight=counts[m], free_raw_data=False) for m in (~is_late, is_late)
    )
    settings = {
        "objective": "binary", "num_leaves": params.leaves, "learning_rate": params.learning_rate,
        "min_data_in_leaf": 40, "lambda_l2": 5.0, "feature_fraction": 0.8, "seed": seed,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    stop = lightgbm.early_stopping(10, verbose=False)
    trees = lightgbm.train(settings, early, params.trees, valid_sets=[late], callbacks=[stop])
    booster = open_booster(trees.model_to_string(num_iteration=trees.best_iteration))
    raw = booster.predict(table[is_late], raw_score=True)
    slope, intercept = platt(raw, did[is_late])
    return Head(booster=booster, slope=slope, intercept=intercept, prior=float(did.mean()))


def platt(raw: NDArray[np.float64], did: Mask) -> tuple[float, float]:
    """The slope (above 0) and intercept with which sigmoid(slope * raw + intercept) fits best (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1.0).fit(raw[:, None], did)
    return max(float(fitted.coef_[0, 0]), 0.05), float(fitted.intercept_[0])


def _metrics(heads: Heads, table: Floats, shown: Impressions, is_late: Mask) -> dict[str, float]:
    """By head, on the late impressions: the chance that an act scores above none."""
    chances = heads.predict(table[is_late])
    return {
        f"ranker_auc_{name}": round(auc(found, shown.did[is_late, HEADS.index(name)]), 4)
        for name, found in chances.items()
    }
