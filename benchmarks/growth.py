"""
How training grows: seconds and peak memory of each step on 1 %, 10 % and 100 % of a synthetic log.

    python benchmarks/growth.py [--shares 0.01 0.1] [--plot docs/growth.svg]

The whole is 1,000,000 people, 100,000 items and 50,000,000 reactions, drawn from a world of 200 themes with a Zipf
popularity. No text is encoded, and EASE is left out: its catalogue limit is below the world's. Every share runs in a
process of its own, so that the peak is that of the job. Results are kept in `benchmarks/growth.jsonl`, from which
the plot is drawn. The full size is promised within 45 minutes and 14 GB on 2 cores.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from recsys.models import next_item, popularity
from recsys.models.base import PopularityModel, PreferenceModel
from recsys.models.interactions import interactions_from_histories
from recsys.models.popularity import PopularityParams
from recsys.types import Ids, Longs
from training.models.blend_weights import fit_weights
from training.models.registry import MODELS, TrainingMatrix
from training.models.settings import BlendParams
from training.models.validation_table import build_table

N_USERS, N_ITEMS, N_EVENTS, N_THEMES = 1_000_000, 100_000, 50_000_000, 200
RESULTS = Path(__file__).with_name("growth.jsonl")


def make(share: float, rng: np.random.Generator) -> tuple[Longs, Ids]:
    """Flat histories (indptr, items): each person has two themes; a reaction is in one of them, or anywhere."""
    n_users, n_items, n_events = (max(1_000, round(n * share)) for n in (N_USERS, N_ITEMS, N_EVENTS))
    counts = np.minimum(rng.geometric(n_users / n_events, n_users), 2_000)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    themes = rng.integers(0, N_THEMES, (n_users, 2))
    owner = np.repeat(np.arange(n_users, dtype=np.int32), counts)
    rank = (n_items // N_THEMES * rng.random(len(owner), dtype=np.float32) ** 2).astype(np.int32)
    theme = themes[owner, rng.integers(0, 2, len(owner), dtype=np.int8)].astype(np.int32)
    anywhere = rng.random(len(owner), dtype=np.float32) < 0.3
    theme[anywhere] = rng.integers(0, N_THEMES, int(anywhere.sum()), dtype=np.int32)
    return indptr, rank * N_THEMES + theme


def measure(share: float) -> None:
    """Every step once, as `sanad train` runs them, printing one JSON line."""
    laps: dict[str, dict[str, float]] = {}
    last = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        laps[name] = {"s": round(now - last, 2), "peak_gb": round(peak, 2)}
        last = now

    rng = np.random.default_rng(7)
    indptr, items = make(share, rng)
    n_items = int(items.max()) + 1
    lap("make the log (not a step of training)")
    ones = np.ones(len(items), np.float32)
    signed = sparse.csr_matrix((ones, items, indptr), shape=(len(indptr) - 1, n_items))
    signed.sum_duplicates()
    lap("matrix")
    popular = popularity.fit(sparse.csr_matrix(signed.sum(axis=0)).T, [None], PopularityParams())
    lap("popularity")
    params = BlendParams()
    models: dict[str, PreferenceModel] = {"popularity": PopularityModel(popular.scores)}
    for name in ("graph_filter", "spectral", "ials"):
        models[name] = MODELS[name].fit(TrainingMatrix(signed), getattr(params, name), np.random.default_rng(0))
        lap(name)
    models["next_item"] = next_item.fit(indptr, items, ones, n_items, params.next_item)
    lap("next_item")
    people = np.sort(rng.permutation(len(indptr) - 1)[: params.validation_users])
    relevant = sparse.random(len(people), n_items, 3 / n_items, "csr", dtype=np.float32, random_state=rng)
    users = interactions_from_histories(indptr, items, ones, n_items)[people]
    fit_weights(build_table(models, users, relevant, params.k), params.k)
    lap("weights")
    total = {
        "s": round(sum(lap["s"] for lap in laps.values()), 1),
        "peak_gb": max(lap["peak_gb"] for lap in laps.values()),
    }
    size = {"share": share, "people": len(indptr) - 1, "items": n_items, "reactions": len(items), "pairs": signed.nnz}
    print(json.dumps({**size, "steps": laps, "total": total}))


def plot(path: Path) -> None:
    """Seconds of each step, and the peak, against the number of reactions."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    rows = sorted((json.loads(line) for line in RESULTS.read_text().splitlines()), key=lambda row: row["reactions"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sizes = [row["reactions"] for row in rows]
    for name in rows[0]["steps"]:
        if not name.startswith("make"):
            left.plot(sizes, [row["steps"][name]["s"] for row in rows], marker="o", label=name)
    right.plot(sizes, [row["total"]["peak_gb"] for row in rows], marker="o", color="black")
    for axes, title in ((left, "seconds"), (right, "peak memory, GB")):
        axes.set(title=title, xlabel="reactions", xscale="log", yscale="log")
    left.legend(fontsize="small")
    figure.savefig(path)


def main() -> None:
    """Measures each share in a fresh process and keeps the lines."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shares", type=float, nargs="*", default=[0.01, 0.1])
    options.add_argument("--plot", type=Path)
    options.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure is not None:
        measure(chosen.measure)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rows = {json.loads(line)["share"]: line for line in RESULTS.read_text().splitlines()} if RESULTS.exists() else {}
    for share in chosen.shares:
        command = [sys.executable, __file__, "--measure", str(share)]
        rows[share] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(rows[share], flush=True)
        RESULTS.write_text("\n".join(rows[share] for share in sorted(rows)) + "\n")
    if chosen.plot:
        plot(chosen.plot)


if __name__ == "__main__":
    main()
