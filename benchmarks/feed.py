"""
How long a feed of 20 takes over HTTP, and how much memory the service needs.

    python benchmarks/feed.py ARTIFACT [--feeds 2000]

Starts the real service on a free port with a new state file, and asks for the feeds of the artifact's people, each in
turn: first over one connection, then over four. Client and service share the machine. Nothing is asserted: machines
differ.
"""

import argparse
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl

SERVICE = """
import sys
from pathlib import Path
from serving.run import serve
from serving.settings import Settings

settings = Settings(artifact=Path(sys.argv[1]), state=Path(sys.argv[2]), port=0, allow_assumed=True)
serve(settings, on_ready=lambda url: print(url, flush=True))
"""
ROOT = Path(__file__).resolve().parents[1]
SIZE = 20
Taken = tuple[list[float], Counter[str]]


def main() -> None:
    """Print the machine, the start, one line per number of connections, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--feeds", type=int, default=2_000, help="how many feeds each measurement asks for")
    chosen = parser.parse_args()
    user_ids = pl.read_parquet(chosen.artifact / "user_ids.parquet")["user_id"].to_list()
    n_items = pl.scan_parquet(chosen.artifact / "items.parquet").select(pl.len()).collect().item()
    rng = np.random.default_rng(7)
    print(f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{n_items:,} items, {len(user_ids):,} people, feeds of {SIZE}")
    with tempfile.TemporaryDirectory() as folder, service(chosen.artifact, Path(folder) / "state.db") as (url, process):
        print(f"memory when ready {memory_mb(process):,.0f} MB")
        for n_connections in (1, 4):
            asked = rng.permutation(np.resize(user_ids, max(chosen.feeds, len(user_ids))))[: chosen.feeds].tolist()
            measure(url, asked, n_connections)
        print(f"memory afterwards {memory_mb(process):,.0f} MB (resident; the artifact's mapped files count too)")


@contextmanager
def service(artifact: Path, state: Path) -> Iterator[tuple[str, int]]:
    """The service as a process of its own: its base URL and its process id."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(artifact), str(state)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("the service did not start; its errors stand above")
        print(f"ready after {time.perf_counter() - started:.1f} s, with a new state file")
        try:
            yield url, process.pid
        finally:
            process.terminate()


def measure(url: str, user_ids: Sequence[str], n_connections: int) -> None:
    """A closed loop: every connection asks again as soon as it is answered."""
    parts = [user_ids[n::n_connections] for n in range(n_connections)]
    started = time.perf_counter()
    with ThreadPoolExecutor(n_connections) as pool:
        results = list(pool.map(lambda part: ask(url, part), parts))
    seconds = time.perf_counter() - started
    took = np.concatenate([np.array(times) for times, _ in results]) * 1_000
    inside = sum((pages for _, pages in results), Counter[str]())
    p50, p99 = np.percentile(took, [50, 99])
    print(
        f"{n_connections} connection{'s' * (n_connections > 1)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"most {took.max():.0f} ms, {len(took) / seconds:,.0f} feeds/s; "
        f"{inside['items'] / len(took):.1f} items a page, {inside['degraded']} degraded, {inside['short']} short"
    )


def ask(url: str, user_ids: Sequence[str]) -> Taken:
    """Seconds of each feed over one connection, and what the pages were like."""
    took: list[float] = []
    inside: Counter[str] = Counter()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    for user_id in user_ids:
        body = json.dumps({"user_id": user_id, "size": SIZE})
        started = time.perf_counter()
        connection.request("POST", "/v1/feed", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        page = answer.read()
        took.append(time.perf_counter() - started)
        if answer.status != 200:
            raise SystemExit(f"found status {answer.status}: {page[:300]!r}")
        told = json.loads(page)
        inside["items"] += len(told["items"])
        inside["degraded"] += bool(told["degraded"])
        inside["short"] += told["shortfall"]["missing"] > 0
    connection.close()
    return took, inside


def memory_mb(process: int) -> float:
    """Resident memory of a process in MB; NaN where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1_024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
