"""
The safe feed: what is shown when there is no ledger, and so nothing can be counted (policy-spec 0).

It is chosen for the strictest viewer: labelled R0 with enough confidence, supportive topics only, no age limit.
"""

from typing import Final

import polars as pl

SUPPORTIVE: Final = tuple(f"S{n}" for n in range(1, 11))
NEVER: Final = ("S4", "S11")
TRUSTED_SOURCES: Final = ("platform", "partner", "human")
MIN_CONFIDENCE: Final = 0.8
MAX_ITEMS: Final = 200


def safe_feed(items: pl.DataFrame, creators: pl.DataFrame, popularity: pl.Series, market: str) -> tuple[str, ...]:
    """
    Item ids, best first: creators of the market before others, then the most popular; one of each cluster.

    `items` in contract columns and `cluster_id`; `popularity` one score for each of its rows.
    """
    # a label without a confidence is as good as its source; a tier that was only assumed is no label
    stated = pl.when(pl.col("risk_source").is_in(TRUSTED_SOURCES)).then(1.0).otherwise(0.0)
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
    riskiest = pl.col("risk_tier").fill_null("R2").max().over("cluster_id")  # a copy takes its cluster's tier
    ranked = (
        items.with_columns(popularity=popularity)
        .filter((riskiest == "R0") & safe)
        .join(from_here, on="creator_id", how="left")
        .with_columns(pl.col("is_local").fill_null(False))
        .sort("is_local", "popularity", "item_id", descending=[True, True, False])
        .unique("cluster_id", keep="first", maintain_order=True)
    )
    return tuple(ranked["item_id"].head(MAX_ITEMS))
