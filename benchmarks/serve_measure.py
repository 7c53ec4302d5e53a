"""The measures of `benchmarks/serve.py`: services in pairs, one beside its load, and what their numbers say."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any, Final

import numpy as np
from serve_process import CORES, Client, Running

from recsys.progress import Progress
from recsys.types import Reals

KINDS: Final = ("first page", "after ten events", "again")
"""The pages that each person asks for, in this order; in between they react to ten videos of their first page."""

_N_EVENTS: Final = 10
_RESAMPLES: Final = 2_000
_ROUNDS: Final = 3  # of a calibration, of which the fastest counts
Numbers = dict[str, Any]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This process on one core, and afterwards where it was."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_NUMBERS: Final = np.random.default_rng(0).standard_normal((64, 1_000)).astype(np.float32)


def fixed_work() -> float:
    """Milliseconds of processor of a fixed piece of work, half a loop of Python, half NumPy, on the services' core."""

    def once() -> float:
        started = time.thread_time()
        total = 0
        for n in range(30_000):
            total += n & 7
        for _ in range(60):
            np.argsort(_NUMBERS[0])
            _ = _NUMBERS @ _NUMBERS[0]
        return time.thread_time() - started

    with on_core(CORES[-1]):
        return min(once() for _ in range(_ROUNDS)) * 1_000


@dataclass(slots=True)
class Costs:
    """What pages cost one service: milliseconds of processor and of the clock, and what the pages were like."""

    cpu: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    pages: Counter[str] = field(default_factory=Counter)

    def note(self, cpu: float, clock: float, content: bytes) -> None:
        page = json.loads(content)
        self.cpu.append(cpu * 1_000)
        self.clock.append(clock * 1_000)
        self.pages["pages"] += 1
        self.pages["items"] += len(page["items"])
        self.pages["degraded"] += bool(page["degraded"])
        self.pages["short"] += page["shortfall"]["missing"] > 0

    def summary(self) -> Numbers:
        return {"cpu_ms": percentiles(self.cpu), "clock_ms": percentiles(self.clock), **self.pages}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99]) if len(values) else (np.nan, np.nan)
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "mean": round(float(np.mean(values)), 3)}


