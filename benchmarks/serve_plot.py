"""The plot of `benchmarks/serve.py`: what a feed, a start and the memory cost as the catalogue grows."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = ("#1b7f5c", "#b3402a", "#8a8a8a")


def draw(results: dict[str, Any], path: Path) -> None:
    """Three panels over the number of items, a line for each commit; services that were measured alone."""
    by_commit: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(results["alone"], key=lambda row: row["n_items"]):
        by_commit.setdefault(row["name"].split()[0], []).append(row)
    figure, (feeds, memory, start) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    first = results["commit"]
    for colour, commit in zip(COLOURS, sorted(by_commit, key=lambda name: name != first), strict=False):
        rows = by_commit[commit]
        _line(feeds, rows, [row["cpu_ms"]["p50"] for row in rows], colour, f"{commit}, median")
        _line(feeds, rows, [row["cpu_ms"]["p99"] for row in rows], colour, f"{commit}, p99", "--")
        _line(memory, rows, [row["memory_mb"][-1]["private"] / 1e3 for row in rows], colour, f"{commit}, private")
        _line(
            memory, rows, [row["memory_mb"][-1]["resident"] / 1e3 for row in rows], colour, f"{commit}, resident", "--"
        )
        _line(start, rows, [row["start_s"] for row in rows], colour, commit)
    titles = ("a feed, ms of processor", "memory after the feeds, GB", "start over a state, s of processor")
    for axes, title in zip((feeds, memory, start), titles, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="items")
        axes.set_title(title, loc="left", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


def _line(
    axes: Axes, rows: list[dict[str, Any]], values: list[float], colour: str, label: str, style: str = "-"
) -> None:
    axes.plot([row["n_items"] for row in rows], values, style, color=colour, marker="o", markersize=4, label=label)
