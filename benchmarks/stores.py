"""
How fast a state is, a file or one on a server: reads and durable writes per second, and their latency.

    python benchmarks/stores.py [--state ADDRESS] [--seconds 3]

A write is what a page of 20 commits: the state of a heavy user, 20 deliveries, an answer (4 KB), a decision (8 KB).
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from recsys.clock import HOUR
from recsys.stores.protocols import DecisionRecord, ItemChange, StoredAnswer, Stores
from recsys.user.state import Delivery, Ledger, SafetyState, Seen, UserState
from serving.stores.open import open_store, state_of

N_USERS = 2_000
NOW = 1_780_000_000_000


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement runs")
    parser.add_argument("--state", help="the address of a new state on a server; a file if absent")
    asked = parser.parse_args()
    seconds = asked.seconds
    print(f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        opened = open_store(state_of(asked.state or f"{folder}/state.db"))
        store = opened.stores
        load(store)
        state = heavy_state()
        for n_threads in (1, 16):
            measure("read", n_threads, seconds, lambda user: store.users.read(user, "r"))
            measure("write_if, the state alone", n_threads, seconds, lambda user: write(store, user, state, False))
            measure("write_if, a whole page", n_threads, seconds, lambda user: write(store, user, state, True))
        opened.close()


def load(store: Stores) -> None:
    """20,000 items, twice: the second time nothing has changed."""
    changes = [
        ItemChange(
            fields={"item_id": f"v{n}", "creator_id": f"c{n % 900}", "published_at": NOW, "title": f"a title {n}",
                    "text": "a caption of some length " * 4, "topics": ["S3"], "risk_tier": "R0"},
            is_edited=False,
        )
        for n in range(20_000)
    ]  # fmt: skip
    for name in ("first load", "same load again"):
        started = time.perf_counter()
        store.catalogue.put(changes, NOW)
        print(f"{name} of 20,000 items: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    store.catalogue.since(0)
    print(f"reading 20,000 items: {time.perf_counter() - started:.2f} s")


def heavy_state() -> UserState:
    """The state of somebody who watches all day."""
    last = tuple(Delivery(at=NOW + n, item_no=n, creator_no=n) for n in range(50))
    capped = {name: tuple(NOW - n * HOUR for n in range(80, 0, -1)) for name in ("R1", "R2", "S4")}
    seen = Seen(item_nos=tuple(range(500)), at=tuple(NOW + n for n in range(500)))
    return UserState(safety=SafetyState(ledger=Ledger(last=last, capped=capped)), seen=seen)


def write(store: Stores, user: str, state: UserState, is_page: bool) -> None:
    """Read and write one user once, as a feed does."""
    record = None
    if is_page:
        answer = StoredAnswer(
            request_id=f"r{time.perf_counter_ns()}", user_id=user, at=NOW, body_hash="0" * 64,
            answer=b"a" * 4_096, decision=b"d" * 8_192,
        )  # fmt: skip
        record = DecisionRecord(answer=answer, deliveries=state.safety.ledger.last[:20])
    if not store.users.write_if(user, state, store.users.read(user).version, record):
        raise SystemExit("a write of a user whom nobody else writes was refused")


def measure(name: str, n_threads: int, seconds: float, call: Callable[[str], object]) -> None:
    """A closed loop: every thread asks again as soon as it is answered. Each thread has its own users."""

    def loop(thread: int) -> list[float]:
        rng, took = np.random.default_rng(thread), []
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            call(f"u{thread}-{rng.integers(N_USERS // n_threads)}")
            took.append(time.perf_counter() - started)
        return took

    with ThreadPoolExecutor(n_threads) as pool:
        took = np.concatenate([np.array(times) for times in pool.map(loop, range(n_threads))]) * 1_000
    p50, p99 = np.percentile(took, [50, 99])
    print(f"{name}, {n_threads} threads: {len(took) / seconds:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
