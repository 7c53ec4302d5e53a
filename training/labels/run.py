"""`sanad label` in one straight line: read, encode, fit, predict, explain, evaluate."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import polars as pl

from recsys.clock import Millis
from recsys.progress import Progress, quiet
from recsys.vocabulary import TIERS
from training.labels.explain import Why
from training.labels.explain import explain as explain_labels
from training.labels.groups import sizes_of_creators
from training.labels.heads import heads_version, pack_heads
from training.labels.predict import LabelParams, PredictedLabels, count_raised, predict_labels
from training.labels.report import LabelReport, evaluate_labels, write_report
from training.text.encoder import EncoderParams, cache_folder, make_encoder
from training.text.features import encode_texts
from training.text.item_texts import declared_languages, item_texts
from training.validate import clean


class RaisedItem(TypedDict):
    """An item whose tier its predicted label raises; `why` only where it was asked for."""

    item_id: str
    risk_tier: str | None
    predicted_tier: str
    label_confidence: float
    why: Why | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelRun:
    """What `sanad label` reports. `table` has a row for each item, with `why` where it was asked for."""

    table: pl.DataFrame
    counts: dict[str, int]
    report: LabelReport

    def raised(self, max_items: int) -> list[RaisedItem]:
        """Up to `max_items` items whose tier the predicted label raises, the surest first."""
        names = ("item_id", "risk_tier", "predicted_tier", "label_confidence", "why")
        raised = self.table.filter("is_raised").sort("label_confidence", "item_id", descending=[True, False])
        return cast(list[RaisedItem], raised.head(max_items).select(*names).to_dicts())


def run_labels(
    data: Path,
    at: Millis,
    *,
    encoder: str = "e5",
    threshold: float = 0.8,
    explain: bool = False,
    report_to: Path | None = None,
    max_bad_share: float = 0.01,
    cache: Path | None = None,
    on_progress: Progress = quiet,
) -> LabelRun | None:
    """
    Predicted labels of all items of a dataset folder; None when there are too few labels to fit heads to.

    Raises: DataError, ConfigError, ArtifactError. `report_to` receives `report.json` and plots.
    """
    dataset, _ = clean(data, at=at, max_bad_share=max_bad_share, on_progress=on_progress)
    items = dataset.items.collect(engine="streaming")
    where = cache or cache_folder()
    texts = item_texts(items)
    text_encoder = make_encoder(EncoderParams(model=encoder), where)
    features = encode_texts(texts, declared_languages(items), text_encoder, where, on_progress)
    predicted = predict_labels(items, texts, features, LabelParams(threshold=threshold), where, on_progress)
    if predicted is None:
        return None
    on_progress("evaluate", 0, None)
    sizes = sizes_of_creators(items, dataset.creators.collect(engine="streaming"))
    report = evaluate_labels(items, features.languages, predicted, threshold, sizes)
    if report_to is not None:
        write_report(report, report_to)
    why = explain_labels(items, texts, predicted) if explain else pl.lit(None)
    return LabelRun(table=_label_table(items, predicted, why), counts=_counts(items, predicted), report=report)


def _label_table(items: pl.DataFrame, predicted: PredictedLabels, why: pl.Series | pl.Expr) -> pl.DataFrame:
    """A row for each item: the given and the predicted label, whether that raises its tier, and why."""
    columns = predicted.columns.with_columns(label_version=pl.lit(heads_version(pack_heads(predicted.heads))))
    table = items.select("item_id", "risk_tier", "risk_source", "risk_confidence").hstack(columns)
    return table.with_columns(is_raised=_is_raised(table), why=why)


def _counts(items: pl.DataFrame, predicted: PredictedLabels) -> dict[str, int]:
    return {
        "items": len(items),
        "learned_from": int(predicted.is_fitted.sum()),
        "with_predicted_labels": int(predicted.columns["predicted_tier"].is_not_null().sum()),
        "raised_by_predicted_labels": count_raised(items, predicted.columns),
    }


def _is_raised(table: pl.DataFrame) -> pl.Series:
    given, predicted = (
        table[name].fill_null(unknown).replace_strict(list(TIERS), range(len(TIERS)), return_dtype=pl.Int8)
        for name, unknown in (("risk_tier", "R2"), ("predicted_tier", "R0"))
    )
    return predicted > given
