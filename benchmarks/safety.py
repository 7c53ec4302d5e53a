"""
The effect of the caps: a million impressions through the real engine, recounted by brute force; and other rankers.

    python benchmarks/safety.py [--impressions 1000000] [--seeds 10] [--processes 2] [--plot FILE.svg]
    python benchmarks/safety.py --attack flood --seeds 0         # colluding accounts; or copycats

First part: twelve personas, watching by their own taste or blindly, scroll for 7, 14 or 28 days through the engine.
Apps are at their worst: discarded pages, repeats, slow clocks, late events, five surfaces, lists of R1 and R2 items.
All deliveries are recounted from the answers, and must violate no cap. `--impressions 20000` takes a minute. Second
part: the same personas with ordinary apps through rankers without a ledger, which learn from all engagement. This is a
simulation on a synthetic world: it shows mechanisms, not effect sizes, and nothing about health.
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

import numpy as np
import polars as pl
from safety_attacks import ATTACKS
from safety_tables import print_exposures, print_overview, print_shares
from threadpoolctl import threadpool_limits

from eval.simulation.baselines import BaselineFeed, CapsOnly, CatalogueLabels
from eval.simulation.closed_loop import (
    STRESS_HABITS,
    EngineFeed,
    Feed,
    Habits,
    SharedTruth,
    simulate_person,
    without_loop_breaker,
)
from eval.simulation.outcomes import ExposureTotals, TrueShares, measure_exposure, measure_shares
from eval.simulation.personas import PERSONAS, Member, Persona, make_members
from eval.simulation.rankers import RANKERS, score_only
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import Truth, World
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
from recsys.stores.protocols import Stores
from recsys.types import Mask, Reals, Viewer
from recsys.user.state import UserState
from recsys.vocabulary import FAMILIES, TOPICS
from serving.stores.open import open_store, state_of
from training.params import TrainParams
from training.train import run

POLICY = Path(__file__).resolve().parents[1] / "policies" / "morocco.yaml"
WORLD = WorldParams(n_items=12_000, n_users=2_000, n_events=200_000)
DAYS = (7, 14, 28)  # of the first part, in turn
SHORT_DAYS = (1, 2, 7)  # so that few impressions still come from every persona
MIN_IMPRESSIONS_FOR_DAYS = 200_000
ORDINARY = Habits(sizes=(15,), pages=(1, 3))
LOOP_DAYS = 10  # of the second part; with more, people in a loop run out of unseen R2 items
ENGINE_FEEDS: dict[str, Callable[[UserState], UserState] | None] = {
    "Sanad": None,
    "Sanad, loop breaker off": without_loop_breaker,
}
SCORE_ALONE = "the models' score alone"
CAPPED = {"watch time, Sanad's caps within a page": False, "watch time, Sanad's caps and ledger": True}
POLICIES = (SCORE_ALONE, *RANKERS, *CAPPED, *ENGINE_FEEDS)


@dataclass(slots=True, kw_only=True, eq=False)
class Lab:
    """What a process needs: the world, and the engines over it with their stores. `blind` has no R1 and R2 labels."""

    world: World
    market: Market
    seed: int
    labelled: tuple[Engine, Stores]
    blind: tuple[Engine, Stores]
    labels: CatalogueLabels


LAB: list[Lab] = []  # one per process, set up once


def prepare(folder: Path, attack: str | None) -> World:
    """Two trained artifacts over one world: `labelled`, and `blind`, which has no R1 and R2 labels."""
    world = generate(WORLD) if attack is None else ATTACKS[attack](generate(WORLD))
    is_never_served = pl.col("risk_tier").is_in(["R3", "R4"])
    blind = world.items.with_columns(
        risk_tier=pl.when(is_never_served).then("risk_tier").otherwise(pl.lit("R0")),
        risk_family=pl.when(is_never_served).then("risk_family"),
        risk_source=pl.lit("platform"),
        risk_confidence=pl.lit(1.0),
    )
    for name, items in (("labelled", world.items), ("blind", blind)):
        data = folder / name / "data"
        write_dataset(data, creators=world.creators, items=items, users=world.users, events=world.events)
        run(data, folder / name / "artifact", TrainParams(encoder=None, holdout_days=0), world.params.ends_at)
    return replace(world, events=world.events.head(0))


def set_up(folder: Path, world: World, seed: int, state: str | None) -> None:
    """Builds the engines of a process: the labelled one over the state at an address, where one is named."""
    threadpool_limits(1)
    market = load_market(POLICY)
    tier, family = world.items["risk_tier"].to_list(), world.items["risk_family"].to_list()
    ids, topics = world.items["item_id"].to_list(), world.items["topics"].to_list()
    first_topics = [int(names[0][1:]) if names else 0 for names in topics]
    themes = [len(TOPICS) + 1 + FAMILIES.index(f) if f else t for f, t in zip(family, first_topics, strict=True)]
    labels = CatalogueLabels(
        theme=dict(zip(ids, themes, strict=True)),
        is_r2={i: t in (None, "R2") for i, t in zip(ids, tier, strict=True)},
        n_themes=len(TOPICS) + 1 + len(FAMILIES),
    )
    stores = MemoryStore().stores if state is None else open_store(state_of(state)).stores
    engines = [
        _engine(folder / name / "artifact", market, world.params.ends_at, of)
        for name, of in (("labelled", stores), ("blind", MemoryStore().stores))
    ]
    LAB.append(Lab(world=world, market=market, seed=seed, labelled=engines[0], blind=engines[1], labels=labels))


def _engine(artifact: Path, market: Market, at: Millis, stores: Stores) -> tuple[Engine, Stores]:
    ids = itertools.count()
    engine = build_engine(
        load_artifact(artifact), market, Experiments(), stores=stores,
        key=b"a benchmark", new_id=lambda: f"r{next(ids)}", at=at, alert=_refuse_alert,
    )  # fmt: skip
    return engine, stores


def _refuse_alert(sentence: str) -> None:
    if sentence.startswith("local supply in"):
        return  # about the catalogue, not the engine
    raise SystemExit(f"the engine raised an alert: {sentence}")


def _shared(world: World, truth: Truth) -> SharedTruth:
    ids = world.items["item_id"].to_list()
    return SharedTruth(
        truth=truth, item_ids=tuple(ids), creator_ids=tuple(world.items["creator_id"].to_list()),
        row_of={item_id: row for row, item_id in enumerate(ids)}, risky=np.flatnonzero(world.truth.items.tier == 2),
        heavy=np.flatnonzero(np.isin(world.truth.items.tier, (1, 2))),
    )  # fmt: skip


def simulate_engine(turn: int, days: int) -> ExposureTotals:
    """One person through the engine, with apps at their worst; the personas take turns."""
    lab = LAB[0]
    engine, store = lab.labelled
    rng = np.random.default_rng([lab.seed, 1, turn])
    kinds = (bool(turn // len(PERSONAS) % 2),)
    truth, members = make_members(lab.world, [PERSONAS[turn % len(PERSONAS)]], 1, rng, kinds=kinds)
    member = replace(members[0], user_id=f"{members[0].user_id}-{turn}")
    starts_at = lab.world.params.ends_at
    shared, feed = _shared(lab.world, truth), EngineFeed(engine=engine)
    log = simulate_person(member, shared, feed, STRESS_HABITS, starts_at=starts_at, days=days, rng=rng)
    totals = measure_exposure(log, lab.market, _records(store, member.user_id))
    totals.raised.update({reason.signal for reason in store.users.read(member.user_id).state.safety.loop.reasons})
    store.users.erase(member.user_id, starts_at, None)
    return totals


def _records(store: Stores, user_id: str) -> Callable[[str], Decision]:
    def record(request_id: str) -> Decision:
        stored = store.users.read(user_id, request_id).answer
        assert stored is not None, f"found no record of {request_id}, expected one for every page"
        return unpack(stored.decision)

    return record


def simulate_policy(task: tuple[str, str, int]) -> tuple[str, str, TrueShares]:
    """One person with ordinary apps through one policy."""
    policy, name, seed = task
    lab, persona = LAB[0], next(p for p in PERSONAS if p.name == name)
    rng = np.random.default_rng([lab.seed, 3, seed])
    truth, members = make_members(lab.world, [persona], 1, rng, kinds=(False,))
    member = replace(members[0], user_id=f"{name}-{seed}-{POLICIES.index(policy)}")
    feed, store = _feed(lab, policy)
    starts_at, shared = lab.world.params.ends_at, _shared(lab.world, truth)
    log = simulate_person(member, shared, feed, ORDINARY, starts_at=starts_at, days=LOOP_DAYS, rng=rng)
    store.users.erase(member.user_id, starts_at, None)
    tier = lab.world.truth.items.tier
    return policy, name, measure_shares(
        log, shared, _is_local(lab, member, persona), catalogue_r2=float(np.mean(tier[tier <= 2] == 2)),
        starts_at=starts_at, days=LOOP_DAYS,
    )  # fmt: skip


def _feed(lab: Lab, policy: str) -> tuple[Feed, Stores]:
    if policy in ENGINE_FEEDS:
        return EngineFeed(engine=lab.labelled[0], after_page=ENGINE_FEEDS[policy]), lab.labelled[1]
    caps = CapsOnly(labelled=lab.labelled[0], keeps_ledger=CAPPED[policy]) if policy in CAPPED else None
    baseline = BaselineFeed(
        engine=lab.blind[0], ranker=RANKERS.get(policy, score_only), labels=lab.labels,
        learns_themes=policy != SCORE_ALONE, caps=caps,
    )  # fmt: skip
    return baseline, lab.blind[1]


def _is_local(lab: Lab, member: Member, persona: Persona) -> Mask:
    """(n_items,) which rows of the items table are near the person."""
    items = lab.labelled[0].resources.catalogue_cache.items
    viewer = Viewer(
        user_id=member.user_id, country=persona.country, region=member.region, languages=member.languages,
        age_band=persona.age_band, personalised=True,
    )  # fmt: skip
    numbers = [items.index[item_id] for item_id in lab.world.items["item_id"]]
    return nearness(viewer, items, lab.market).is_local[numbers]


def simulate_until(pool: ProcessPoolExecutor, n_impressions: int, processes: int) -> Iterator[ExposureTotals]:
    """People in a fixed order until so many impressions are delivered. Which are counted does not depend on speed."""
    delivered, turns, days = 0, itertools.count(), DAYS if n_impressions >= MIN_IMPRESSIONS_FOR_DAYS else SHORT_DAYS
    waiting: deque[Future[ExposureTotals]] = deque()
    while delivered < n_impressions:
        while len(waiting) < 8 * processes:  # people differ in length; none waits for the longest
            turn = next(turns)
            waiting.append(pool.submit(simulate_engine, turn, days[(turn + turn // len(days)) % len(days)]))
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
    parser.add_argument("--attack", choices=sorted(ATTACKS), help="what was done to the world before the training")
    parser.add_argument("--personas", default="", help="only these of the second part, separated by commas")
    parser.add_argument("--state", help="an empty state on a server for the engine, as sanad serve takes one")
    parser.add_argument("--plot", type=Path, help="write the R2 share over days here (.svg or .png)")
    options = parser.parse_args()
    print(f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        world = prepare(Path(folder), options.attack)
        print(f"a world of {len(world.items):,} videos, trained twice in {time.perf_counter() - started:.0f} s")
        context = multiprocessing.get_context("spawn")
        arguments = (Path(folder), world, options.seed, options.state)
        with ProcessPoolExecutor(options.processes, context, initializer=set_up, initargs=arguments) as pool:
            is_clean = _run_first_part(pool, options.impressions, options.processes) if options.impressions else True
            if options.seeds:
                _run_second_part(pool, options.seeds, [n for n in options.personas.split(",") if n], options.plot)
    return 0 if is_clean else 1


def _run_first_part(pool: ProcessPoolExecutor, n_impressions: int, processes: int) -> bool:
    started = time.perf_counter()
    totals = list(simulate_until(pool, n_impressions, processes))
    print_exposures(totals, load_market(POLICY), time.perf_counter() - started)
    return not any(person.violations for person in totals)


def _run_second_part(pool: ProcessPoolExecutor, n_seeds: int, only: Sequence[str], plot: Path | None) -> None:
    names = [p.name for p in PERSONAS if not only or p.name in only]
    tasks = [(policy, name, seed) for name in names for policy in POLICIES for seed in range(n_seeds)]
    results: list[tuple[str, str, TrueShares]] = []
    for result in pool.map(simulate_policy, tasks, chunksize=4):
        results.append(result)
        print(f"\r  {len(results):>6,} of {len(tasks):,} people", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_shares(results, names, POLICIES)
    print_overview(results, names, POLICIES)
    if plot:
        from safety_plot import draw  # matplotlib is slow to import and only needed here

        draw(_daily(results, "engaged-distress"), plot)


def _daily(results: Sequence[tuple[str, str, TrueShares]], persona: str) -> dict[str, Reals]:
    """By policy (people, days) the R2 share of each day."""
    return {
        p: np.array([s.daily for policy, who, s in results if (policy, who) == (p, persona)])
        for p in POLICIES
        if p != "Sanad, loop breaker off"
    }


if __name__ == "__main__":
    sys.exit(main())
