"""Attacks on a world before anything is trained on it: what colluding accounts and copycats would do."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Final

import numpy as np
import polars as pl

from eval.simulation.world.truth import ItemTruth, Truth, World
from recsys.clock import MINUTE

N_ACCOUNTS: Final = 200
N_FLOODED: Final = 40  # videos of R1 and R2 that the accounts watch to the end, again and again
N_TIMES: Final = 5
N_COPIED: Final = 400  # calm videos whose words and length somebody else uploads again, labelled R2 or R3


def flooded(world: World) -> World:
    """Accounts that nobody knows watch some R1 and R2 videos to the end, and like them, many times on the last day."""
    risky = world.items.filter(pl.col("risk_tier").is_in(["R1", "R2"]))["item_id"].head(N_FLOODED).to_list()
    end = world.params.ends_at - MINUTE
    rows = [
        (f"flood-{account}-{item}-{kind}-{turn}", f"flood-{account}", item, kind, end - 1_000 * turn)
        for account in range(N_ACCOUNTS)
        for item in risky
        for turn in range(N_TIMES)
        for kind in ("impression", "complete", "like")
    ]
    schema = {"event_id": pl.String, "user_id": pl.String, "item_id": pl.String, "kind": pl.String, "at": pl.Int64}
    events = pl.DataFrame(rows, schema=schema, orient="row")
    both = pl.concat([world.events, events], how="diagonal").select(world.events.columns)
    return replace(world, events=both.sort("at", "event_id"))


def copied(world: World) -> World:
    """
    Other creators upload the words and the length of calm videos again, under labels of R2 and R3 by turns; a third of
    them the very file, by its hash.
    """
    rng = np.random.default_rng([world.params.seed, 9])
    calm = np.flatnonzero((world.items["risk_tier"] == "R0").fill_null(False).to_numpy())
    rows = np.sort(rng.choice(calm, min(N_COPIED, len(calm)), replace=False))
    number = np.arange(len(rows))
    creators = world.creators["creator_id"].to_list()
    copies = world.items[rows.tolist()].with_columns(
        item_id=pl.Series([f"copy{n}" for n in number]),
        creator_id=pl.Series([creators[int(n)] for n in rng.integers(0, len(creators), len(rows))]),
        published_at=pl.col("published_at") + MINUTE,
        risk_tier=pl.Series(["R2" if n % 2 else "R3" for n in number]),
        risk_family=pl.lit("despair"),
        risk_source=pl.lit("model"),
        perceptual_hash=pl.when(pl.Series(number % 3 == 0)).then("perceptual_hash"),
    )
    truth = world.truth.items
    tiers = np.where(number % 2 == 1, 2, 3)
    extended = {field.name: np.concatenate([(a := getattr(truth, field.name)), a[rows]]) for field in fields(ItemTruth)}
    extended["tier"] = np.concatenate([truth.tier, tiers])
    items = pl.concat([world.items, copies.select(world.items.columns)])
    return replace(world, items=items, truth=Truth(people=world.truth.people, items=ItemTruth(**extended)))


ATTACKS: Final[Mapping[str, Callable[[World], World]]] = {"flood": flooded, "copycats": copied}
