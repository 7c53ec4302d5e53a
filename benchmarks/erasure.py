"""
What an erasure leaves in the state file, and what it costs the feeds of others.

    python benchmarks/erasure.py ARTIFACT [--megabytes 10 100 1000] [--feeds 300]

First, a state file of so many megabytes: one person is erased, the file is closed and opened, and every byte of it is
searched for their id and their words. Then the real service: feeds over one connection, alone and beside eight clients
that delete people in a loop, by turns. Client and service share the machine.
"""

import argparse
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Final
from urllib.request import Request, urlopen

import numpy as np
import polars as pl
from feed import ROOT, ask, service

from recsys.stores.protocols import DecisionRecord, StoredAnswer
from recsys.user.state import PersonState, Profile, UserState
from serving.stores.sqlite.store import SqliteStore

N_CLIENTS: Final = 8
N_ROUNDS: Final = 3
PAGE_BYTES: Final = 50_000
NOW: Final = 1_800_000_000_000


def main() -> None:
    """Prints one line per size, then the feeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--megabytes", type=int, nargs="*", default=[10, 100, 1_000])
    parser.add_argument("--feeds", type=int, default=300, help="in each round")
    chosen = parser.parse_args()
    for megabytes in chosen.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            search_after_erasure(Path(folder) / "state.db", megabytes)
    with tempfile.TemporaryDirectory() as folder, service(chosen.artifact, Path(folder) / "state.db") as (url, _):
        feeds_beside_deletions(url, chosen.artifact, chosen.feeds)


def search_after_erasure(path: Path, megabytes: int) -> None:
    """Fills a file, erases one person, and looks for their id and words in every byte."""
    store, n_people = SqliteStore(path), megabytes * 1_000_000 // PAGE_BYTES
    for n in range(n_people):
        user_id = f"person-{n:06}"
        answer = StoredAnswer(
            request_id="r", user_id=user_id, at=NOW, body_hash="h", answer=(user_id * (PAGE_BYTES // 13)).encode(),
            decision=b"",
        )  # fmt: skip
        state = UserState(person=PersonState(profile=Profile(country=f"secret of {user_id}")))
        store.users.write_if(user_id, state, 0, DecisionRecord(answer=answer, deliveries=()))
    erased = f"person-{n_people // 2:06}"
    started = time.perf_counter()
    store.users.erase(erased, NOW, None)
    took = time.perf_counter() - started
    store.close()
    SqliteStore(path).close()
    files = [file for file in path.parent.iterdir() if file.stat().st_size]
    size = sum(file.stat().st_size for file in files) / 1e6
    hits = sum(_count(file, erased.encode()) for file in files)
    print(f"{size:,.0f} MB in {len(files)} files, erasure {took * 1_000:.1f} ms: found {hits} times afterwards")


def _count(file: Path, word: bytes) -> int:
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        hits, place = 0, content.find(word)
        while place >= 0:
            hits, place = hits + 1, content.find(word, place + 1)
    return hits


def feeds_beside_deletions(url: str, artifact: Path, n_feeds: int) -> None:
    """The median feed alone and beside deletions, by turns, and their ratio."""
    user_ids = pl.read_parquet(artifact / "user_ids.parquet")["user_id"].to_list()
    rng = np.random.default_rng(3)
    ask(url, user_ids[:50])  # warm
    alone, beside, n_deleted = [], [], 0
    for _ in range(N_ROUNDS):
        people = rng.choice(user_ids, n_feeds).tolist()
        alone.append(float(np.median(ask(url, people)[0])))
        with _deleting(url) as count:
            beside.append(float(np.median(ask(url, people)[0])))
        n_deleted += sum(count)
    ratios = [after / before for before, after in zip(alone, beside, strict=True)]
    print(
        f"feeds p50 alone {', '.join(f'{1_000 * t:.1f}' for t in alone)} ms; beside {N_CLIENTS} deleting clients "
        f"{', '.join(f'{1_000 * t:.1f}' for t in beside)} ms ({n_deleted:,} deletions); "
        f"ratio {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
    )


@contextmanager
def _deleting(url: str) -> Iterator[list[int]]:
    """
    Clients that delete people whom nobody knows, in a loop; how many each deleted. They are a process of their own: in
    this one they would slow the client whose feeds are measured.
    """
    count: list[int] = []
    code = f"from erasure import delete; delete({url!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield count
        finally:
            count.append(int(process.communicate("stop\n")[0]))


def delete(url: str) -> None:
    """Delete in `N_CLIENTS` loops until a line comes in, then print how many were deleted."""
    stop, count = Signal(), [0] * N_CLIENTS

    def run(client: int) -> None:
        while not stop.is_set():
            with urlopen(
                Request(f"{url}/v1/users/gone-{client}-{count[client]}", method="DELETE"), timeout=60
            ) as answer:
                answer.read()
            count[client] += 1

    threads = [Thread(target=run, args=(client,)) for client in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    print("running", flush=True)
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    print(sum(count))


if __name__ == "__main__":
    main()
