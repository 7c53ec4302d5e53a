"""
What several processes on one state cost: processor time of a feed with 1, 2 and 4 services, and how long it took.

    python -m benchmarks.processes ARTIFACT [--state PATH-OR-ADDRESS ...] [--feeds 400] [--plot FILE]

Each state should be new. One client at a time asks, so that the times of a feed are those of the engine and its store;
processor time is that of the services, without the server of the state.
"""

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import polars as pl

mpl.use("svg")
import matplotlib.pyplot as plt

from tests.serving.process import Life, ask, cpu_of, free_port, life

N_SERVICES: Final = (1, 2, 4)
COLOURS: Final = ("#1b7f5c", "#7fb8a3", "#c9dfd6")
N_WARM: Final = 60
SIZE = 20


def main() -> None:
    """Print one line per state and number of services."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--state", action="append", required=True, help="a path, or the address of a server")
    parser.add_argument("--name", action="append", help="what to call each state; by default how it is spoken to")
    parser.add_argument("--feeds", type=int, default=400, help="feeds of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, in turns; medians are shown")
    parser.add_argument("--plot", type=Path, help="draw the processor time of a feed")
    asked = parser.parse_args()
    users, names = _people(asked.artifact), asked.name or [state.partition("://")[0][:12] for state in asked.state]
    found: dict[tuple[str, int], list[tuple[float, list[float]]]] = {}
    for _ in range(asked.rounds):
        for (name, state), n in itertools.product(zip(names, asked.state, strict=True), N_SERVICES):
            found.setdefault((name, n), []).append(measure(asked.artifact, state, n, users, asked.feeds))
    print("| state | services | processor a feed | in each round | p50 | p99 |\n|---|---|---|---|---|---|")
    for (name, n), rounds in sorted(found.items(), key=lambda row: names.index(row[0][0])):
        each = [cpu_ms for cpu_ms, _ in rounds]
        p50, p99 = np.percentile(np.concatenate([took for _, took in rounds]), (50, 99))
        spread = " ".join(f"{cpu_ms:.2f}" for cpu_ms in each)
        print(f"| {name} | {n} | {np.median(each):.2f} ms | {spread} | {p50:.1f} ms | {p99:.1f} ms |")
    if asked.plot:
        draw({row: [cpu_ms for cpu_ms, _ in rounds] for row, rounds in found.items()}, names, asked.plot)


def draw(found: Mapping[tuple[str, int], Sequence[float]], names: Sequence[str], path: Path) -> None:
    """A group of bars for each state: the median of a feed with 1, 2 and 4 services, and each round as a dot."""
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for place, (n, colour) in enumerate(zip(N_SERVICES, COLOURS, strict=True)):
        at = np.arange(len(names)) + 0.26 * (place - 1)
        axes.bar(at, [np.median(found[name, n]) for name in names], 0.24, color=colour, label=f"{n} services")
        for x, name in zip(at, names, strict=True):
            axes.plot([x] * len(found[name, n]), found[name, n], ".", color="black", markersize=4)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("processor of a feed, ms")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="lower right", facecolor="white")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


def measure(
    artifact: Path, state: str, n_services: int, users: Sequence[str], n_feeds: int
) -> tuple[float, list[float]]:
    """Milliseconds of processor a feed, and those that each feed took."""
    ports = [free_port() for _ in range(n_services)]
    with ExitStack() as stack:
        lives = [stack.enter_context(life(artifact, state, port)) for port in ports]
        _feeds(ports, users, N_WARM * n_services, "warm")
        before = _cpu_s(lives)
        took = _feeds(ports, users, n_feeds, f"{n_services}-{time.time_ns()}")
        return 1_000 * (_cpu_s(lives) - before) / n_feeds, took


def _feeds(ports: Sequence[int], users: Sequence[str], n_feeds: int, name: str) -> list[float]:
    took: list[float] = []
    for n in range(n_feeds):
        body = {"user_id": users[n % len(users)], "size": SIZE, "request_id": f"{name}-{n}"}
        began = time.perf_counter()
        status, page = ask(ports[n % len(ports)], "POST", "/v1/feed", body)
        took.append(1_000 * (time.perf_counter() - began))
        assert (status, page["degraded"]) == (200, []), page
    return took


def _cpu_s(lives: Sequence[Life]) -> float:
    return sum(cpu_of(one.process.pid) for one in lives)


def _people(artifact: Path) -> list[str]:
    return pl.read_parquet(artifact / "user_ids.parquet").to_series().sort().to_list()


if __name__ == "__main__":
    main()
