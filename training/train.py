"""
Training, one straight line: clean, hold out the last days, count interactions, fit, index, save.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import polars as pl

from recsys.clock import DAY, Millis, to_text
from recsys.data.impressions import is_risky
from recsys.data.tables import Dataset
from recsys.errors import ConfigError, DataError
from recsys.models import popularity, text
from recsys.models.artifact import FORMAT, Contents, Histories, Manifest, row_numbers, save_artifact
from recsys.models.blend import Blend
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.text import TextParams, TextSpace
from recsys.progress import Progress, quiet
from recsys.stores.protocols import Forgotten
from recsys.text.duplicates import DuplicateParams, with_clusters
from recsys.types import History, Space
from training.fingerprint import fingerprint
from training.forget import leave_out
from training.interactions import Interactions, build_interactions, names_of
from training.labels.heads import packed, version_of
from training.labels.predict import LabelParams, label, n_raised
from training.models import ranker
from training.models.cold_start import with_words
from training.models.collaborative import Taste, TasteParams, again, fit_factors, fit_taste
from training.models.locality_weight import local_strengths
from training.models.ranker import FitBefore, Fitted, RankerParams, RankerResult
from training.safe_feed import safe_feed
from training.text.encoder import EncoderParams, cache_folder, make_encoder
from training.text.features import Heard, hear
from training.validate import MAX_BAD_SHARE, Report, clean


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """
    `holdout_days`: the last days of events are kept out and judged by `sanad eval`; 0 = learn from everything.
    `holdout_from`: the instant itself instead, for sets with a published split.
    `encoder` None = no text space (as when titles are missing or only ids). `labels` None = no labels of our own, and
    there are none without an encoder. `market` leads the safe feed. `ranker` None = no learned ranker.
    `assume_tier`: see `training.validate.clean`.
    """

    holdout_days: float = 3.0
    holdout_from: Millis | None = None
    seed: int = 0
    market: str = "MA"
    assume_tier: str | None = None
    max_bad_share: float = MAX_BAD_SHARE
    taste: TasteParams = field(default_factory=TasteParams)
    text: TextParams = field(default_factory=TextParams)
    popularity: PopularityParams = field(default_factory=PopularityParams)
    encoder: EncoderParams | None = field(default_factory=EncoderParams)
    labels: LabelParams | None = field(default_factory=LabelParams)
    ranker: RankerParams | None = field(default_factory=RankerParams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run did: the manifest, the report on the data, what became of the ranker, the seconds of each step."""

    manifest: Manifest
    report: Report
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
    on_progress: Progress = quiet,
) -> Trained:
    """
    Fits an artifact from the dataset folder `data` and writes it to `out`.

    `at` is the present; `cache` keeps encoder and vectors (None = `cache_folder()`); `rejected` receives unusable rows;
    `forget` names people to leave out, see `training.forget`.
    Raises: DataError, ConfigError or ArtifactError; then nothing is written to `out`.
    """
    _check(params)
    watch = _Stopwatch()
    share, tier = params.max_bad_share, params.assume_tier
    dataset, report = clean(
        data, at=at, rejected=rejected, max_bad_share=share, assume_tier=tier, on_progress=on_progress
    )
    dataset, left_out = leave_out(dataset, forget)
    items, creators, users = _catalogue(dataset, on_progress)
    watch.lap("read, validate and cluster")
    rng = np.random.default_rng(params.seed)
    cutoff = cutoff_of(dataset, params.holdout_days, params.holdout_from)
    words = _text(items, params, cache or cache_folder(), on_progress)
    watch.lap("text")
    items, labels = _labels(items, words, params, cache or cache_folder(), on_progress)
    dataset = _as_read(dataset, items)
    watch.lap("labels")
    seen = build_interactions(dataset, before=cutoff, on_progress=on_progress)
    watch.lap("interactions")
    popular = popularity.fit(seen.market_positives, names_of(seen), params.popularity)
    watch.lap("popularity")
    taste = fit_taste(dataset, seen, popular, params.popularity, params.taste, cutoff, params.seed, on_progress)
    watch.lap("taste")
    of_text = words.space if words else None
    learned, n_bridged = with_words({"cf": taste.factors}, of_text, items, rng)

    def fit_before(instant: Millis) -> Fitted:
        earlier = build_interactions(dataset, before=instant)
        factors = {"cf": fit_factors(earlier, params.taste, params.seed)}
        popular_then = popularity.fit(earlier.market_positives, names_of(earlier), params.popularity)
        return Fitted(
            spaces=with_words(factors, of_text, items, rng)[0],
            popularity=popular_then,
            blend=lambda: again(taste.blend, earlier, popular_then, params.taste, params.seed),
        )

    ranked = _ranker(dataset, items, creators, fit_before, cutoff, params, rng, on_progress)
    watch.lap("ranker")
    contents = replace(
        _contents(items, creators, users, learned, taste.over(learned["cf"]), popular, seen, params.market),
        labels=labels.file,
        ranker=ranked.heads,
    )
    counts = _counts(contents, seen, report) | (words.counts if words else {}) | labels.counts
    counts |= {"items_bridged": n_bridged} if words else {}
    counts |= {"people_left_out": left_out.n_people, "events_left_out": left_out.n_events} if forget else {}
    manifest = _manifest(params, fingerprint(data), at, cutoff, counts, words, ranked, taste)
    strengths = _strengths(seen, items, creators, users, params, on_progress)
    manifest = msgspec.structs.replace(manifest, local_strength=dict(strengths), content_share=ranked.content)
    watch.lap("local strength")
    on_progress("save", 0, None)
    saved = save_artifact(out, contents, manifest)
    watch.lap("index and save")
    return Trained(manifest=saved, report=report, ranker=ranked.said, seconds=watch.seconds)


