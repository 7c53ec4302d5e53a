"""
The safe feed: what is shown when there is no ledger, and so nothing can be counted (policy-spec 0).

It is chosen for the strictest viewer: labelled R0 with enough confidence, supportive topics only, no age limit.
"""

from itertools import islice
from typing import Final

import numpy as np
import polars as pl

from recsys.catalogue.copies import copy_columns
from recsys.data.copies import copies_of, tiers_of_copies
from recsys.safety.copies import distinct
from recsys.vocabulary import TRUSTED_RISK_SOURCES

SUPPORTIVE: Final = tuple(f"S{n}" for n in range(1, 11))
NEVER: Final = ("S4", "S11")
MIN_CONFIDENCE: Final = 0.8
MAX_ITEMS: Final = 200


def safe_feed(items: pl.DataFrame, creators: pl.DataFrame, popularity: pl.Series, market: str) -> tuple[str, ...]:
    """
    Item ids, best first: creators of the market before others, then the most popular; no copy of another.

    `items` in contract columns and those of `with_wordings`; `popularity` one score for each of its rows.
    """
    # a label without a confidence is as good as its source; a tier that was only assumed is no label
    stated = pl.when(pl.col("risk_source").is_in(TRUSTED_RISK_SOURCES)).then(1.0).otherwise(0.0)
    topics = pl.col("topics").fill_null([])
    safe = (
        (pl.col("risk_tier") == "R0")
        & (pl.col("risk_confidence").fill_null(stated) >= MIN_CONFIDENCE)
        & (pl.col("risk_source") != "assumed")
        & topics.list.set_intersection(list(SUPPORTIVE)).list.len().gt(0)
        & topics.list.set_intersection(list(NEVER)).list.len().eq(0)
        & ~pl.col("is_hidden").fill_null(False)
        & (pl.col("min_age").fill_null(0) == 0)
    )
    from_here = creators.select("creator_id", is_local=pl.col("country") == market)
    copies = copies_of(items)
    own = np.where(items["risk_tier"].fill_null("R2") != "R0", 1, 0)
    is_raised = pl.Series(tiers_of_copies(items, copies, own) > 0)
    ranked = (
        items.with_row_index("row")
        .with_columns(popularity=popularity)
        .filter(safe & ~is_raised)
        .join(from_here, on="creator_id", how="left")
        .with_columns(pl.col("is_local").fill_null(False))
        .sort("is_local", "popularity", "item_id", descending=[True, True, False])
    )
    best = islice(distinct(copy_columns(copies), ranked["row"].to_list()), MAX_ITEMS)
    return tuple(items["item_id"][row] for row in best)
