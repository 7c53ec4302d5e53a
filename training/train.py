"""
Training, one straight line: clean the data, hold out the last days, count interactions, fit models, index, save.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import polars as pl

from recsys.clock import DAY, Millis, to_text
from recsys.data.impressions import is_risky
from recsys.data.tables import Dataset
from recsys.errors import ConfigError, DataError
from recsys.models import popularity
from recsys.models.artifact import ArtifactContents, Manifest, UserHistories, row_numbers, save_artifact
from recsys.models.blend import Blend
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.text import TextParams, TextSpace
from recsys.progress import Progress, quiet
from recsys.stores.protocols import Forgotten
from recsys.text.duplicates import DuplicateParams, with_clusters
from recsys.types import History, Space
from training.fingerprint import fingerprint
from training.forget import LeftOutCounts, leave_out
from training.interactions import Interactions, build_interactions, market_names
from training.labels.heads import heads_version, pack_heads
from training.labels.predict import LabelParams, count_raised, predict_labels
from training.manifest import describe_run
from training.models import ranker
from training.models.blend import BlendParams, FittedBlend, fit_blend, fit_factors, refit
from training.models.cold_start import map_cold_items
from training.models.locality_weight import fit_locality_weights
from training.models.ranker import EarlierModels, FitBefore, RankerParams, RankerResult
from training.safe_feed import safe_feed
from training.seen import seen_in_log
from training.text.encoder import EncoderParams, cache_folder
from training.text.item_texts import EncodedItems, encode_items
from training.validate import MAX_BAD_SHARE, Report, clean


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """
    `holdout_days`: the last days of events are held out for `sanad eval`; 0 = learn from everything. `holdout_from`:
    the instant itself instead, for sets with a published split. `encoder` None = no text space (as when titles are
    missing or only ids). `labels` None = no predicted labels; there are none without an encoder. `market` leads the
    safe feed. `ranker` None = no learned ranker. `assume_tier`: see `training.validate.clean`.
    """

    holdout_days: float = 3.0
    holdout_from: Millis | None = None
    seed: int = 0
    market: str = "MA"
    assume_tier: str | None = None
    max_bad_share: float = MAX_BAD_SHARE
    blend: BlendParams = field(default_factory=BlendParams)
    text: TextParams = field(default_factory=TextParams)
    popularity: PopularityParams = field(default_factory=PopularityParams)
    encoder: EncoderParams | None = field(default_factory=EncoderParams)
    labels: LabelParams | None = field(default_factory=LabelParams)
    ranker: RankerParams | None = field(default_factory=RankerParams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The manifest, the report on the data, the outcome of the ranker in words, and the seconds of each step."""

    manifest: Manifest
    report: Report
    ranker: str
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """The data as models are fitted to them: tables with clusters and predicted labels, encoded texts, the cutoff."""

    dataset: Dataset
    report: Report
    left_out: LeftOutCounts
    items: pl.DataFrame
    creators: pl.DataFrame
    users: pl.DataFrame
    texts: EncodedItems | None
    heads_file: bytes | None
    label_counts: dict[str, int]
    cutoff: Millis | None


