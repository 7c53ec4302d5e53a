"""
What the caps do: a million impressions through the real engine, counted again by brute force, beside other rankers.

    python benchmarks/safety.py [--impressions 1000000] [--seeds 10] [--processes 2] [--plot FILE.svg]

First part: twelve kinds of people, each watching by their own taste or blindly, scroll for 7, 14 or 28 days through the
engine, with apps at their worst: pages thrown away, repeats, slow clocks, late events, five surfaces, lists of R1 and
R2 items alone. All they were shown is counted again from the answers, and must break nothing. `--impressions 20000`
takes a minute. Second part: the same people with ordinary apps through rankers without a ledger, which learn from all
engagement. A simulation on a synthetic world: it shows mechanisms, not effect sizes, and nothing about health.
"""

import argparse
import itertools
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safety_tables import print_exposures, print_overview, print_shares
from threadpoolctl import threadpool_limits

from eval.simulation.baselines import RANKERS, Baseline, Caps, Labels, score_only
from eval.simulation.closed_loop import ROUGH, Feed, Habits, Sanad, Stage, live, without_loop
from eval.simulation.exposure import Exposure, Shares, exposure_of, shares_of
from eval.simulation.personas import PERSONAS, Member, Persona, crowd
from eval.simulation.world.build import generate
from eval.simulation.world.model import Truth, World
from eval.simulation.world.params import WorldParams
from recsys.catalogue.locality import nearness
from recsys.clock import Millis
from recsys.data.tables import write_dataset
from recsys.experiments.payload import Experiments
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine
from recsys.feed.record import Decision, unpack
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.stores.memory import MemoryStore
from recsys.types import Mask, Viewer
from recsys.vocabulary import FAMILIES, TOPICS
from training.train import TrainParams, run

POLICY = Path(__file__).resolve().parents[1] / "policies" / "morocco.yaml"
WORLD = WorldParams(n_items=12_000, n_users=2_000, n_events=200_000)
DAYS = (7, 14, 28)  # of the first part; people take turns
SHORT_DAYS = (1, 2, 7)  # so that few impressions still come from every persona
LONG_FROM = 200_000
ORDINARY = Habits(sizes=(15,), pages=(1, 3))
LOOP_DAYS = 10  # of the second part; on more days those who loop run out of R2 items they have not seen
OURS = "Sanad"
WITHOUT: dict[str, Callable[[Any], Any] | None] = {
    OURS: None,
    "Sanad, loop breaker off": without_loop,
}
PLAIN = "the models' score alone"
CAPPED = {"watch time, Sanad's caps within a page": False, "watch time, Sanad's caps and ledger": True}
POLICIES = (PLAIN, *RANKERS, *CAPPED, *WITHOUT)


@dataclass(slots=True, kw_only=True, eq=False)
class Lab:
    """What a process needs: the world, and the engines over it with their stores."""

    world: World
    market: Market
    seed: int
    labelled: tuple[Engine, MemoryStore]
    blind: tuple[Engine, MemoryStore]
    labels: Labels


LAB: list[Lab] = []  # one per process, set up once


def prepare(folder: Path) -> World:
    """Two trained artifacts over one world: `labelled`, and `blind`, which was given no R1 and R2 labels."""
    world = generate(WORLD)
    kept = pl.col("risk_tier").is_in(["R3", "R4"])
    blind = world.items.with_columns(
        risk_tier=pl.when(kept).then("risk_tier").otherwise(pl.lit("R0")),
        risk_family=pl.when(kept).then("risk_family"),
        risk_source=pl.lit("platform"),
        risk_confidence=pl.lit(1.0),
    )
    for name, items in (("labelled", world.items), ("blind", blind)):
        data = folder / name / "data"
        write_dataset(data, creators=world.creators, items=items, users=world.users, events=world.events)
        run(data, folder / name / "artifact", TrainParams(encoder=None, holdout_days=0), world.params.ends_at)
    return replace(world, events=world.events.head(0))


