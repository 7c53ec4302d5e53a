"""
A split whose people and items have places, in the layout of `lastfm-countries`: four CSV files, plain or `.gz`.

train, test: a column of people and one of items, in this order. users, items: the id first, and a column with the
place: `region`, `country_iso2` or `country`, whichever both tables have. An empty place is unknown: it is neither local
nor foreign to anybody.
"""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.data.locality_split import UNKNOWN, LocalitySplit, binary_matrix
from recsys.errors import DataError
from recsys.types import Csr

PLACE_COLUMNS: Final = ("region", "country_iso2", "country")


def read_split(train: Path, test: Path, users: Path, items: Path) -> LocalitySplit:
    """The split. Raises DataError for a file that is missing, empty or without a place."""
    people, item_table = _table(users), _table(items)
    column = next((name for name in PLACE_COLUMNS if name in people.columns and name in item_table.columns), None)
    if column is None:
        raise DataError(
            f"{users} and {items}: found no place that both have, expected a column {' or '.join(PLACE_COLUMNS)}"
        )
    places = tuple(sorted({place for table in (people, item_table) for place in table[column].to_list() if place}))
    numbers = {place: n for n, place in enumerate(places)}
    rows = {name: n for n, name in enumerate(people.to_series(0).to_list())}
    columns = {name: n for n, name in enumerate(item_table.to_series(0).to_list())}
    learned, n_dropped_train = _matrix(train, rows, columns)
    held_out, n_dropped_test = _matrix(test, rows, columns)
    return LocalitySplit(
        train=learned,
        test=_without(held_out, learned),
        user_place=np.array([numbers.get(place or "", UNKNOWN) for place in people[column].to_list()], np.int32),
        item_place=np.array([numbers.get(place or "", UNKNOWN) for place in item_table[column].to_list()], np.int32),
        places=places,
        n_dropped=n_dropped_train + n_dropped_test,
    )


def _table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: found no readable CSV ({error}), expected a table with a header") from error
    if table.is_empty() or table.width < 2:
        raise DataError(f"{path}: found {table.height} rows of {table.width} columns, expected rows of two or more")
    return table


def _matrix(path: Path, rows: dict[str, int], columns: dict[str, int]) -> tuple[Csr, int]:
    table = _table(path)
    user = table.to_series(0).replace_strict(rows, default=None, return_dtype=pl.Int64)
    item = table.to_series(1).replace_strict(columns, default=None, return_dtype=pl.Int64)
    is_known = (user.is_not_null() & item.is_not_null()).to_numpy()
    if not is_known.any():
        raise DataError(f"{path}: found nobody and nothing that users and items name; expected a person, then an item")
    matrix = binary_matrix(
        user.filter(is_known).to_numpy(), item.filter(is_known).to_numpy(), (len(rows), len(columns))
    )
    return matrix, int((~is_known).sum())


def _without(held_out: Csr, learned: Csr) -> Csr:
    """The held-out pairs that were not learned from."""
    rest = (held_out - held_out.multiply(learned)).tocsr()
    rest.eliminate_zeros()
    return rest
