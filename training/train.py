"""
Training, one straight line: clean the data, hold out the last days, count interactions, fit models, index, save.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from recsys.clock import Millis
from recsys.data.fingerprint import fingerprint
from recsys.models import popularity
from recsys.models.artifact import Artifact, ArtifactContents, save_artifact
from recsys.models.histories import UserHistories, row_numbers
from recsys.models.manifest import Manifest
from recsys.models.popularity import Popularity
from recsys.models.text import TextSpace
from recsys.progress import Progress, quiet
from recsys.stores.protocols import Forgotten
from recsys.types import History, Space
from training.interactions import Interactions, build_interactions, market_names
from training.manifest import describe_recipe, describe_run, summarise_recipe
from training.models import ranker
from training.models.blend import FittedBlend, fit_blend, fit_factors, refit
from training.models.blend_weights import Prior
from training.models.budget import SMALL, Budget
from training.models.cold_start import map_cold_items
from training.models.locality_weight import RECALL, fit_locality_weights, watched_locality_weight
from training.models.ranker import EarlierModels, FitBefore, RankerResult
from training.models.yardstick import WATCH
from training.params import TrainParams, check_params
from training.prepare import PreparedData, Stopwatch, prepare
from training.report import Report
from training.safe_feed import safe_feed
from training.seen import seen_in_log
from training.text.encoder import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """
    The manifest, the report on the data, the outcome of the base models (`recipe`) and of the ranker in words, and the
    seconds of each step.
    """

    manifest: Manifest
    report: Report
    recipe: str
    ranker: str
    seconds: dict[str, float]


def run(
    data: Path,
    out: Path,
    params: TrainParams,
    at: Millis,
    *,
    cache: Path | None = None,
    rejected: Path | None = None,
    forget: Sequence[Forgotten] = (),
    budget: Budget | None = None,
    previous: Artifact | None = None,
    on_progress: Progress = quiet,
) -> Trained:
    """
    Fits an artifact from the dataset folder `data` and writes it to `out`.

    `at` is the present; `cache` holds encoder and vectors (None = `cache_folder()`); `rejected` receives unusable rows;
    `forget` names people to leave out, see `training.forget`. A `budget` tries other settings of the base models than
    those in `params`, and is told in the manifest; None takes them as they are. The weights of the blend shrink to
    those of a `previous` artifact.
    Raises: DataError, ConfigError or ArtifactError; then nothing is written to `out`.
    """
    if budget is not None:
        params = replace(params, blend=budget.widen(params.blend))
    check_params(params)
    watch = Stopwatch()
    with threadpool_limits(1, user_api="blas"):  # sums of several threads differ in their last bits
        prepared = prepare(data, params, at, cache or cache_folder(), rejected, forget, watch, on_progress)
        search = _Search(budget or SMALL, None if previous is None else previous.blend.weights)
        models = _fit_models(prepared, params, search, watch, on_progress)
        contents = _contents(prepared, models, params.market)
        counts = _counts(prepared, contents, models, is_forgetting=bool(forget))
        encoder = prepared.texts.features.fingerprint if prepared.texts else None
        manifest = describe_run(
            params, fingerprint(data), at, prepared.cutoff, counts, encoder=encoder, ranked=models.ranker,
            fitted=models.blend,
        )  # fmt: skip
        weights, yardstick = _fit_locality(models, prepared, params, on_progress)
        chosen_by = manifest.chosen_by | ({"locality_weight": yardstick} if weights else {})
        manifest = msgspec.structs.replace(manifest, locality_weight=weights, chosen_by=chosen_by)
        if budget is not None:
            recipe = describe_recipe(models.blend, budget, None if previous is None else previous.version)
            manifest = msgspec.structs.replace(manifest, recipe=recipe)
        watch.lap("locality weight")
        on_progress("save", 0, None)
        saved = save_artifact(out, contents, manifest)
        watch.lap("index and save")
    told = summarise_recipe(models.blend, budget or SMALL)
    return Trained(
        manifest=saved, report=prepared.report, recipe=told, ranker=models.ranker.summary, seconds=watch.seconds
    )


# --- the models ---


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Models:
    """What was fitted; `n_mapped` items without interactions have vectors in `spaces`."""

    interactions: Interactions
    popularity: Popularity
    blend: FittedBlend
    spaces: dict[str, Space]
    n_mapped: int
    ranker: RankerResult


@dataclass(frozen=True, slots=True)
class _Search:
    """How settings and weights of the base models are chosen."""

    budget: Budget
    prior: Prior | None


def _fit_models(
    prepared: PreparedData, params: TrainParams, search: _Search, watch: Stopwatch, on_progress: Progress
) -> _Models:
    interactions = build_interactions(prepared.dataset, before=prepared.cutoff, on_progress=on_progress)
    watch.lap("interactions")
    popular = popularity.fit(interactions.market_positives, market_names(interactions), params.popularity)
    watch.lap("popularity")
    blend = fit_blend(
        prepared.dataset, interactions, popular, params.popularity, params.blend, prepared.cutoff, params.seed,
        on_progress, budget=search.budget, prior=search.prior,
    )  # fmt: skip
    params = replace(params, blend=blend.params)
    watch.lap("blend")
    rng = np.random.default_rng(params.seed)
    text_space = prepared.texts.space if prepared.texts else None
    spaces, n_mapped = map_cold_items({"cf": blend.factors}, text_space, prepared.items, rng)
    fit_before = _earlier_fits(prepared, blend, text_space, params, rng)
    ranked = _fit_ranker(prepared, fit_before, params, rng, on_progress)
    watch.lap("ranker")
    return _Models(
        interactions=interactions, popularity=popular, blend=blend, spaces=spaces, n_mapped=n_mapped, ranker=ranked
    )


def _earlier_fits(
    prepared: PreparedData,
    fitted: FittedBlend,
    text_space: TextSpace | None,
    params: TrainParams,
    rng: np.random.Generator,
) -> FitBefore:
    """A function that fits factors, popularity and blend to the events before an instant."""

    def fit_before(instant: Millis) -> EarlierModels:
        earlier = build_interactions(prepared.dataset, before=instant)
        factors = {"cf": fit_factors(earlier, params.blend, params.seed)}
        popular = popularity.fit(earlier.market_positives, market_names(earlier), params.popularity)
        return EarlierModels(
            spaces=map_cold_items(factors, text_space, prepared.items, rng)[0],
            popularity=popular,
            blend=lambda: refit(fitted.blend, earlier, popular, params.blend, params.seed),
        )

    return fit_before


def _fit_ranker(
    prepared: PreparedData, fit_before: FitBefore, params: TrainParams, rng: np.random.Generator, on_progress: Progress
) -> RankerResult:
    """The ranker; without heads where their mixing weight is 0."""
    if params.ranker is None:
        return RankerResult(heads=None, metrics={}, summary="none, as asked")
    result = ranker.fit(
        prepared.dataset, prepared.items, prepared.creators, fit_before, prepared.cutoff, params.ranker, rng,
        market=params.market, on_progress=on_progress,
    )  # fmt: skip
    return result if result.heads and result.heads.mixing_weight > 0 else replace(result, heads=None)


def _fit_locality(
    models: _Models, prepared: PreparedData, params: TrainParams, on_progress: Progress
) -> tuple[dict[str, float], str]:
    """The locality weight of the market, where the data are enough for one, and the yardstick that chose it."""
    interactions, watch = models.interactions, models.blend.chosen.watch
    items, users = prepared.items, prepared.users
    by_creator = dict(prepared.creators.select("creator_id", "country").iter_rows())
    declared = items["country"].to_list() if "country" in items.columns else [None] * len(items)
    item_countries = [
        country or by_creator.get(creator)
        for country, creator in zip(declared, items["creator_id"].to_list(), strict=True)
    ]
    homes = dict(users.select("user_id", "country").iter_rows()) if "country" in users.columns else {}
    user_countries = [homes.get(user_id) for user_id in interactions.user_ids]
    if watch is not None:
        weight = watched_locality_weight(watch, user_countries, item_countries, params.market)
        return ({} if weight is None else {params.market: weight}), WATCH
    rng = np.random.default_rng([params.seed, 7])
    weights = fit_locality_weights(
        interactions.positives, user_countries, item_countries, (params.market,), rng, on_progress
    )
    return dict(weights), RECALL


# --- the artifact ---


def _contents(prepared: PreparedData, models: _Models, market: str) -> ArtifactContents:
    interactions = models.interactions
    flat = interactions.histories
    popular = pl.Series(models.popularity.of(market))
    return ArtifactContents(
        items=prepared.items,
        creators=prepared.creators,
        users=prepared.users,
        spaces=models.spaces,
        blend=models.blend.with_factors(models.spaces["cf"]),
        popularity=models.popularity,
        histories=UserHistories(
            rows=row_numbers(interactions.user_ids),
            indptr=flat.indptr,
            flat=History(flat.items, flat.weights, flat.at),
        ),
        safe_feed=safe_feed(prepared.items, prepared.creators, popular, market),
        seen=seen_in_log(prepared.dataset, interactions.user_ids, interactions.item_ids, prepared.cutoff),
        labels=prepared.heads_file,
        ranker=models.ranker.heads,
    )


def _counts(
    prepared: PreparedData, contents: ArtifactContents, models: _Models, *, is_forgetting: bool
) -> dict[str, int]:
    interactions = models.interactions
    counts = {
        "items": len(contents.items),
        "creators": len(contents.creators),
        "users": len(contents.users),
        "people": len(interactions.user_ids),
        "events": prepared.report.tables["events"].n_accepted,
        "events_learned_from": interactions.n_events,
        "positive_pairs": int(interactions.positives.nnz),
        "negative_pairs": int(interactions.negatives.nnz),
        "unlabelled_items": prepared.report.n_unlabelled,
        "safe_feed": len(contents.safe_feed),
    }
    if prepared.texts is not None:
        counts |= prepared.texts.counts | prepared.label_counts | {"cold_items_mapped": models.n_mapped}
    if is_forgetting:
        left_out = prepared.left_out
        counts |= {"people_left_out": left_out.n_people, "events_left_out": left_out.n_events}
    return counts