def set_up(folder: Path, world: World, seed: int) -> None:
    """Puts the engines of a process together."""
    threadpool_limits(1)
    market = load_market(POLICY)
    tier, family = world.items["risk_tier"].to_list(), world.items["risk_family"].to_list()
    ids, topics = world.items["item_id"].to_list(), world.items["topics"].to_list()
    first = [int(mine[0][1:]) if mine else 0 for mine in topics]
    themes = [len(TOPICS) + 1 + FAMILIES.index(f) if f else t for f, t in zip(family, first, strict=True)]
    labels = Labels(
        theme=dict(zip(ids, themes, strict=True)),
        is_r2={i: t in (None, "R2") for i, t in zip(ids, tier, strict=True)},
        n_themes=len(TOPICS) + 1 + len(FAMILIES),
    )
    engines = [_engine(folder / name / "artifact", market, world.params.ends_at) for name in ("labelled", "blind")]
    LAB.append(Lab(world=world, market=market, seed=seed, labelled=engines[0], blind=engines[1], labels=labels))


def _engine(artifact: Path, market: Market, at: Millis) -> tuple[Engine, MemoryStore]:
    store, ids = MemoryStore(), itertools.count()
    engine = build_engine(
        load_artifact(artifact), market, Experiments(), users=store.users, log=store.events, catalogue=store.catalogue,
        key=b"a benchmark", new_id=lambda: f"r{next(ids)}", at=at, alert=_alerted,
    )  # fmt: skip
    return engine, store


def _alerted(sentence: str) -> None:
    if sentence.startswith("local supply in"):
        return  # of the catalogue, and no fault of the engine
    raise SystemExit(f"the engine raised an alert: {sentence}")


def _stage(world: World, truth: Truth) -> Stage:
    ids = world.items["item_id"].to_list()
    return Stage(
        truth=truth, item_ids=tuple(ids), creator_ids=tuple(world.items["creator_id"].to_list()),
        row_of={item_id: row for row, item_id in enumerate(ids)}, risky=np.flatnonzero(world.truth.items.tier == 2),
        heavy=np.flatnonzero(np.isin(world.truth.items.tier, (1, 2))),
    )  # fmt: skip


