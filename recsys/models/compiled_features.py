"""The compiled loop over the features of a page's items (recsys/kernels/ranking.c), and what it reads."""

from ctypes import CDLL, Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.kernels import address
from recsys.types import Array, Floats, Ids

_DTYPES: Final = {
    "rows": np.int32, "spaces": np.float32, "rates": np.float32, "published_at": np.int64, "duration": np.float32,
    "popularity": np.float32, "creator": np.int32, "language": np.int32, "country": np.int32, "region": np.int32,
    "topics": np.float32, "languages": np.uint8, "of_creator": np.float32, "of_language": np.float32,
    "of_topics": np.float32, "affinity": np.float32, "positions": np.float32, "matrix": np.float32,
}  # fmt: skip
_NUMBERS: Final = (
    "n", "n_spaces", "n_rates", "n_topics", "n_popular", "n_features", "at", "own_country", "own_region",
)  # fmt: skip
_FLOATS: Final = ("total", "surprise", "first_position")


class _Features(Structure):
    """The struct `features` of ranking.c."""

    _fields_ = (
        *((name, c_void_p) for name in _DTYPES),
        *((name, c_int64) for name in _NUMBERS),
        *((name, c_float) for name in _FLOATS),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureColumns:
    """
    What the loop reads of n rows of an artifact, beside its numbers.

    Shapes: rows, of_topics, affinity (n,); positions (n,) or None; spaces (n_spaces, n); popularity (n_popular,);
            languages, of_creator, of_language by code; all others (n_items,) or (n_items, k).
    """

    rows: Ids
    spaces: Floats
    rates: Floats
    published_at: NDArray[np.int64]
    duration: Floats
    popularity: Floats
    creator: Ids
    language: Ids
    country: Ids
    region: Ids
    topics: Floats
    languages: NDArray[np.uint8]
    of_creator: Floats
    of_language: Floats
    of_topics: Floats
    affinity: Floats
    positions: Floats | None


def fill_features(native: CDLL, columns: FeatureColumns, n_features: int, numbers: dict[str, int | float]) -> Floats:
    """(n, n_features) by the compiled loop; `numbers` are `at`, the own country and region, and the floats."""
    n = len(columns.rows)
    matrix = np.empty((n, n_features), np.float32)
    held: dict[str, Array] = {
        name: np.ascontiguousarray(given, dtype)
        for name, dtype in _DTYPES.items()
        if name != "matrix" and (given := getattr(columns, name)) is not None
    }
    native.fill_features(
        byref(
            _Features(
                **{name: address(array) for name, array in held.items()},
                matrix=address(matrix),
                n=n,
                n_spaces=len(columns.spaces),
                n_rates=columns.rates.shape[1],
                n_topics=columns.topics.shape[1],
                n_popular=len(columns.popularity),
                n_features=n_features,
                **numbers,
            )
        )
    )
    return matrix