def _strengths(
    seen: Interactions,
    items: pl.DataFrame,
    creators: pl.DataFrame,
    users: pl.DataFrame,
    params: TrainParams,
    on_progress: Progress,
) -> Mapping[str, float]:
    """How strongly the people of the market want local items, where the data say it."""
    living = dict(creators.select("creator_id", "country").iter_rows())
    said = items["country"].to_list() if "country" in items.columns else [None] * len(items)
    made = [one or living.get(creator) for one, creator in zip(said, items["creator_id"].to_list(), strict=True)]
    homes = dict(users.select("user_id", "country").iter_rows()) if "country" in users.columns else {}
    lives = [homes.get(user_id) for user_id in seen.user_ids]
    rng = np.random.default_rng([params.seed, 7])
    return local_strengths(seen.positives, lives, made, (params.market,), rng, on_progress)


def _ranker(
    dataset: Dataset, items: pl.DataFrame, creators: pl.DataFrame, fit_before: FitBefore, cutoff: Millis | None,
    params: TrainParams, rng: np.random.Generator, on_progress: Progress,
) -> RankerResult:  # fmt: skip
    if params.ranker is None:
        return RankerResult(heads=None, metrics={}, said="none, as asked")
    found = ranker.fit(
        dataset, items, creators, fit_before, cutoff, params.ranker, rng, market=params.market, on_progress=on_progress
    )
    return found if found.heads and found.heads.portion > 0 else replace(found, heads=None)


@dataclass(slots=True)
class _Stopwatch:
    """Seconds between laps, by name. It only measures: nothing depends on it."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=perf_counter)

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def _check(params: TrainParams) -> None:
    wrong = {
        "holdout days": (params.holdout_days, params.holdout_days >= 0, "0 or more"),
        "embedding size": (params.taste.ials.embedding_size, params.taste.ials.embedding_size >= 1, "1 or more"),
        "reg": (params.taste.ials.reg, params.taste.ials.reg > 0, "above 0"),
        "unobserved": (params.taste.ials.unobserved, params.taste.ials.unobserved > 0, "above 0"),
        "valid share": (params.taste.valid_share, 0 < params.taste.valid_share < 1, "above 0 and below 1"),
        "epochs": (params.taste.ials.epochs, params.taste.ials.epochs >= 1, "1 or more"),
    }
    problems = [
        f"found {name} {value}, expected {expected}; correct it"
        for name, (value, is_fine, expected) in wrong.items()
        if not is_fine
    ]
    if problems:
        raise ConfigError(*problems)


def _catalogue(dataset: Dataset, on_progress: Progress) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Items with their near-duplicate cluster, creators, users."""
    items = dataset.items.collect(engine="streaming")
    return (
        with_clusters(items, DuplicateParams(), on_progress),
        dataset.creators.collect(engine="streaming"),
        dataset.users.collect(engine="streaming"),
    )