def run(
    data: Path,
    out: Path,
    params: TrainParams,
    at: Millis,
    *,
    cache: Path | None = None,
    rejected: Path | None = None,
    forget: Sequence[Forgotten] = (),
    on_progress: Progress = quiet,
) -> Trained:
    """
    Fits an artifact from the dataset folder `data` and writes it to `out`.

    `at` is the present; `cache` holds encoder and vectors (None = `cache_folder()`); `rejected` receives unusable rows;
    `forget` names people to leave out, see `training.forget`.
    Raises: DataError, ConfigError or ArtifactError; then nothing is written to `out`.
    """
    _check_params(params)
    watch = _Stopwatch()
    prepared = _prepare(data, params, at, cache or cache_folder(), rejected, forget, watch, on_progress)
    interactions = build_interactions(prepared.dataset, before=prepared.cutoff, on_progress=on_progress)
    watch.lap("interactions")
    popular = popularity.fit(interactions.market_positives, market_names(interactions), params.popularity)
    watch.lap("popularity")
    fitted = fit_blend(
        prepared.dataset,
        interactions,
        popular,
        params.popularity,
        params.blend,
        prepared.cutoff,
        params.seed,
        on_progress,
    )
    watch.lap("blend")
    rng = np.random.default_rng(params.seed)
    text_space = prepared.texts.space if prepared.texts else None
    spaces, n_mapped = map_cold_items({"cf": fitted.factors}, text_space, prepared.items, rng)
    fit_before = _earlier_fits(prepared, fitted, text_space, params, rng)
    ranked = _fit_ranker(prepared, fit_before, params, rng, on_progress)
    watch.lap("ranker")
    blend = fitted.with_factors(spaces["cf"])
    contents = _contents(prepared, spaces, blend, popular, interactions, ranked, params.market)
    counts = _counts(prepared, contents, interactions, n_mapped, is_forgetting=bool(forget))
    manifest = describe_run(
        params, fingerprint(data), at, prepared.cutoff, counts,
        encoder=prepared.texts.features.fingerprint if prepared.texts else None, ranked=ranked, fitted=fitted,
    )  # fmt: skip
    weights = _fit_locality(interactions, prepared, params, on_progress)
    manifest = msgspec.structs.replace(manifest, locality_weight=weights)
    watch.lap("locality weight")
    on_progress("save", 0, None)
    saved = save_artifact(out, contents, manifest)
    watch.lap("index and save")
    return Trained(manifest=saved, report=prepared.report, ranker=ranked.summary, seconds=watch.seconds)


@dataclass(slots=True)
class _Stopwatch:
    """Seconds between laps, by name. It only measures: nothing depends on it."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=perf_counter)

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def _check_params(params: TrainParams) -> None:
    """Raises ConfigError with every value that is out of range."""
    ials, blend = params.blend.ials, params.blend
    ranges = {
        "holdout days": (params.holdout_days, params.holdout_days >= 0, "0 or more"),
        "embedding size": (ials.embedding_size, ials.embedding_size >= 1, "1 or more"),
        "reg": (ials.reg, ials.reg > 0, "above 0"),
        "unobserved": (ials.unobserved, ials.unobserved > 0, "above 0"),
        "validation share": (blend.validation_share, 0 < blend.validation_share < 1, "above 0 and below 1"),
        "epochs": (ials.epochs, ials.epochs >= 1, "1 or more"),
    }
    problems = [
        f"found {name} {value}, expected {expected}; correct it"
        for name, (value, is_fine, expected) in ranges.items()
        if not is_fine
    ]
    if problems:
        raise ConfigError(*problems)


# --- the data ---


def _prepare(
    data: Path,
    params: TrainParams,
    at: Millis,
    cache: Path,
    rejected: Path | None,
    forget: Sequence[Forgotten],
    watch: _Stopwatch,
    on_progress: Progress,
) -> _Prepared:
    dataset, report = clean(
        data, at=at, rejected=rejected, max_bad_share=params.max_bad_share, assume_tier=params.assume_tier,
        on_progress=on_progress,
    )  # fmt: skip
    dataset, left_out = leave_out(dataset, forget)
    items = with_clusters(dataset.items.collect(engine="streaming"), DuplicateParams(), on_progress)
    creators, users = (table.collect(engine="streaming") for table in (dataset.creators, dataset.users))
    watch.lap("read, validate and cluster")
    cutoff = cutoff_of(dataset, params.holdout_days, params.holdout_from)
    texts = encode_items(items, params.encoder, params.text, cache, on_progress)
    watch.lap("text")
    items, heads_file, label_counts = _predict_labels(items, texts, params.labels, cache, on_progress)
    watch.lap("labels")
    return _Prepared(
        dataset=_with_effective_tiers(dataset, items), report=report, left_out=left_out, items=items, creators=creators,
        users=users, texts=texts, heads_file=heads_file, label_counts=label_counts, cutoff=cutoff,
    )  # fmt: skip


def _predict_labels(
    items: pl.DataFrame, texts: EncodedItems | None, params: LabelParams | None, cache: Path, on_progress: Progress
) -> tuple[pl.DataFrame, bytes | None, dict[str, int]]:
    """The items with predicted labels, the label heads as a file, and counts; unchanged without enough labels."""
    if texts is None or params is None:
        return items, None, {}
    predicted = predict_labels(items, texts.texts, texts.features, params, cache, on_progress)
    if predicted is None:
        return items, None, {}
    heads_file = pack_heads(predicted.heads)
    columns = predicted.columns.with_columns(label_version=pl.lit(heads_version(heads_file)))
    counts = {
        "items_with_predicted_labels": int(columns["predicted_tier"].is_not_null().sum()),
        "items_raised_by_predicted_labels": count_raised(items, columns),
    }
    return items.hstack(columns), heads_file, counts


def _with_effective_tiers(dataset: Dataset, items: pl.DataFrame) -> Dataset:
    """The dataset to learn from: an item that counts as R2 by a predicted label or by a copy's is no lower there."""
    tier, is_raised = pl.col("risk_tier"), pl.lit(pl.Series(is_risky(items)))
    raised = pl.when(is_raised & tier.is_in(["R0", "R1"])).then(pl.lit("R2")).otherwise(tier)
    return replace(dataset, items=items.with_columns(risk_tier=raised).lazy())


