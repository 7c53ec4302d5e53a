"""The plot of `benchmarks/safety.py`: the share of R2 over days, one line per policy."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np

from recsys.types import Reals

mpl.use("svg")
import matplotlib.pyplot as plt

GREY, STRONG, GREEN = "#8a8a8a", "#b3402a", "#1b7f5c"
MIN_GAP = 0.038  # between two labels, as a share of the axis


def draw(daily: Mapping[str, Reals], path: Path) -> None:
    """`daily` holds by policy (people, days) shares; lines are means over people, bands 95 % intervals."""
    figure, axes = plt.subplots(figsize=(8.4, 4.6), layout="constrained")
    ends: list[tuple[float, str, str]] = []
    for policy, shares in daily.items():
        colour = STRONG if policy == "watch time only" else GREEN if policy.startswith("Sanad") else GREY
        colour = GREEN if policy.endswith("ledger") else colour
        mean = np.nanmean(shares, axis=0)
        days = np.arange(1, len(mean) + 1)
        axes.plot(days, mean, color=colour, linewidth=2.2 if colour != GREY else 1.4, clip_on=False)
        ends.append((float(mean[-1]), policy, colour))
        if colour != GREY:  # a band for each line would hide them all
            error = 1.96 * np.nanstd(shares, axis=0, ddof=1) / np.sqrt(np.isfinite(shares).sum(axis=0))
            axes.fill_between(days, np.maximum(mean - error, 0), mean + error, color=colour, alpha=0.12, linewidth=0)
    top = max(0.1, axes.get_ylim()[1])
    place = -1.0
    for share, policy, colour in sorted(ends):
        place = max(share, place + MIN_GAP * top)
        axes.text(len(days) + 0.25, place, f"{policy}  {share:.0%}", color=colour, va="center", fontsize=9)
    axes.set(xlim=(1, len(days)), ylim=(0, top), xlabel="day")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_title("R2 among what an engaged, distressed person is shown (synthetic world)", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)