def expose(turn: int, days: int) -> Exposure:
    """One person through the engine, with apps at their worst; the personas take turns."""
    lab = LAB[0]
    engine, store = lab.labelled
    rng = np.random.default_rng([lab.seed, 1, turn])
    kinds = (bool(turn // len(PERSONAS) % 2),)
    truth, members = crowd(lab.world, [PERSONAS[turn % len(PERSONAS)]], 1, rng, kinds=kinds)
    member = replace(members[0], user_id=f"{members[0].user_id}-{turn}")
    starts_at = lab.world.params.ends_at
    life = live(member, _stage(lab.world, truth), Sanad(engine=engine), ROUGH, starts_at=starts_at, days=days, rng=rng)
    found = exposure_of(life, lab.market, _records(store, member.user_id))
    found.raised.update({reason.signal for reason in store.users.read(member.user_id).state.safety.loop.reasons})
    store.users.erase(member.user_id, starts_at, None)
    return found


def _records(store: MemoryStore, user_id: str) -> Callable[[str], Decision]:
    def record(request_id: str) -> Decision:
        stored = store.users.read(user_id, request_id).answer
        assert stored is not None, f"found no record of {request_id}, expected one for every page"
        return unpack(stored.decision)

    return record


def compare(task: tuple[str, str, int]) -> tuple[str, str, Shares]:
    """One person with ordinary apps through one policy."""
    policy, name, seed = task
    lab, persona = LAB[0], next(p for p in PERSONAS if p.name == name)
    rng = np.random.default_rng([lab.seed, 3, seed])
    truth, members = crowd(lab.world, [persona], 1, rng, kinds=(False,))
    member = replace(members[0], user_id=f"{name}-{seed}-{POLICIES.index(policy)}")
    service, store = _service(lab, policy)
    starts_at, stage = lab.world.params.ends_at, _stage(lab.world, truth)
    life = live(member, stage, service, ORDINARY, starts_at=starts_at, days=LOOP_DAYS, rng=rng)
    store.users.erase(member.user_id, starts_at, None)
    tier = lab.world.truth.items.tier
    return policy, name, shares_of(
        life, stage, _near(lab, member, persona), catalogue_r2=float(np.mean(tier[tier <= 2] == 2)),
        starts_at=starts_at, days=LOOP_DAYS,
    )  # fmt: skip


def _service(lab: Lab, policy: str) -> tuple[Feed, MemoryStore]:
    if policy in WITHOUT:
        return Sanad(engine=lab.labelled[0], forget=WITHOUT[policy]), lab.labelled[1]
    caps = Caps(labelled=lab.labelled[0], keeps_ledger=CAPPED[policy]) if policy in CAPPED else None
    baseline = Baseline(
        engine=lab.blind[0], ranker=RANKERS.get(policy, score_only), labels=lab.labels,
        learns_themes=policy != PLAIN, caps=caps,
    )  # fmt: skip
    return baseline, lab.blind[1]


def _near(lab: Lab, member: Member, persona: Persona) -> Mask:
    """(n_items,) which rows of the items table are near the person."""
    items = lab.labelled[0].resources.catalogue_cache.items
    viewer = Viewer(
        user_id=member.user_id, country=persona.country, region=member.region, languages=member.languages,
        age_band=persona.age_band, personalised=True,
    )  # fmt: skip
    numbers = [items.index[item_id] for item_id in lab.world.items["item_id"]]
    return nearness(viewer, items, lab.market).is_local[numbers]


def exposures(pool: ProcessPoolExecutor, wanted: int, processes: int) -> Iterator[Exposure]:
    """People in a fixed order until so many impressions are delivered. Which are counted does not depend on speed."""
    delivered, turns, days = 0, itertools.count(), DAYS if wanted >= LONG_FROM else SHORT_DAYS
    waiting: deque[Future[Exposure]] = deque()
    while delivered < wanted:
        while len(waiting) < 8 * processes:  # lives differ in length; nobody waits for the longest
            turn = next(turns)
            waiting.append(pool.submit(expose, turn, days[(turn + turn // len(days)) % len(days)]))
        exposure = waiting.popleft().result()
        delivered += exposure.n
        yield exposure
        print(f"\r  {delivered:>10,} impressions", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for future in waiting:
        future.cancel()


def main() -> int:
    """Runs both parts; 1 when anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--impressions", type=int, default=1_000_000, help="0 leaves the first part out")
    parser.add_argument("--seeds", type=int, default=10, help="people per persona and policy; 0 leaves that part out")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--personas", default="", help="only these of the second part, separated by commas")
    parser.add_argument("--plot", type=Path, help="write the R2 share over days here (.svg or .png)")
    said = parser.parse_args()
    print(f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        world = prepare(Path(folder))
        print(f"a world of {len(world.items):,} videos, trained twice in {time.perf_counter() - started:.0f} s")
        context = multiprocessing.get_context("spawn")
        arguments = (Path(folder), world, said.seed)
        with ProcessPoolExecutor(said.processes, context, initializer=set_up, initargs=arguments) as pool:
            is_clean = _first(pool, said.impressions, said.processes) if said.impressions else True
            if said.seeds:
                _second(pool, said.seeds, [n for n in said.personas.split(",") if n], said.plot)
    return 0 if is_clean else 1


def _first(pool: ProcessPoolExecutor, wanted: int, processes: int) -> bool:
    started = time.perf_counter()
    found = list(exposures(pool, wanted, processes))
    print_exposures(found, load_market(POLICY), time.perf_counter() - started)
    return not any(exposure.violations for exposure in found)


def _second(pool: ProcessPoolExecutor, n_seeds: int, only: Sequence[str], plot: Path | None) -> None:
    names = [p.name for p in PERSONAS if not only or p.name in only]
    tasks = [(policy, name, seed) for name in names for policy in POLICIES for seed in range(n_seeds)]
    results: list[tuple[str, str, Shares]] = []
    for result in pool.map(compare, tasks, chunksize=4):
        results.append(result)
        print(f"\r  {len(results):>6,} of {len(tasks):,} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_shares(results, names, POLICIES)
    print_overview(results, names, POLICIES)
    if plot:
        from safety_plot import draw  # matplotlib is slow to import and only needed here

        draw(_daily(results, "engaged-distress"), plot)


def _daily(results: Sequence[tuple[str, str, Shares]], persona: str) -> dict[str, np.ndarray[Any, Any]]:
    """By policy (people, days) the R2 share of each day."""
    return {
        p: np.array([s.daily for policy, who, s in results if (policy, who) == (p, persona)])
        for p in POLICIES
        if p != "Sanad, loop breaker off"
    }


if __name__ == "__main__":
    sys.exit(main())
