"""
A split whose people and items have places, in the layout of `lastfm-countries`: four CSV files, plain or `.gz`.

train, test: a column of people and one of items, in this order. users, items: the id first, and a column with the
place: `region`, `country_iso2` or `country`, whichever both tables have. An empty place is unknown: it is neither local
nor foreign to anybody.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from recsys.errors import DataError
from recsys.types import Mask

PLACE_COLUMNS: Final = ("region", "country_iso2", "country")
UNKNOWN: Final = -1
LARGE: Final = 0.2
"""A place with more than this share of the items with a place is large: being local there is no advantage."""

Codes = NDArray[np.int32]
Matrix = Any  # scipy's sparse matrices have no types of their own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedSplit:
    """
    Shapes: `train`, `test` (n_users, n_items) CSR of ones; `user_place` (n_users,), `item_place` (n_items,) indexes
    into `places`, `UNKNOWN` where nobody said; `n_dropped` rows that name somebody or something unknown.
    """

    train: Matrix
    test: Matrix
    user_place: Codes
    item_place: Codes
    places: tuple[str, ...]
    n_dropped: int

    def is_local(self, rows: NDArray[np.integer[Any]]) -> Mask:
        """(len(rows), n_items) whether an item is from a person's place."""
        mine = self.user_place[rows, None]
        return np.asarray((mine == self.item_place[None, :]) & (mine != UNKNOWN))

    def large(self) -> tuple[str, ...]:
        """The places that hold more than `LARGE` of the items with a place."""
        known = self.item_place[self.item_place != UNKNOWN]
        shares = np.bincount(known, minlength=len(self.places)) / max(1, len(known))
        return tuple(place for place, share in zip(self.places, shares, strict=True) if share > LARGE)


def read_split(train: Path, test: Path, users: Path, items: Path) -> PlacedSplit:
    """The split. Raises DataError for a file that is missing, empty or without a place."""
    people, things = _table(users), _table(items)
    column = next((name for name in PLACE_COLUMNS if name in people.columns and name in things.columns), None)
    if column is None:
        raise DataError(
            f"{users} and {items}: found no place that both have, expected a column {' or '.join(PLACE_COLUMNS)}"
        )
    places = tuple(sorted({place for table in (people, things) for place in table[column].to_list() if place}))
    numbers = {place: n for n, place in enumerate(places)}
    rows = {name: n for n, name in enumerate(people.to_series(0).to_list())}
    columns = {name: n for n, name in enumerate(things.to_series(0).to_list())}
    learned, n_lost = _matrix(train, rows, columns)
    held_out, n_also = _matrix(test, rows, columns)
    return PlacedSplit(
        train=learned,
        test=_without(held_out, learned),
        user_place=np.array([numbers.get(place or "", UNKNOWN) for place in people[column].to_list()], np.int32),
        item_place=np.array([numbers.get(place or "", UNKNOWN) for place in things[column].to_list()], np.int32),
        places=places,
        n_dropped=n_lost + n_also,
    )


def cut(split: PlacedSplit, share: float, rng: np.random.Generator) -> PlacedSplit:
    """A validation part out of train: `share` of each person's items, of people with five or more."""
    entries = split.train.tocoo()
    counts = np.bincount(entries.row, minlength=split.train.shape[0])
    order = np.lexsort((rng.random(entries.nnz), entries.row))
    starts = np.cumsum(counts) - counts
    rank = np.empty(entries.nnz, np.int64)
    rank[order] = np.arange(entries.nnz) - starts[entries.row[order]]
    of_user = counts[entries.row]
    is_out = (of_user >= 5) & (rank < np.round(share * of_user))
    parts = [_ones(entries.row[kept], entries.col[kept], split.train.shape) for kept in (~is_out, is_out)]
    return replace(split, train=parts[0], test=parts[1])


def _table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: found no readable CSV ({error}), expected a table with a header") from error
    if table.is_empty() or table.width < 2:
        raise DataError(f"{path}: found {table.height} rows of {table.width} columns, expected rows of two or more")
    return table


def _matrix(path: Path, rows: dict[str, int], columns: dict[str, int]) -> tuple[Matrix, int]:
    table = _table(path)
    user = table.to_series(0).replace_strict(rows, default=None, return_dtype=pl.Int64)
    item = table.to_series(1).replace_strict(columns, default=None, return_dtype=pl.Int64)
    known = (user.is_not_null() & item.is_not_null()).to_numpy()
    if not known.any():
        raise DataError(f"{path}: found nobody and nothing that users and items name; expected a person, then an item")
    matrix = _ones(user.filter(known).to_numpy(), item.filter(known).to_numpy(), (len(rows), len(columns)))
    return matrix, int((~known).sum())


def _ones(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> Matrix:
    """A CSR matrix with a one at each pair, however often it is named."""
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.data[:] = 1.0
    return matrix


def _without(held_out: Matrix, learned: Matrix) -> Matrix:
    """What is held out and was not learned from: nobody is shown twice what they know."""
    left = (held_out - held_out.multiply(learned)).tocsr()
    left.eliminate_zeros()
    return left
