"""
The values that flow through Sanad, and the types that say what a pipeline stage may do.

Inside the engine an item is `item_no`, an int that the catalogue assigns once and never reuses; external string
ids live at the edges. A row is a position in some table of candidates or of an artifact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.clock import Millis

Ids = NDArray[np.int32]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Longs = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]
Pages = NDArray[np.int32]
"""(q, n) item numbers of q pages, best first; the end of a short page holds `metrics.EMPTY`."""
Array = NDArray[Any]
"""An array whose dtype depends on the data, as what a file holds."""
Column = NDArray[Any]
Columns = Mapping[str, Column]
Fields = Mapping[str, Any]
"""
A row of a table or an object of JSON by the names of `recsys.columns`: texts, numbers, lists of texts; None or missing
is unknown.
"""
JsonObject = dict[str, object]
"""An object of JSON that is made here and only handed on: encoded, stored or printed."""

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Csr: TypeAlias = csr_matrix[np.float32]
else:
    Csr = object
"""A sparse float32 matrix of SciPy, in rows. SciPy itself is imported only where it is used: it takes a while."""


class Booster(Protocol):
    """Gradient-boosted trees of LightGBM, as far as Sanad uses them."""

    def predict(
        self,
        data: Floats,
        *,
        start_iteration: int = 0,
        num_iteration: int | None = None,
        raw_score: bool = False,
        num_threads: int = 0,
        predict_disable_shape_check: bool = False,
    ) -> Reals:
        """(n,) for rows (n, n_features): the sum of the trees if `raw_score`, else the probability."""
        ...

    def model_to_string(self, num_iteration: int | None = None) -> str:
        """The trees as text."""
        ...

    def num_trees(self) -> int:
        """How many trees there are."""
        ...

    def num_feature(self) -> int:
        """How many features the trees read."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """
    What one user reacted to, oldest first.

    Shapes: `items` (n,) rows of the artifact; `weights` (n,) confidence, above 0 for positive interactions and below 0
    for explicit negative feedback; `at` (n,) milliseconds.
    """

    items: Ids
    weights: Floats
    at: NDArray[np.int64]

    @staticmethod
    def empty() -> "History":
        """A person about whom nothing is known."""
        return History(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """
    What one user was shown and how much of it they watched, oldest first.

    Shapes: `items` (n,) rows of the artifact, each once; `values` (n,) in [0, 1], see `feedback.responses`.
    """

    items: Ids
    values: Floats

    @staticmethod
    def empty() -> "Responses":
        """A person who was shown nothing."""
        return Responses(np.empty(0, np.int32), np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.items)


class Space(Protocol):
    """
    Vectors of items, and a way to compute a user's vector from their history without retraining.

    The score of item i for a user is `item_vectors[i] @ fold_in(history)`.
    """

    @property
    def item_vectors(self) -> Floats:
        """(n_items, d); a row of zeros is an item the space knows nothing about."""
        ...

    def fold_in(self, history: History) -> Floats:
        """(d,) the person's vector; zeros for an empty history."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """
    A table of n candidate items: `item_nos` (n,) unique but for 0, which is no item's, and named columns of
    n rows each.

    NaN in a float column means unknown and sorts last.
    """

    item_nos: Ids
    columns: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_nos)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def with_columns(self, columns: Columns) -> "Candidates":
        """The same rows with more columns."""
        return Candidates(self.item_nos, {**self.columns, **columns})

    def take(self, rows: Rows | Mask) -> "Candidates":
        """The given rows of every column."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.intp)  # what NumPy takes fastest
        return Candidates(self.item_nos[at], {name: column[at] for name, column in self.columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The person a page is for, resolved before the pipeline starts. `languages` are those understood."""

    user_id: str
    country: str
    region: str | None
    languages: tuple[str, ...]
    age_band: str  # effective: under_13, 13-15, 16-17 or 18+
    personalised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, as reported by the platform. Fields as in `columns.EVENTS`."""

    event_id: str
    user_id: str
    kind: str
    at: Millis  # the reporter's time: orders tastes, never opens a window
    item_id: str | None = None
    creator_id: str | None = None
    query: str | None = None
    value: str | None = None
    watch_s: float | None = None
    watch_fraction: float | None = None
    request_id: str | None = None
    position: int | None = None
    is_attributed: bool = False  # a verified tracking token named request and position
    is_history: bool = False  # from before the service: it is learned from and counts as seen, and nothing else


def rank_order(scores: Floats, ties: Ids) -> Rows:
    """
    Rows from the best score to the worst; equal scores by the smaller tie-breaker, non-finite scores last.

    Shapes: scores (n,), ties (n,); returns (n,). The only place where Sanad sorts scores.
    """
    safe = np.where(np.isfinite(scores), scores, -np.inf)
    return np.lexsort((ties, -safe))
