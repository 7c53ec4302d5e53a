"""What a generated world holds: four tables in the shape of `recsys.columns`, and the truth behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from eval.simulation.world.morocco import NEUTRAL_TOPICS
from eval.simulation.world.params import WorldParams
from recsys.columns import Table
from recsys.data.tables import DTYPES
from recsys.vocabulary import TOPICS

TRUE_TOPICS: Final = (*TOPICS, *NEUTRAL_TOPICS)
"""What an item is really about, S1 to S12 and then the neutral topics: the columns of `People.taste`."""

N_SUPPORTIVE: Final = len(TOPICS)

Reals = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class People:
    """
    The hidden traits of n people, in the order of the users table.

    `taste` (n, 17) over `TRUE_TOPICS` and `style` (n, 6): what they like. `understands` (n, 7) over
    `vocabulary.LANGUAGES`; `first_language` (n,) an index of it. `local_affinity` (n,) >= 0, `distress` (n,) in
    [0, 1]. `home_region` (n,) an index of `morocco.REGIONS`: where they live, or come from if they live abroad.
    `is_adult` (n,). `activity` (n,) > 0 relative frequency of visits; `night` (n,) share of visits at night.
    """

    taste: Reals
    style: Reals
    understands: Flags
    first_language: Whole
    local_affinity: Reals
    distress: Reals
    home_region: Whole
    is_adult: Flags
    activity: Reals
    night: Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Things:
    """
    The hidden truth about n items, in the order of the items table.

    `topic` (n,) an index of `TRUE_TOPICS`; `second_topic` (n,) another or -1. `tier` (n,) 0 to 4, also for items
    whose label is missing; `family` (n,) an index of `vocabulary.FAMILIES` or -1. `quality` (n,) and `style` (n, 6).
    `language` (n,) an index of `vocabulary.LANGUAGES`. `is_moroccan` (n,): the creator lives in Morocco;
    `region` (n,) an index of `morocco.REGIONS` or -1. `duration_s` (n,). `group` (n,) the row of the original:
    near-duplicates share it, everything else has its own row.
    """

    topic: Whole
    second_topic: Whole
    tier: Whole
    family: Whole
    quality: Reals
    style: Reals
    language: Whole
    is_moroccan: Flags
    region: Whole
    duration_s: Reals
    group: Whole


@dataclass(frozen=True, slots=True)
class Truth:
    """What behaviour follows from and no model may read: the traits of people and of items."""

    people: People
    items: Things


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """A whole synthetic market. The tables obey `recsys.columns`: instants Int64 milliseconds, lists List[str]."""

    params: WorldParams
    creators: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    events: pl.DataFrame
    truth: Truth


def frame(table: Table, columns: Mapping[str, Any]) -> pl.DataFrame:
    """The columns as a frame in the order and with the dtypes of `table`; a column not given is all null."""
    n_rows = len(columns[table.key])
    return pl.DataFrame(
        [
            pl.Series(column.name, columns.get(column.name, [None] * n_rows), dtype=DTYPES[column.dtype])
            for column in table.columns
        ]
    )
