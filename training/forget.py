"""
Leaves out the events of people who asked to be forgotten, up to the instant of their reset or erasure, and the profiles
of those who were erased. The lists come from the service (`sanad export forgotten`); the data folder is not changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from recsys.data.forgotten import training_cutoffs
from recsys.data.tables import Dataset, reading
from recsys.stores.protocols import Forgotten


@dataclass(frozen=True, slots=True)
class LeftOutCounts:
    """How much a run left out."""

    n_people: int
    n_events: int


def leave_out(dataset: Dataset, lists: Sequence[Forgotten]) -> tuple[Dataset, LeftOutCounts]:
    """
    The dataset without the events and people that the lists name, in the same order. An erased person's id is removed
    everywhere, also as a guardian.
    """
    if not lists:
        return dataset, LeftOutCounts(0, 0)
    known = pl.concat([dataset.users.select("user_id"), dataset.events.select("user_id")]).unique()
    with reading("events"):
        user_ids = known.collect(engine="streaming")["user_id"].to_list()
    rows = [(user_id, *cut) for names in lists for user_id, cut in training_cutoffs(names, user_ids).items()]
    named = pl.LazyFrame(rows, {"user_id": pl.String, "before": pl.Int64, "is_erased": pl.Boolean}, orient="row")
    people = named.group_by("user_id").agg(pl.max("before"), pl.any("is_erased")).collect()
    gone = people.filter("is_erased")["user_id"]
    events = dataset.events.join(people.lazy(), on="user_id", how="left", maintain_order="left")
    is_forgotten = (pl.col("at") <= pl.col("before")).fill_null(False)
    with reading("events"):
        n_events = int(events.select(is_forgotten.sum()).collect(engine="streaming").item())
    remaining = replace(
        dataset,
        events=events.filter(~is_forgotten).drop("before", "is_erased"),
        users=dataset.users.filter(~pl.col("user_id").is_in(gone.implode())).with_columns(
            guardian_id=pl.when(~pl.col("guardian_id").is_in(gone.implode())).then("guardian_id")
        ),
    )
    return remaining, LeftOutCounts(people.height, n_events)
