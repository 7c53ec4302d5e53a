"""
How far colluding accounts move a video: places in the order of popularity, and pages of honest people that hold it.

    python -m benchmarks.flood [--people 1000] [--items 400] [--pages 200]

A world is made, one video in the middle of the popularity order is chosen, and 1, 20 or 200 accounts act on it alone:
2,000 times in all, or 10 times each where that is more. Each time is an impression, a watch to the end, a like and a
share. The accounts are either in the users table, as real ones would be, or unknown to it. `as summed` is the order
that plain sums of confidence would give: what the flood does where nothing saturates. The worlds are synthetic.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from eval.offline.replay import offline_engine
from eval.simulation.world.build import World, generate
from eval.simulation.world.params import WorldParams
from recsys.clock import HOUR, MINUTE
from recsys.data.tables import write_dataset
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.checks import load_market
from recsys.types import Reals
from recsys.user import feedback
from training.params import TrainParams
from training.train import run

CROWDS: Final = (1, 20, 200)
POLICY: Final = Path(__file__).resolve().parents[1] / "policies" / "morocco.yaml"
TIMES_IN_ALL: Final = 2_000
MIN_TIMES_EACH: Final = 10
KINDS: Final = ("impression", "complete", "like", "share")
REQUESTED_AFTER: Final = 18 * HOUR + HOUR // 2  # an evening in Morocco, after the log's end


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Where the video stands of all, from 1, and the share of honest people's pages that hold it."""

    place: int
    place_as_summed: int
    page_share: float


def main() -> None:
    """Prints a row for each crowd."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, default=1_000)
    options.add_argument("--items", type=int, default=400)
    options.add_argument("--pages", type=int, default=200, help="honest people for whom a page is planned")
    options.add_argument("--seed", type=int, default=20261120)
    asked = options.parse_args()
    params = WorldParams(n_items=asked.items, n_users=asked.people, n_events=100 * asked.people, seed=asked.seed)
    world = generate(params)
    with threadpool_limits(1):
        target = _middle_item(world)
        print("accounts    in the users table    place of all    as summed    pages of 20 that hold it")
        for label, is_known, flooded in _floods(world, params, target):
            result = _measure(flooded, params, target, asked.pages)
            share = f"{100 * result.page_share:.1f} %"
            print(f"{label:>8}{is_known:>22}{result.place:>16}{result.place_as_summed:>13}{share:>28}", flush=True)


def _floods(world: World, params: WorldParams, target: str) -> Iterator[tuple[str, str, World]]:
    """The world without and with each crowd: the number of accounts, whether they are known, and the world."""
    yield "none", "-", world
    for is_known in (True, False):
        for n_accounts in CROWDS:
            ids = [f"crowd-{number}" for number in range(n_accounts)]
            users = world.users[:n_accounts].with_columns(user_id=pl.Series(ids)) if is_known else world.users[:0]
            events = _flood_events(ids, target, params.ends_at)
            yield (
                str(n_accounts),
                "yes" if is_known else "no",
                replace(
                    world,
                    users=pl.concat([world.users, users]),
                    events=pl.concat([world.events, events], how="diagonal_relaxed").sort("at"),
                ),
            )


def _flood_events(ids: list[str], target: str, ends_at: int) -> pl.DataFrame:
    times = max(MIN_TIMES_EACH, TIMES_IN_ALL // len(ids))
    rows: list[dict[str, Any]] = [
        {
            "event_id": f"{user_id}-{n}-{kind}",
            "user_id": user_id,
            "item_id": target,
            "kind": kind,
            "at": ends_at - MINUTE * (1 + n),
        }
        for user_id in ids
        for n in range(times)
        for kind in KINDS
    ]
    return pl.DataFrame(rows)


def _middle_item(world: World) -> str:
    """The labelled R0 video in the middle of the order of plain sums."""
    sums = _sums(world)
    is_calm = (world.items["risk_tier"] == "R0").fill_null(False).to_numpy()
    calm = np.flatnonzero(is_calm & (sums > 0))
    return str(world.items["item_id"][int(calm[np.argsort(-sums[calm], kind="stable")][len(calm) // 2])])


def _sums(world: World) -> Reals:
    """(n_items,) the plain sum of everybody's positive confidence, without decay."""
    events = world.events.filter(pl.col("item_id").is_not_null())
    fixed = {kind: max(value, 0.0) for kind, value in feedback.FIXED.items()}
    confidence = pl.when(pl.col("kind") == "view").then(pl.col("watch_fraction").fill_null(0.0)).otherwise(
        pl.col("kind").cast(pl.String).replace_strict(fixed, default=0.0, return_dtype=pl.Float64)
    )  # fmt: skip
    by_item = dict(events.group_by("item_id").agg(confidence.sum()).iter_rows())
    return np.array([by_item.get(item_id, 0.0) for item_id in world.items["item_id"]])


def _measure(world: World, params: WorldParams, target: str, n_pages: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        data, artifact = Path(folder) / "data", Path(folder) / "artifact"
        write_dataset(data, creators=world.creators, items=world.items, users=world.users, events=world.events)
        run(data, artifact, TrainParams(encoder=None, holdout_days=0), params.ends_at + REQUESTED_AFTER)
        loaded = load_artifact(artifact)
        row = list(world.items["item_id"]).index(target)
        scores = loaded.popularity.of(None)[list(loaded.items["item_id"]).index(target)]
        sums = _sums(world)
        return Measured(
            place=1 + int((loaded.popularity.of(None) > scores).sum()),
            place_as_summed=1 + int((sums > sums[row]).sum()),
            page_share=_page_share(loaded, world, params, target, n_pages),
        )


def _page_share(artifact: Artifact, world: World, params: WorldParams, target: str, n_pages: int) -> float:
    """The share of honest people whose first page of 20 holds the video, of those who have not seen it."""
    at = params.ends_at + REQUESTED_AFTER
    engine = offline_engine(artifact, load_market(POLICY), at, [])
    met = {*world.events.filter(pl.col("item_id") == target)["user_id"]}
    people = [user_id for user_id in world.users["user_id"] if user_id not in met and not user_id.startswith("crowd-")]
    item_ids = engine.resources.catalogue_cache.items.item_ids
    holds = 0
    for user_id in people[:n_pages]:
        plan = engine.plan(FeedRequest(user_id=user_id, size=20, request_id=f"flood {user_id}"), at)
        holds += target in [item_ids[n] for n in plan.candidates.item_nos[plan.selection.rows]]
    return holds / max(len(people[:n_pages]), 1)


if __name__ == "__main__":
    main()
