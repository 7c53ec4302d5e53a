"""What the log says each user has seen lately: the list that an artifact carries, so that it does not come again."""

import numpy as np
import polars as pl

from recsys.clock import DAY, Millis
from recsys.data.tables import Dataset, reading
from recsys.models.histories import NOTHING_SEEN, SeenInLog, row_numbers
from recsys.user.feedback import SEEN_EVENTS
from recsys.user.state import MAX_SEEN

SEEN_DAYS = 30


def seen_in_log(
    dataset: Dataset, user_ids: tuple[str, ...], item_ids: tuple[str, ...], before: Millis | None
) -> SeenInLog:
    """
    Of each user the newest `MAX_SEEN` items seen in the last 30 days of the log, oldest first.

    `before` leaves out events at or after it (None = all). Users and items as rows of the artifact.
    """
    with reading("events"):
        events = dataset.events.filter(pl.col("kind").is_in(SEEN_EVENTS) & pl.col("item_id").is_not_null())
        events = events if before is None else events.filter(pl.col("at") < before)
        until = events.select(pl.col("at").max()).collect(engine="streaming").item()
        if until is None:
            return NOTHING_SEEN
        recent = events.filter(pl.col("at") >= until - SEEN_DAYS * DAY)
        newest = recent.group_by("user_id", "item_id").agg(pl.col("at").max()).collect(engine="streaming")
    users = pl.DataFrame({"user_id": user_ids, "user": np.arange(len(user_ids), dtype=np.int64)})
    items = pl.DataFrame({"item_id": item_ids, "item": np.arange(len(item_ids), dtype=np.int32)})
    seen = newest.join(users, on="user_id").join(items, on="item_id").sort("user", "at", "item")
    seen = seen.group_by("user", maintain_order=True).tail(MAX_SEEN)
    counts = np.bincount(seen["user"].to_numpy(), minlength=len(user_ids))
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return SeenInLog(rows=row_numbers(user_ids), indptr=indptr, item_rows=seen["item"].to_numpy(), until=int(until))
