"""The plot of `benchmarks/worth.py --reactions`: what the reactions of newcomers teach."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"personalised": "#1b7f5c", "non_personalised": "#8a8a8a"}
LABELS = {"personalised": "personalised", "non_personalised": "not personalised, at the same moment"}


def draw(worlds: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A panel for each world: gain after so many videos, with 95 % intervals over people."""
    figure, panels = plt.subplots(
        1, len(worlds), figsize=(6 * len(worlds), 3.8), layout="constrained", sharey=True, squeeze=False
    )
    for axes, (name, numbers) in zip(panels[0], worlds.items(), strict=True):
        for mode, gains in numbers["reactions"].items():
            shown = [int(count) for count in gains]
            means, lows, highs = ([100 * gain[of] for gain in gains.values()] for of in ("mean", "low", "high"))
            axes.plot(shown, means, color=COLOURS[mode], marker="o", markersize=4, label=LABELS[mode])
            axes.fill_between(shown, lows, highs, color=COLOURS[mode], alpha=0.2, linewidth=0)
        axes.set(xlabel="videos shown before the page", ylabel="gain, % of what is attainable", xticks=shown)
        axes.set_title(name, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)
