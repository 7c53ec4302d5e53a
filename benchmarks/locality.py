"""
The time that locality adds to a feed: nearness of the catalogue (cached for each kind of viewer), the creators' counts,
the floor in the slot loop, and the same feeds with and without all of it.

    python benchmarks/locality.py [--items 20000] [--feeds 300]
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.catalogue.locality import nearness
from recsys.clock import from_text
from recsys.data.tables import write_dataset
from recsys.experiments.payload import Experiments
from recsys.feed.attribution import exposure_of_page
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine, feed
from recsys.feed.pipeline import for_surface, recommend
from recsys.feed.slate import select
from recsys.messages import FeedRequest
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.stores.memory import MemoryStore
from training.params import TrainParams
from training.train import run

ROOT = Path(__file__).resolve().parents[1]
AT = from_text("2026-11-20T18:30:00Z")


def engine_of(folder: Path, market: Market) -> Engine:
    """An engine over memory."""
    store = MemoryStore()
    return build_engine(
        load_artifact(folder), market, Experiments(), stores=store.stores,
        key=b"benchmark", new_id=lambda: "r", at=AT,
    )  # fmt: skip


def millis(work: Callable[[], object], times: int) -> list[float]:
    """Processor time of each call in milliseconds."""
    times_ms = []
    for _ in range(times):
        began = process_time()
        work()
        times_ms.append(1_000 * (process_time() - began))
    return times_ms


def print_times(name: str, times_ms: list[float]) -> None:
    """A line: median and 90th percentile."""
    print(f"{name:58s} {statistics.median(times_ms):7.3f} ms  p90 {np.quantile(times_ms, 0.9):7.3f} ms")


def main() -> None:
    """Makes a world once, then measures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--feeds", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "locality")
    options = parser.parse_args()
    artifact = prepare(options.folder, options.items)
    market = load_market(ROOT / "policies" / "morocco.yaml")
    engine = engine_of(artifact, market)
    measure_parts(engine, market)
    without = replace(
        market,
        locality=replace(market.locality, floor=0.0, target=0.0, local_from=1.0, scores={"foreign": 0.0}),
        weights={**market.weights, "local": 0.0},
    )
    engines = {"with locality": engine, "without": engine_of(artifact, without)}
    measure_feeds(engines, [f"person-{n}" for n in range(options.feeds)])


def prepare(folder: Path, n_items: int) -> Path:
    """The artifact of a world of this size; made at the first run."""
    artifact = folder / f"{n_items}"
    if not artifact.exists():
        world = generate(WorldParams(n_items=n_items, n_users=1_000, n_events=100_000))
        data = folder / f"data-{n_items}"
        write_dataset(data, creators=world.creators, items=world.items, users=world.users, events=world.events)
        run(data, artifact, TrainParams(encoder=None, holdout_days=0, ranker=None), AT)
    return artifact


def measure_parts(engine: Engine, market: Market) -> None:
    """The parts of a page that locality adds: nearness, the slot loop with a floor, and the creators' counts."""
    context = engine.context(FeedRequest(user_id="casa-adult", request_id="r"), AT)
    query = context.query
    ranked = recommend(for_surface("for_you"), query).candidates
    selections = {}

    def page(floor: float) -> None:
        selections[floor] = select(
            ranked, ledger=context.state.safety.ledger, limits=replace(query.limits, local_floor=floor),
            supply=context.supply, supply_factor=1.5, size=20, at=AT, rng=np.random.default_rng(0), explore_slots=1,
        )  # fmt: skip

    once = millis(lambda: nearness(query.viewer, query.items, market), 50)
    print_times("nearness of the whole catalogue, once a kind of viewer", once)
    print_times("the slot loop without a local floor", millis(lambda: page(0.0), 100))
    print_times("the slot loop with the local floor", millis(lambda: page(0.3), 100))
    counts = millis(lambda: exposure_of_page(query.items, ranked, selections[0.3], query.viewer, market, AT), 200)
    print_times("what a page adds to the counts", counts)


def measure_feeds(engines: Mapping[str, Engine], people: Sequence[str]) -> None:
    """The first page of each person, with locality and without, in turn."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for name, engine in engines.items():  # the first page of a kind of viewer makes its tables
        for person in people[:5]:
            feed(engine, FeedRequest(user_id=person, request_id=f"warm-{name}"), AT)
    for person in people:
        for name, engine in engines.items():
            request = FeedRequest(user_id=person, request_id="r1")
            times[name] += millis(lambda engine=engine, request=request: feed(engine, request, AT), 1)
    for name, milliseconds in times.items():
        print_times(f"a feed of 20 {name}", milliseconds)
    gaps = [a - b for a, b in zip(times["with locality"], times["without"], strict=True)]
    print_times("difference, the same person's first page", gaps)


if __name__ == "__main__":
    main()
