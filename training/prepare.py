"""The data of a training run, before models are fitted: checked, encoded and with predicted labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import polars as pl

from recsys.clock import DAY, Millis, to_text
from recsys.data.copies import with_wordings
from recsys.data.impressions import is_risky
from recsys.data.tables import Dataset
from recsys.errors import DataError
from recsys.progress import Progress
from recsys.stores.protocols import Forgotten
from training.forget import LeftOutCounts, leave_out
from training.labels.heads import heads_version, pack_heads
from training.labels.predict import LabelParams, count_raised, predict_labels
from training.params import TrainParams
from training.report import Report
from training.text.item_texts import EncodedItems, encode_items
from training.validate import clean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedData:
    """The data as models are fitted to them: tables with wordings and predicted labels, encoded texts, the cutoff."""

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


@dataclass(slots=True)
class Stopwatch:
    """Seconds between laps, by name. It only measures: nothing depends on it."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=perf_counter)

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def prepare(
    data: Path,
    params: TrainParams,
    at: Millis,
    cache: Path,
    rejected: Path | None,
    forget: Sequence[Forgotten],
    watch: Stopwatch,
    on_progress: Progress,
) -> PreparedData:
    dataset, report = clean(
        data, at=at, rejected=rejected, max_bad_share=params.max_bad_share, assume_tier=params.assume_tier,
        on_progress=on_progress,
    )  # fmt: skip
    dataset, left_out = leave_out(dataset, forget)
    items = with_wordings(dataset.items.collect(engine="streaming"), on_progress)
    creators, users = (table.collect(engine="streaming") for table in (dataset.creators, dataset.users))
    watch.lap("read and validate")
    cutoff = cutoff_of(dataset, params.holdout_days, params.holdout_from)
    texts = encode_items(items, params.encoder, params.text, cache, on_progress)
    watch.lap("text")
    items, heads_file, label_counts = _predict_labels(items, texts, params.labels, cache, on_progress)
    watch.lap("labels")
    return PreparedData(
        dataset=with_effective_tiers(dataset, items), report=report, left_out=left_out, items=items, creators=creators,
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


def with_effective_tiers(dataset: Dataset, items: pl.DataFrame) -> Dataset:
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
