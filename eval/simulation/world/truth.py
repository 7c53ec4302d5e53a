"""The parts of a generated world: four tables in the layout of `recsys.columns`, and the truth behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from eval.simulation.world.morocco import NEUTRAL_TOPICS
from eval.simulation.world.params import WorldParams
from recsys.columns import Table
from recsys.data.values import DTYPES
from recsys.types import Longs, Mask, Reals
from recsys.vocabulary import TOPICS

TRUE_TOPICS: Final = (*TOPICS, *NEUTRAL_TOPICS)
"""What an item is really about, S1 to S12 and then the neutral topics: the columns of `PeopleTruth.topic_taste`."""

N_SUPPORTIVE: Final = len(TOPICS)

ColumnValues = pl.Series | Sequence[object] | Longs | Reals | Mask
"""The values of one column of a table; None in a sequence is null."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeopleTruth:
    """
    The hidden traits of n people, in the order of the users table.

    `topic_taste` (n, 17) over `TRUE_TOPICS` and `style` (n, 6): what they like. `understands` (n, 7) over
    `vocabulary.LANGUAGES`; `first_language` (n,) an index of it. `local_affinity` (n,) >= 0, `distress` (n,) in
    [0, 1]. `home_region` (n,) an index of `morocco.REGIONS`: where they live, or come from if they live abroad.
    `is_adult` (n,). `activity` (n,) > 0 relative frequency of visits; `night` (n,) share of visits at night.
    """

    topic_taste: Reals
    style: Reals
    understands: Mask
    first_language: Longs
    local_affinity: Reals
    distress: Reals
    home_region: Longs
    is_adult: Mask
    activity: Reals
    night: Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemTruth:
    """
    The hidden truth about n items, in the order of the items table.

    `topic` (n,) an index of `TRUE_TOPICS`; `second_topic` (n,) another or -1. `tier` (n,) 0 to 4, also for items
    whose label is missing; `family` (n,) an index of `vocabulary.FAMILIES` or -1. `quality` (n,) and `style` (n, 6).
    `language` (n,) an index of `vocabulary.LANGUAGES`. `is_moroccan` (n,): the creator lives in Morocco;
    `region` (n,) an index of `morocco.REGIONS` or -1. `duration_s` (n,). `group` (n,) the row of the original:
    near-duplicates share it, everything else has its own row.
    """

    topic: Longs
    second_topic: Longs
    tier: Longs
    family: Longs
    quality: Reals
    style: Reals
    language: Longs
    is_moroccan: Mask
    region: Longs
    duration_s: Reals
    group: Longs


@dataclass(frozen=True, slots=True)
class Truth:
    """The traits of people and items that decide behaviour. No model may read them."""

    people: PeopleTruth
    items: ItemTruth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """
    A whole synthetic market. The tables obey `recsys.columns`: instants Int64 milliseconds, lists List[str].

    `glosses` say what each title is in English, None for an English one.
    """

    params: WorldParams
    creators: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    events: pl.DataFrame
    truth: Truth
    glosses: tuple[str | None, ...]

    @property
    def items_for_readers(self) -> pl.DataFrame:
        """The items with the column `gloss`, see `columns.FOR_READERS`."""
        return self.items.with_columns(pl.Series("gloss", self.glosses, pl.String))


def table_frame(table: Table, columns: Mapping[str, ColumnValues]) -> pl.DataFrame:
    """The columns as a frame in the order and with the dtypes of `table`; a column not given is all null."""
    n_rows = len(columns[table.key])
    return pl.DataFrame(
        [
            pl.Series(column.name, columns.get(column.name, [None] * n_rows), dtype=DTYPES[column.dtype])
            for column in table.columns
        ]
    )
