"""The pages that people of a world would get: from the engine, and from the rankings it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse
from worth_worlds import JudgedWorld

from eval.offline.replay import offline_engine
from eval.simulation.worth import PAGE_SIZE, padded
from recsys.feed.engine import Engine
from recsys.messages import FeedRequest
from recsys.models.artifact import NOTHING_SEEN
from recsys.models.popularity import PopularityParams, fit
from recsys.policy.schema import Market
from recsys.types import Ids, Mask, Pages, Reals

PRIOR_IMPRESSIONS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """
    The engine's pages for q people, in rows of the items table, and what could have been on them.

    Shapes: `people` (q,) rows of the users table; `pages` (q, 20); `is_eligible` and `is_local` (q, n_items), what
    every filter lets through and what is local to the viewer. `alerts`: sentences for an operator.
    """

    people: Ids
    pages: Pages
    is_eligible: Mask
    is_local: Mask
    alerts: tuple[str, ...]


def engine_of(world: JudgedWorld, market: Market, *, has_histories: bool = True) -> Engine:
    """The engine over the world's artifact, with empty ledgers. Without histories everybody is a newcomer to it."""
    engine = offline_engine(world.artifact, market, world.at, [])
    if has_histories:
        return engine
    newcomers = replace(engine.resources.model, histories={}, seen=NOTHING_SEEN)
    return replace(engine, resources=replace(engine.resources, model=newcomers))


def serve(world: JudgedWorld, engine: Engine, people: Ids, *, has_seen: bool = True) -> Served:
    """
    A page of 20 for each of these people, as `sanad recommend` plans it: nothing is reserved.

    `has_seen`: what the log says they were shown does not come again.
    """
    of_table = {item_id: row for row, item_id in enumerate(world.items["item_id"])}
    numbered = engine.resources.catalogue_cache.items.item_ids
    rows = np.array([of_table.get(item_id, -1) for item_id in numbered], np.int32)  # by item number
    numbers = np.flatnonzero(rows >= 0)
    in_table = np.argsort(rows[numbers])  # the item number of each row of the table
    pages = np.empty((len(people), PAGE_SIZE), np.int32)
    is_eligible, is_local = np.zeros((2, len(people), len(world.items)), np.bool_)
    alerts: list[str] = []
    for place, person in enumerate(people.tolist()):
        user_id = world.user_ids[person]
        request = FeedRequest(
            user_id=user_id, size=PAGE_SIZE, request_id=f"recommend {user_id}",
            exclude_ids=world.seen[person] if has_seen else (),
        )  # fmt: skip
        plan = engine.plan(request, world.at)
        pages[place] = padded(rows[plan.candidates.item_nos[plan.selection.rows]])
        is_eligible[place] = plan.context.query.is_eligible[numbers][in_table]
        is_local[place] = plan.context.query.nearness.is_local[numbers][in_table]
        alerts += plan.alerts
    return Served(people=people, pages=pages, is_eligible=is_eligible, is_local=is_local, alerts=tuple(alerts))


def completes_before_cutoff(world: JudgedWorld) -> tuple[Ids, Ids]:
    """(n,) people and (n,) items: what was watched to the end, of all that the artifact could learn from."""
    table = world.impressions.filter(pl.col("is_complete"), pl.col("at") < world.cutoff)
    return table["person"].to_numpy().astype(np.int32), table["row"].to_numpy().astype(np.int32)


def popularity(world: JudgedWorld) -> Reals:
    """(n_items,) how many people watched each video to the end."""
    return np.bincount(completes_before_cutoff(world)[1], minlength=len(world.items)).astype(np.float64)


def popularity_of_groups(world: JudgedWorld, groups: Sequence[str]) -> list[Reals]:
    """(n_items,) for each person: what people of their group watched to the end, drawn to what all did."""
    people, items = completes_before_cutoff(world)
    names = sorted({*groups})
    columns = np.array([names.index(group) for group in groups])[people]
    completes = sparse.csr_matrix((np.ones(len(items), np.float32), (items, columns)), (len(world.items), len(names)))
    by_group = fit(completes, names, PopularityParams(max_markets=len(names)))
    return [by_group.of(group).astype(np.float64) for group in groups]


def completion_rate(world: JudgedWorld) -> Reals:
    """
    (n_items,) which share of impressions was watched to the end, drawn to the mean by `PRIOR_IMPRESSIONS`.

    Unlike a count it does not repeat what the old feed chose to show. The same for everybody.
    """
    shown = world.impressions.filter(pl.col("at") < world.cutoff)["row"].to_numpy()
    impressions = np.bincount(shown, minlength=len(world.items))
    completes = popularity(world)
    mean = completes.sum() / max(len(shown), 1)
    return np.asarray((completes + PRIOR_IMPRESSIONS * mean) / (impressions + PRIOR_IMPRESSIONS))