def ratio_of_pairs(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """The median of after/before over pairs, with a 95 % bootstrap interval."""
    ratios = np.array(after) / np.array(before)
    rng = np.random.default_rng(0)
    medians = np.median(ratios[rng.integers(0, len(ratios), (_RESAMPLES, len(ratios)))], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return {"median": round(float(np.median(ratios)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def ask_both(services: Sequence[Running], ask: Callable[[int], bytes], first: int) -> list[tuple[float, float, bytes]]:
    """
    Asks one service right after the other, `first` first: seconds of processor and of the clock, and the answers.

    A service is charged from before its request until the other has answered, so what it does after its answer counts.
    """
    before = [service.cpu() for service in services]
    took, answers = [0.0] * 2, [b""] * 2
    for n in (first, 1 - first):
        started = time.perf_counter()
        answers[n] = ask(n)
        took[n] = time.perf_counter() - started
    spent = [service.cpu() - used for service, used in zip(services, before, strict=True)]
    return list(zip(spent, took, answers, strict=True))


def pair(services: Sequence[Running], user_ids: Sequence[str], on_progress: Progress) -> Numbers:
    """The same pages of the same people from two services, in pairs whose order alternates."""
    clients = [Client(service.url) for service in services]
    costs = [{kind: Costs() for kind in KINDS} for _ in services]
    calibration = []
    turn = count()
    stage = f"{services[0].contender.name} beside {services[1].contender.name}"
    for n_done, user_id in enumerate(user_ids):
        on_progress(stage, n_done, len(user_ids))
        calibration.append(fixed_work())
        for kind in KINDS:
            answers = ask_both(services, lambda n, user_id=user_id: clients[n].feed(user_id), next(turn) % 2)
            for of_service, answer in zip(costs, answers, strict=True):
                of_service[kind].note(*answer)
            if kind == KINDS[0]:
                for client, (_, _, content) in zip(clients, answers, strict=True):
                    react(client, user_id, content)
    on_progress(stage, len(user_ids), len(user_ids))
    flat = [[cpu for kind in KINDS for cpu in of_service[kind].cpu] for of_service in costs]
    return {
        "services": [
            {**described(service), "all": percentiles(cpu)} | {kind: of_service[kind].summary() for kind in KINDS}
            for service, of_service, cpu in zip(services, costs, flat, strict=True)
        ],
        "ratio": {kind: ratio_of_pairs(*(of_service[kind].cpu for of_service in costs)) for kind in KINDS}
        | {"all": ratio_of_pairs(*flat)},
        "calibration_ms": percentiles(calibration),
        "load": os.getloadavg()[0],
    }


def react(client: Client, user_id: str, content: bytes) -> None:
    """Ten events on the page, as a player sends them: watched, to the end or not, and liked now and then."""
    events = []
    for n, item in enumerate(json.loads(content)["items"][:_N_EVENTS]):
        kind = ("view", "complete", "like", "view")[n % 4]
        watched = {"watch_s": 10.0, "watch_fraction": 0.5} if kind == "view" else {}
        event_id = f"{user_id} {n}"
        events.append({"event_id": event_id, "user_id": user_id, "item_id": item["item_id"], "kind": kind, **watched})
    if events:
        client.post("/v1/events", {"events": events})


def many_kinds(n_feeds: int, n_kinds: int, user_ids: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """People and contexts: `n_kinds` combinations of region, languages in order, and age, over and over."""
    rng = np.random.default_rng(5)
    languages = ("ary", "fr", "ar", "ary-Latn", "zgh", "zgh-Latn", "en")
    kinds: dict[str, Mapping[str, Any]] = {}
    while len(kinds) < n_kinds:
        spoken = rng.permutation(languages)[: rng.integers(1, 5)].tolist()
        band = ("18+", "18+", "16-17", "13-15")[rng.integers(4)]
        context = {"country": "MA", "region": f"MA-{rng.integers(1, 13):02}", "languages": spoken, "age_band": band}
        kinds.setdefault(json.dumps(context), context)
    contexts = list(kinds.values())
    for n in range(n_feeds):
        yield user_ids[n % len(user_ids)], contexts[n % n_kinds]


def alone(service: Running, user_ids: Sequence[str], n_feeds: int, n_kinds: int, on_progress: Progress) -> Numbers:
    """Pages of many kinds of people from one service, one after the other, and its memory as they grow in number."""
    client, costs, calibration = Client(service.url), Costs(), []
    memory = [{"feeds": 0, **memory_of(service)}]
    stage = f"{service.contender.name}, {n_kinds:,} kinds of people"
    for n, (user_id, context) in enumerate(many_kinds(n_feeds, n_kinds, user_ids), start=1):
        on_progress(stage, n, n_feeds)
        before, started = service.cpu(), time.perf_counter()
        content = client.feed(user_id, context)
        took = time.perf_counter() - started
        costs.note(service.cpu() - before, took, content)
        if n % max(1, n_feeds // 10) == 0:
            memory.append({"feeds": n, **memory_of(service)})
            calibration.append(fixed_work())
    return {**costs.summary(), "memory_mb": memory, "calibration_ms": percentiles(calibration)}


def described(service: Running) -> Numbers:
    contender = service.contender
    return {"name": contender.name, "n_items": contender.n_items, "loops": service.loops}


def memory_of(service: Running) -> dict[str, float]:
    memory = service.memory()
    return {"private": memory.private, "resident": memory.resident}


def closed_loop(service: Running, user_ids: Sequence[str], n_connections: int, on_progress: Progress) -> Numbers:
    """Every connection asks again as soon as it is answered: how many pages a service makes when it is saturated."""
    on_progress(f"{service.contender.name}, saturated", 0, None)
    parts = [user_ids[n::n_connections] for n in range(n_connections)]
    before, started = service.cpu(), time.perf_counter()
    with ThreadPoolExecutor(n_connections) as pool:
        list(pool.map(lambda part: ask_in_turn(Client(service.url), part), parts))
    seconds, cpu = time.perf_counter() - started, service.cpu() - before
    return {"feeds_a_second": round(len(user_ids) / seconds, 1), "feeds_a_core": round(len(user_ids) / cpu, 1)}


def ask_in_turn(client: Client, user_ids: Sequence[str]) -> None:
    for user_id in user_ids:
        client.feed(user_id)


def open_loop(
    service: Running, user_ids: Sequence[str], rate: float, n_connections: int, on_progress: Progress
) -> Numbers:
    """
    Requests that arrive at random, `rate` a second, whether the service keeps up or not. A page's time begins when it
    was due, so waiting in line counts.
    """
    on_progress(f"{service.contender.name}, open loop of {rate:.0f} feeds/s", 0, None)
    due = np.cumsum(np.random.default_rng(3).exponential(1 / rate, len(user_ids)))
    took = np.zeros(len(due))
    lock, waiting, start = Lock(), iter(range(len(due))), time.perf_counter() + 0.1

    def work(client: Client) -> None:
        while True:
            with lock:
                n = next(waiting, None)
            if n is None:
                return
            time.sleep(max(0.0, start + due[n] - time.perf_counter()))
            client.feed(user_ids[n])
            took[n] = time.perf_counter() - start - due[n]

    with ThreadPoolExecutor(n_connections) as pool:
        list(pool.map(work, [Client(service.url) for _ in range(n_connections)]))
    answered: Reals = took * 1_000
    return {"rate": round(rate, 1), "clock_ms": percentiles(answered.tolist()), "load": os.getloadavg()[0]}
