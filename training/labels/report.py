"""
How far labels of our own can be trusted, language by language, on items that people labelled and the heads that
answered did not know.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.vocabulary import TIERS
from training.labels.predict import Labelled, answers

TIERS_JUDGED: Final = ("R2", "R3")
LEAST_PRECISION: Final = 0.9
MISSES: Final = (0.05, 0.1, 0.2)
EVERYTHING: Final = "all"
_BINS: Final = 10
_COLUMNS: Final = 3  # of panels
_LEAST: Final = 50  # labelled items of a language, for a row of its own


def judge(items: pl.DataFrame, languages: Sequence[str | None], found: Labelled, threshold: float) -> dict[str, Any]:
    """
    The report: `recall` of each tier and language at a precision of 0.9 at least, and the share of unknown answers;
    `reliability`, what was said against what was true in ten steps; `misses`, what missed R2 items do to the promise.
    """
    rows = np.flatnonzero(found.is_learned_from & ~np.isnan(found.probabilities[:, 0]))
    truth = answers(items[rows])
    spoken = np.array([languages[row] or "und" for row in rows.tolist()])
    unknown = found.columns["predicted_tier"].is_null().to_numpy()[rows]
    groups = [EVERYTHING, *(name for name in sorted(set(spoken.tolist())) if np.sum(spoken == name) >= _LEAST)]
    recall, reliability = [], []
    for tier in TIERS_JUDGED:
        question = f"tier>={tier}"
        if question not in found.heads.questions:
            continue
        said = found.probabilities[rows, found.heads.questions.index(question)]
        for group in groups:
            own = np.ones(len(rows), np.bool_) if group == EVERYTHING else spoken == group
            yes = truth[question][own]
            recall.append(
                {"question": question, "language": group, "n": int(own.sum()), "n_yes": int(yes.sum())}
                | at_precision(said[own], yes, LEAST_PRECISION)
                | {"unknown": float(unknown[own].mean())}
            )
            reliability.append({"question": question, "language": group, "bins": bins(said[own], yes)})
    is_r2 = truth["tier>=R2"] & ~truth.get("tier>=R3", np.zeros(len(rows), np.bool_))
    return {
        "precision": LEAST_PRECISION,
        "threshold": threshold,
        "recall": recall,
        "reliability": reliability,
        "misses": misses(float(is_r2.mean()) if len(rows) else 0.0),
    }


def at_precision(said: NDArray[np.float64], yes: NDArray[np.bool_], least: float) -> dict[str, float | None]:
    """
    The highest recall among cuts of `said` at which at least that share of what is named is right; None without yes.

    Equal values are cut together. Where no cut is that precise, recall is 0 and precision that of the surest.
    """
    if not yes.any():
        return {"recall": None, "precision": 0.0, "cut": 1.0}
    order = np.argsort(-said, kind="stable")
    right, named = np.cumsum(yes[order]), np.arange(1, len(said) + 1)
    is_cut = np.concatenate([said[order][1:] != said[order][:-1], [True]])
    precision = right / named
    good = np.flatnonzero(is_cut & (precision >= least))
    if not len(good):
        first = int(np.flatnonzero(is_cut)[0])
        return {"recall": 0.0, "precision": float(precision[first]), "cut": 1.0}
    last = int(good[np.argmax(right[good] == right[good[-1]])])  # the surest cut of those that find as many
    return {
        "recall": float(right[last] / yes.sum()),
        "precision": float(precision[last]),
        "cut": float(said[order][last]),
    }


def bins(said: NDArray[np.float64], yes: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Of each tenth of the probabilities that has any: how many, what was said on average, and what was true."""
    number = np.minimum((said * _BINS).astype(np.int64), _BINS - 1)
    return [
        {"n": int(here.sum()), "said": float(said[here].mean()), "true": float(yes[here].mean())}
        for here in (number == n for n in range(_BINS))
        if here.any()
    ]


def misses(base: float) -> list[dict[str, float]]:
    """
    When a share of the R2 items is labelled R0 by mistake: how much of what is served as R0 is really R2.

    `base` is the true share of R2 in the catalogue; b m / (1 - b + b m).
    """
    return [
        {"base": base, "missed": m, "really_r2": base * m / (1 - base + base * m) if base < 1 else 1.0} for m in MISSES
    ]


def draw(report: dict[str, Any], folder: Path) -> None:
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
        wide = min(_COLUMNS, len(rows))
        high = -(-len(rows) // wide)
        figure, panels = pyplot.subplots(
            high, wide, figsize=(2.5 * wide, 2.5 * high + 0.4), sharex=True, sharey=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for panel in panels.flat[len(rows) :]:
            panel.set_axis_off()
        for panel, row in zip(panels.flat, rows, strict=False):
            _panel(panel, row)
        figure.supxlabel(f"probability that was said: at least {tier}", fontsize=9)
        figure.supylabel("share that was so (95 % interval)", fontsize=9)
        figure.savefig(folder / f"reliability-{tier}.svg")
        pyplot.close(figure)


def _panel(axes: Any, row: dict[str, Any]) -> None:
    """One language: a point for each tenth of the probabilities that has any item; on the diagonal is right."""
    said, true, sizes = (np.array([part[name] for part in row["bins"]]) for name in ("said", "true", "n"))
    low, high = wilson(true, sizes)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--", zorder=1)
    axes.vlines(said, low, high, color="#7aa6c2", linewidth=2, zorder=2)
    axes.plot(said, true, "o", color="#12506e", markersize=4, clip_on=False, zorder=3)
    axes.set_title(f"{row['language']}, {sizes.sum():,} items", fontsize=9)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    axes.tick_params(labelsize=8)


def wilson(share: NDArray[np.float64], n: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % interval of shares of n (Wilson 1927): it knows that none of ten is not never."""
    z2 = 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
