"""
Ten million events from disk to matrices: seconds and peak memory of reading, validating and building.

    python benchmarks/data.py [--events 10000000] [--format parquet|csv]

The events are made up here (300,000 people, 50,000 items, the mix of kinds of a feed) and deleted afterwards. Each
step is timed in one process of its own, so that the peak is that of the job and not of making its input.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from recsys.clock import DAY, from_text
from recsys.data.tables import write_dataset
from training.interactions import build_interactions
from training.validate import clean

START = from_text("2026-01-01T00:00:00Z")
N_USERS, N_ITEMS, N_CREATORS, PART = 300_000, 50_000, 5_000, 1_000_000


def make(folder: Path, n_events: int, form: str) -> None:
    """Writes a dataset of the contract with the events in parts."""
    rng = np.random.default_rng(7)
    creators = pl.DataFrame({"creator_id": _ids("c", np.arange(N_CREATORS))}).with_columns(country=pl.lit("MA"))
    items = pl.DataFrame(
        {"item_id": _ids("v", np.arange(N_ITEMS)), "creator_id": _ids("c", rng.integers(0, N_CREATORS, N_ITEMS))}
    ).with_columns(
        published_at=pl.lit(START - DAY),
        title=pl.lit("a title of some forty characters, as usual"),
        risk_tier=pl.Series(rng.choice(["R0", "R0", "R0", "R1", "R2", ""], N_ITEMS)).replace("", None),
    )
    users = pl.DataFrame({"user_id": _ids("u", np.arange(N_USERS))}).with_columns(
        country=pl.Series(rng.choice(["MA", "FR", "EG"], N_USERS))
    )
    write_dataset(folder, creators=creators, items=items, users=users)
    (folder / "events").mkdir()
    for part, start in enumerate(range(0, n_events, PART)):
        events = _events(rng, start, min(PART, n_events - start), n_events)
        path = folder / "events" / f"{part:04d}.{form}"
        events.write_parquet(path) if form == "parquet" else events.write_csv(path)


def _ids(prefix: str, numbers: np.ndarray) -> pl.Series:
    return pl.select(pl.lit(prefix) + pl.Series(numbers).cast(pl.String)).to_series()


def _events(rng: np.random.Generator, start: int, n: int, total: int) -> pl.DataFrame:
    kinds = rng.choice(["impression", "view", "complete", "like", "not_interested"], n, p=[0.5, 0.35, 0.1, 0.04, 0.01])
    at = START + (start + np.arange(n)) * (90 * DAY) // total
    fraction = pl.Series(rng.random(n))
    return pl.DataFrame(
        {
            "event_id": _ids("e", start + np.arange(n)),
            "user_id": _ids("u", (rng.random(n) ** 2 * N_USERS).astype(np.int64)),
            "kind": kinds,
            "at": at,
            "item_id": _ids("v", (rng.random(n) ** 3 * N_ITEMS).astype(np.int64)),
            "watch_fraction": fraction,
            "watch_s": fraction * 30,
            "request_id": _ids("r", (start + np.arange(n)) // 20),
            "position": 1 + (start + np.arange(n)) % 20,
            "surface": ["for_you"] * n,
            "propensity": rng.random(n),
        }
    ).with_columns(watch_fraction=pl.when(pl.col("kind") == "view").then("watch_fraction"))


def measure(folder: Path) -> None:
    """Validates and builds, printing one JSON line."""
    started = time.perf_counter()
    dataset, report = clean(folder, at=START + 365 * DAY)
    validated = time.perf_counter()
    peak_validated = _peak_gb()
    built = build_interactions(dataset, before=START + 80 * DAY)
    numbers = {
        "events": report.tables["events"].n_accepted,
        "validate_s": round(validated - started, 1),
        "validate_peak_gb": round(peak_validated, 2),
        "matrices_s": round(time.perf_counter() - validated, 1),
        "peak_gb": round(_peak_gb(), 2),
        "positives": int(built.positives.nnz),
        "negatives": int(built.negatives.nnz),
    }
    print(json.dumps(numbers))


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Makes the events and measures in a fresh process."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=10_000_000)
    options.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    options.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure is not None:
        measure(chosen.measure)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        make(folder, chosen.events, chosen.format)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
        print(f"{platform.node()}: {os.cpu_count()} cores, {chosen.events:,} events as {chosen.format}, {size:,.0f} MB")
        subprocess.run([sys.executable, __file__, "--measure", str(folder)], check=True)


if __name__ == "__main__":
    main()
