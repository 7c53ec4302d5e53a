"""
What several processes on one state cost: processor time of a feed with 1, 2 and 4 services, and how long it took.

    python -m benchmarks.processes ARTIFACT [--state PATH-OR-ADDRESS ...] [--feeds 400]

Each state should be new. One client at a time asks, so that the times of a feed are those of the engine and its store;
processor time is that of the services, without the server of the state.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from tests.serving.process import Life, ask, cpu_of, free_port, life

N_WARM: Final = 60
SIZE = 20


def main() -> None:
    """Print one line per state and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--state", action="append", required=True, help="a path, or the address of a server")
    parser.add_argument("--feeds", type=int, default=400, help="feeds of each measurement")
    asked = parser.parse_args()
    users = _people(asked.artifact)
    print("| state | services | processor a feed | p50 | p99 |\n|---|---|---|---|---|")
    for state, n_services in itertools.product(asked.state, (1, 2, 4)):
        cpu_ms, took = measure(asked.artifact, state, n_services, users, asked.feeds)
        p50, p99 = np.percentile(took, (50, 99))
        print(
            f"| {state.partition('://')[0][:12]} | {n_services} | {cpu_ms:.2f} ms | {p50:.1f} ms | {p99:.1f} ms |",
            flush=True,
        )


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