def _as_read(dataset: Dataset, items: pl.DataFrame) -> Dataset:
    """The dataset to learn from: what counts as R2 by our own label or by a copy's is no lower there."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """What the items say, as it was heard, and the text space."""

    texts: list[str]
    heard: Heard
    space: TextSpace

    @property
    def counts(self) -> dict[str, int]:
        """How many texts were encoded and reused."""
        return {"texts_encoded": self.heard.n_encoded, "texts_reused": self.heard.n_reused}


@dataclass(frozen=True, slots=True)
class _Labels:
    """The heads as a file, and what they said, counted."""

    file: bytes | None
    counts: dict[str, int]


def _text(items: pl.DataFrame, params: TrainParams, cache: Path, on_progress: Progress) -> _Words | None:
    """The text space; None when no encoder is asked for, or nothing is said."""
    said = said_by(items)
    if params.encoder is None or not any(said):
        return None
    encoder = make_encoder(params.encoder, cache)
    declared = items.select(pl.coalesce("dialect", "language")).to_series().to_list()
    heard = hear(said, declared, encoder, cache, on_progress)
    return _Words(said, heard, text.fit(heard.vectors, heard.languages, params.text))


def _labels(
    items: pl.DataFrame, words: _Words | None, params: TrainParams, cache: Path, on_progress: Progress
) -> tuple[pl.DataFrame, _Labels]:
    """The items with labels of our own, where there is something to learn them from."""
    if words is None or params.labels is None:
        return items, _Labels(None, {})
    found = label(items, words.texts, words.heard, params.labels, cache, on_progress)
    if found is None:
        return items, _Labels(None, {})
    file = packed(found.heads)
    columns = found.columns.with_columns(label_version=pl.lit(version_of(file)))
    counts = {
        "items_labelled_by_us": int(columns["predicted_tier"].is_not_null().sum()),
        "items_raised_by_us": n_raised(items, columns),
    }
    return items.hstack(columns), _Labels(file, counts)


def said_by(items: pl.DataFrame) -> list[str]:
    """What every item says, title and text; empty where it says nothing."""
    return [_said(*row) for row in items.select("item_id", "title", "text").iter_rows()]


def _said(item_id: str, title: str, more: str | None) -> str:
    """What an item says, for the encoder; a title that is only the id says nothing."""
    placeholders = ("", item_id, f"item {item_id}")  # the last is what importers write where no title is published
    return "\n".join(part for part in (title.strip(), (more or "").strip()) if part not in placeholders)


def _contents(
    items: pl.DataFrame,
    creators: pl.DataFrame,
    users: pl.DataFrame,
    spaces: dict[str, Space],
    taste: Blend,
    popular: Popularity,
    seen: Interactions,
    market: str,
) -> Contents:
    flat = seen.histories
    return Contents(
        items=items,
        creators=creators,
        users=users,
        spaces=spaces,
        taste=taste,
        popularity=popular,
        histories=Histories(
            rows=row_numbers(seen.user_ids),
            indptr=flat.indptr,
            flat=History(flat.items, flat.weights, flat.at),
        ),
        safe_feed=safe_feed(items, creators, pl.Series(popular.of(market)), market),
    )


def _manifest(
    params: TrainParams,
    data_fingerprint: str,
    at: Millis,
    cutoff: Millis | None,
    counts: dict[str, int],
    words: _Words | None,
    ranked: RankerResult,
    taste: Taste,
) -> Manifest:
    """What is known before saving; spaces, settings and checksums are filled in by `save_artifact`."""
    return Manifest(
        format=FORMAT,
        created_at=to_text(at),
        data_fingerprint=data_fingerprint,
        config=asdict(params),
        cutoff=None if cutoff is None else to_text(cutoff),
        risk_source="assumed" if params.assume_tier else "labelled",
        counts=counts,
        features=ranked.heads.features if ranked.heads else (),
        spaces=(),
        encoder=words.heard.fingerprint if words else None,
        metrics=dict(ranked.metrics) | _metrics(taste),
        settings={},
    )


def _metrics(taste: Taste) -> dict[str, float]:
    """
    NDCG on the validation part: of every part alone and of the sum, which is flattered, and honestly; and of the blend
    with its second look, honestly, where it has one.
    """
    learned, look = taste.learned, taste.look
    found = {f"validation_ndcg.{name}": value for name, value in learned.alone.items()}
    found |= {"validation_ndcg.blend": learned.ndcg, "validation_ndcg.blend_honest": learned.honest}
    if look.trees is not None:
        found |= {"validation_ndcg.without_second_look": look.without, "validation_ndcg.second_look": look.honest}
        found["second_look_trees"] = look.trees.num_trees()
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _counts(contents: Contents, seen: Interactions, report: Report) -> dict[str, int]:
    return {
        "items": len(contents.items),
        "creators": len(contents.creators),
        "users": len(contents.users),
        "people": len(seen.user_ids),
        "events": report.tables["events"].n_accepted,
        "events_learned_from": seen.n_events,
        "positive_pairs": int(seen.positives.nnz),
        "negative_pairs": int(seen.negatives.nnz),
        "unlabelled_items": report.n_unlabelled,
        "safe_feed": len(contents.safe_feed),
    }