def cutoff_of(dataset: Dataset, holdout_days: float, holdout_from: Millis | None) -> Millis | None:
    """
    Where the held-out events begin: the given instant, or the last days, counted from just after the last event;
    None when nothing is held out. Raises DataError when that would leave nothing to learn from.
    """
    spans = dataset.events.select(first=pl.col("at").min(), last=pl.col("at").max()).collect(engine="streaming")
    first, last = spans.row(0)
    if last is None or (holdout_days == 0 and holdout_from is None):
        return None
    cutoff: Millis = holdout_from or last + 1 - round(holdout_days * DAY)
    if first >= cutoff:
        raise DataError(
            f"found no event before {to_text(cutoff)}, where the held-out part begins (events run from "
            f"{to_text(first)} to {to_text(last)}), expected some to learn from; lower --holdout-days, or give 0 to "
            "learn from everything"
        )
    return cutoff


# --- the models ---


def _earlier_fits(
    prepared: _Prepared,
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
    prepared: _Prepared, fit_before: FitBefore, params: TrainParams, rng: np.random.Generator, on_progress: Progress
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
    interactions: Interactions, prepared: _Prepared, params: TrainParams, on_progress: Progress
) -> dict[str, float]:
    """The locality weight of the market, where the data are enough for one."""
    items, users = prepared.items, prepared.users
    by_creator = dict(prepared.creators.select("creator_id", "country").iter_rows())
    declared = items["country"].to_list() if "country" in items.columns else [None] * len(items)
    item_countries = [
        country or by_creator.get(creator)
        for country, creator in zip(declared, items["creator_id"].to_list(), strict=True)
    ]
    homes = dict(users.select("user_id", "country").iter_rows()) if "country" in users.columns else {}
    user_countries = [homes.get(user_id) for user_id in interactions.user_ids]
    rng = np.random.default_rng([params.seed, 7])
    weights = fit_locality_weights(
        interactions.positives, user_countries, item_countries, (params.market,), rng, on_progress
    )
    return dict(weights)


# --- the artifact ---


def _contents(
    prepared: _Prepared,
    spaces: dict[str, Space],
    blend: Blend,
    popular: Popularity,
    interactions: Interactions,
    ranked: RankerResult,
    market: str,
) -> ArtifactContents:
    flat = interactions.histories
    return ArtifactContents(
        items=prepared.items,
        creators=prepared.creators,
        users=prepared.users,
        spaces=spaces,
        blend=blend,
        popularity=popular,
        histories=UserHistories(
            rows=row_numbers(interactions.user_ids),
            indptr=flat.indptr,
            flat=History(flat.items, flat.weights, flat.at),
        ),
        safe_feed=safe_feed(prepared.items, prepared.creators, pl.Series(popular.of(market)), market),
        seen=seen_in_log(prepared.dataset, interactions.user_ids, interactions.item_ids, prepared.cutoff),
        labels=prepared.heads_file,
        ranker=ranked.heads,
    )


def _counts(
    prepared: _Prepared, contents: ArtifactContents, interactions: Interactions, n_mapped: int, *, is_forgetting: bool
) -> dict[str, int]:
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
        counts |= prepared.texts.counts | prepared.label_counts | {"cold_items_mapped": n_mapped}
    if is_forgetting:
        left_out = prepared.left_out
        counts |= {"people_left_out": left_out.n_people, "events_left_out": left_out.n_events}
    return counts
