"""
What a service does when many more pages are asked for than it can make.

    python benchmarks/overload.py ARTIFACT [--checkout DIR] [--times 2 5 10] [--seconds 10]

First its capacity, by a closed loop of eight connections; then an open loop at multiples of it: pages are asked for at
random instants whether the service keeps up or not. Goodput counts full answers within a second of the instant that
they were due. The service has one core, the client the other. Where other work runs beside, the share of capacity by
seconds of the service's processor says more than that by the clock. Runs on Linux.
"""

import argparse
import asyncio
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import numpy as np
import uvloop
from serve import _commit, _contender, _processor
from serve_measure import Numbers, percentiles
from serve_process import CORES, ROOT, SIZE, Running, running

N_CLOSED: Final = 8
MAX_OPEN: Final = 800
"""Requests on their way; where there are as many, one that is due counts as lost."""
GOOD_S: Final = 1.0
LONGEST_S: Final = 10.0


@dataclass(slots=True)
class Counts:
    """What became of requests: milliseconds of those with a page, from when they were due, and the others."""

    pages_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    degraded: int = 0
    lost: int = 0


class Asker(asyncio.Protocol):
    """A connection that asks for one page at a time."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[bytes] | None = None
        self._buffer = b""
        self._whole = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        self._buffer, self._whole = b"", 0
        self.answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._whole and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._whole = end + 4 + int(length)
        if self._whole and len(self._buffer) >= self._whole and self.answered is not None:
            self.answered.set_result(self._buffer)
            self.answered = None

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self.answered is not None:
            self.answered.set_exception(ConnectionError("the service closed the connection"))
            self.answered = None


def request_of(user_id: str, more: str = "") -> bytes:
    body = json.dumps({"user_id": user_id, "size": SIZE}).encode()
    head = f"POST /v1/feed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}{more}\r\n\r\n".encode() + body


async def connect(url: str) -> Asker:
    address = urlsplit(url)
    _, asker = await asyncio.get_running_loop().create_connection(Asker, address.hostname, address.port)
    return asker


def note(counts: Counts, answer: bytes, took_s: float) -> None:
    is_page = answer.startswith(b"HTTP/1.1 200")
    (counts.pages_ms if is_page else counts.refused_ms).append(took_s * 1_000)
    counts.degraded += is_page and b'"degraded":[]' not in answer


async def closed_loop(url: str, people: Sequence[str], seconds: float) -> Counts:
    counts, waiting, until = Counts(), iter(people), time.perf_counter() + seconds

    async def work() -> None:
        asker = await connect(url)
        while (began := time.perf_counter()) < until:
            note(counts, await asker.ask(request_of(next(waiting))), time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(N_CLOSED)))
    return counts


async def open_loop(url: str, people: Sequence[str], rate: float, seconds: float, *, is_fresh: bool) -> Counts:
    counts, idle, tasks = Counts(), list[Asker](), set[asyncio.Task[None]]()
    more = "\r\nConnection: close" if is_fresh else ""
    due = np.cumsum(np.random.default_rng(3).exponential(1 / rate, int(rate * seconds)))
    start = time.perf_counter()

    async def one(user_id: str, was_due: float) -> None:
        try:
            asker = idle.pop() if idle else await connect(url)
            while not asker.is_open:  # the service closes what is idle for seconds
                asker = idle.pop() if idle else await connect(url)
            answer = await asyncio.wait_for(asker.ask(request_of(user_id, more)), LONGEST_S)
        except (OSError, TimeoutError):
            counts.lost += 1
            return
        note(counts, answer, time.perf_counter() - start - was_due)
        if not is_fresh:
            idle.append(asker)

    for user_id, at in zip(people, due, strict=False):
        if (pause := start + at - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        if len(tasks) < MAX_OPEN:
            task = asyncio.create_task(one(user_id, float(at)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            counts.lost += 1
    await asyncio.gather(*tasks)
    return counts


def row(name: str, counts: Counts, seconds: float, cpu: float) -> Numbers:
    good = sum(took <= GOOD_S * 1_000 for took in counts.pages_ms)
    return {
        "name": name, "goodput": round(good / seconds, 1), "goodput_a_core": round(good / cpu, 1),
        "pages_ms": percentiles(counts.pages_ms or [math.nan]), "refused": len(counts.refused_ms),
        "refused_ms": percentiles(counts.refused_ms or [math.nan]), "degraded": counts.degraded, "lost": counts.lost,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def measure(
    service: Running, people: Sequence[str], times: Sequence[float], seconds: float, *, is_fresh: bool
) -> list[Numbers]:
    """Capacity, then each multiple of it with the capacity again right before, because the machine is not alone."""
    uvloop.run(closed_loop(service.url, people, seconds / 2))  # meets everybody's first page
    rows = []
    for multiple in times:
        cpu, began = service.cpu(), time.perf_counter()
        counts = uvloop.run(closed_loop(service.url, people, seconds))
        capacity = row("capacity", counts, time.perf_counter() - began, service.cpu() - cpu)
        rows.append(capacity)
        rate = multiple * capacity["goodput"]
        rng = np.random.default_rng(int(multiple))
        asked = rng.choice(people, int(rate * seconds) + 1).tolist()
        cpu = service.cpu()
        counts = uvloop.run(open_loop(service.url, asked, rate, seconds, is_fresh=is_fresh))
        flooded = row(f"{multiple:g} times", counts, seconds, service.cpu() - cpu)
        flooded["share"] = round(flooded["goodput"] / capacity["goodput"], 3)
        flooded["share_a_core"] = round(flooded["goodput_a_core"] / capacity["goodput_a_core"], 3)
        rows.append(flooded)
        print(json.dumps(capacity), json.dumps(flooded), sep="\n", flush=True)
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("artifact", type=Path)
    options.add_argument("--checkout", type=Path, default=ROOT, help="of another commit")
    options.add_argument("--times", type=float, nargs="+", default=[2, 5, 10])
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--fresh", action="store_true", help="a new connection for each request of the open loop")
    asked = options.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    contender = _contender(asked.checkout.resolve(), asked.artifact.resolve())
    people = np.resize(np.random.default_rng(7).permutation(contender.user_ids), 200_000).tolist()
    print(f"{_processor()}, {os.cpu_count()} cores, commit {_commit(asked.checkout)}", flush=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var") as folder, running(contender, Path(folder) / "s") as service:
        rows = measure(service, people, asked.times, asked.seconds, is_fresh=asked.fresh)
    print("\n| | pages/s in 1 s | of capacity | by processor | p50; p99 of pages, ms | refused | p99 of refusals, ms |")
    print("|---|---|---|---|---|---|---|")
    for one in rows:
        pages, refused = one["pages_ms"], one["refused_ms"]
        cells = (
            one["name"], one["goodput"], one.get("share", ""), one.get("share_a_core", ""),
            f"{pages['p50']:.0f}; {pages['p99']:.0f}", one["refused"], f"{refused['p99']:.0f}",
        )  # fmt: skip
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
