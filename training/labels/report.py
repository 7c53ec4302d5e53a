"""
The evaluation of predicted labels, language by language, on items that people labelled and whose predictions are out of
fold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.types import Mask, Reals
from recsys.vocabulary import TIERS
from training.labels.groups import GroupRow, group_rows
from training.labels.intervals import wilson_interval
from training.labels.predict import PredictedLabels, label_answers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVALUATED_TIERS: Final = ("R2", "R3")
MIN_PRECISION: Final = 0.9
"""At which recall is reported."""

MISSED_SHARES: Final = (0.05, 0.1, 0.2)
ALL_LANGUAGES: Final = "all"
_N_BINS: Final = 10
_PANEL_COLUMNS: Final = 3
_MIN_ITEMS: Final = 50
"""Labelled items that a language needs for a row of its own."""


class PrecisionCut(TypedDict):
    """The recall of a threshold (`cut`) on the probability that is precise enough; None without a positive item."""

    recall: float | None
    precision: float
    cut: float


class RecallRow(TypedDict):
    """Recall for one question and language: of `n` labelled items `n_yes` are positive; `unknown` is a share."""

    question: str
    language: str
    n: int
    n_yes: int
    recall: float | None
    precision: float
    cut: float
    unknown: float


class ReliabilityBin(TypedDict):
    """A tenth of the probabilities: items in it, the mean predicted and the share observed."""

    n: int
    predicted: float
    observed: float


class ReliabilityRow(TypedDict):
    """The calibration of one question and language."""

    question: str
    language: str
    bins: list[ReliabilityBin]


class MissedShare(TypedDict):
    """The share of R2 among items served as R0 when the share `missed` of R2 is labelled R0; `base` is that of R2."""

    base: float
    missed: float
    really_r2: float


class LabelReport(TypedDict):
    """The evaluation that `report.json` holds."""

    precision: float
    threshold: float
    recall: list[RecallRow]
    reliability: list[ReliabilityRow]
    missed_r2: list[MissedShare]
    groups: list[GroupRow]


def evaluate_labels(
    items: pl.DataFrame,
    languages: Sequence[str | None],
    predicted: PredictedLabels,
    threshold: float,
    sizes: Sequence[str | None],
) -> LabelReport:
    """
    The report: `recall` of each tier and language at a precision of at least 0.9, and the share of unknown answers;
    `reliability`, predicted against observed in ten steps; `missed_r2`, how much R2 is served as R0 when R2 items are
    missed; `groups`, false raises and supportive items by language, dialect and size of the creator (`sizes`).
    """
    rows = np.flatnonzero(predicted.is_fitted & ~np.isnan(predicted.probabilities[:, 0]))
    truth = label_answers(items[rows])
    spoken = np.array([languages[row] or "und" for row in rows.tolist()])
    unknown = predicted.columns["predicted_tier"].is_null().to_numpy()[rows]
    groups = [ALL_LANGUAGES, *(name for name in sorted(set(spoken.tolist())) if np.sum(spoken == name) >= _MIN_ITEMS)]
    recall: list[RecallRow] = []
    reliability: list[ReliabilityRow] = []
    for question in (f"tier>={tier}" for tier in EVALUATED_TIERS):
        if question not in predicted.heads.questions:
            continue
        probability = predicted.probabilities[rows, predicted.heads.questions.index(question)]
        for group in groups:
            members = np.flatnonzero((spoken == group) | (group == ALL_LANGUAGES))
            predictions, yes = probability[members], np.asarray(truth[question][members], np.bool_)
            recall.append(_recall_row(question, group, predictions, yes, unknown[members]))
            reliability.append({"question": question, "language": group, "bins": reliability_bins(predictions, yes)})
    labelled = items[rows].hstack(predicted.columns[rows])
    is_r2 = truth["tier>=R2"] & ~truth.get("tier>=R3", np.zeros(len(rows), np.bool_))
    return {
        "precision": MIN_PRECISION,
        "threshold": threshold,
        "recall": recall,
        "reliability": reliability,
        "missed_r2": missed_r2(float(is_r2.mean()) if len(rows) else 0.0),
        "groups": group_rows(labelled, {"language": spoken.tolist(), **_declared(labelled, rows, sizes)}),
    }


def _declared(
    labelled: pl.DataFrame, rows: NDArray[np.intp], sizes: Sequence[str | None]
) -> dict[str, list[str | None]]:
    """The dialect and the size of the creator of labelled items."""
    dialects = labelled["dialect"].to_list() if "dialect" in labelled.columns else [None] * len(rows)
    return {"dialect": dialects, "creator size": [sizes[row] for row in rows.tolist()]}


def _recall_row(question: str, language: str, predicted: Reals, yes: Mask, unknown: Mask) -> RecallRow:
    return {
        "question": question,
        "language": language,
        "n": len(yes),
        "n_yes": int(yes.sum()),
        **recall_at_precision(predicted, yes, MIN_PRECISION),
        "unknown": float(unknown.mean()),
    }


def recall_at_precision(predicted: Reals, yes: NDArray[np.bool_], min_precision: float) -> PrecisionCut:
    """
    The highest recall of a threshold on `predicted` whose precision is at least `min_precision`; None without yes.

    Equal values are on one side. Where no threshold is that precise, recall is 0 and precision that of the highest.
    """
    if not yes.any():
        return {"recall": None, "precision": 0.0, "cut": 1.0}
    order = np.argsort(-predicted, kind="stable")
    right, named = np.cumsum(yes[order]), np.arange(1, len(predicted) + 1)
    is_cut = np.concatenate([predicted[order][1:] != predicted[order][:-1], [True]])
    precision = right / named
    good = np.flatnonzero(is_cut & (precision >= min_precision))
    if not len(good):
        first = int(np.flatnonzero(is_cut)[0])
        return {"recall": 0.0, "precision": float(precision[first]), "cut": 1.0}
    last = int(good[np.argmax(right[good] == right[good[-1]])])  # the highest threshold of those with this recall
    return {
        "recall": float(right[last] / yes.sum()),
        "precision": float(precision[last]),
        "cut": float(predicted[order][last]),
    }


def reliability_bins(predicted: Reals, yes: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """For each tenth of the probabilities that has any item: how many, the mean predicted, and the share observed."""
    number = np.minimum((predicted * _N_BINS).astype(np.int64), _N_BINS - 1)
    return [
        {"n": int(here.sum()), "predicted": float(predicted[here].mean()), "observed": float(yes[here].mean())}
        for here in (number == n for n in range(_N_BINS))
        if here.any()
    ]


def missed_r2(base: float) -> list[MissedShare]:
    """
    The share of R2 among items served as R0, when a share of the R2 items is labelled R0 by mistake.

    `base` is the true share of R2 in the catalogue; b m / (1 - b + b m).
    """
    return [
        {"base": base, "missed": m, "really_r2": base * m / (1 - base + base * m) if base < 1 else 1.0}
        for m in MISSED_SHARES
    ]


def write_report(report: LabelReport, folder: Path) -> None:
    """Writes `report.json` and reliability plots of every tier (`reliability-R2.svg`), a panel for each language."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    for tier in TIERS:
        rows = [row for row in report["reliability"] if row["question"] == f"tier>={tier}"]
        if not rows:
            continue
        wide = min(_PANEL_COLUMNS, len(rows))
        high = -(-len(rows) // wide)
        figure, panels = pyplot.subplots(
            high, wide, figsize=(2.5 * wide, 2.5 * high + 0.4), sharex=True, sharey=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for panel in panels.flat[len(rows) :]:
            panel.set_axis_off()
        for panel, row in zip(panels.flat, rows, strict=False):
            _draw_panel(panel, row)
        figure.supxlabel(f"predicted probability of at least {tier}", fontsize=9)
        figure.supylabel("observed share (95 % interval)", fontsize=9)
        figure.savefig(folder / f"reliability-{tier}.svg")
        pyplot.close(figure)


def _draw_panel(axes: "Axes", row: ReliabilityRow) -> None:
    """
    One language: a point for each tenth of the probabilities that has any item; the diagonal is perfect calibration.
    """
    bins = row["bins"]
    predicted, observed = np.array([b["predicted"] for b in bins]), np.array([b["observed"] for b in bins])
    sizes = np.array([b["n"] for b in bins])
    low, high = wilson_interval(observed, sizes)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--", zorder=1)
    axes.vlines(predicted, low, high, color="#7aa6c2", linewidth=2, zorder=2)
    axes.plot(predicted, observed, "o", color="#12506e", markersize=4, clip_on=False, zorder=3)
    axes.set_title(f"{row['language']}, {sizes.sum():,} items", fontsize=9)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    axes.tick_params(labelsize=8)
