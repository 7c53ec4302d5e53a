"""The compiled loop over the features of a page's items (recsys/kernels/ranking.c), and what it reads."""

from collections.abc import Mapping
from ctypes import CDLL, Structure, byref, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.kernels import address
from recsys.types import Array, Floats, Ids

_OF_ITEMS: Final = {
    "rates": np.float32, "published_at": np.int64, "duration": np.float32, "creator": np.int32, "language": np.int32,
    "country": np.int32, "region": np.int32, "topics": np.float32,
}  # fmt: skip
_OF_PAGE: Final = {
    "rows": np.int32, "spaces": np.float32, "popularity": np.float32, "languages": np.uint8, "history": np.int32,
    "weights": np.float32, "of_topics": np.float32, "affinity": np.float32, "positions": np.float32,
}  # fmt: skip
_NUMBERS: Final = (
    "n_rates", "n_topics", "n_creators", "n", "n_history", "n_spaces", "n_popular", "n_features", "at", "own_country",
    "own_region",
)  # fmt: skip
_FLOATS: Final = ("total", "surprise", "first_position")


class _Features(Structure):
    """The struct `features` of ranking.c."""

    _fields_ = (
        *((name, c_void_p) for name in (*_OF_ITEMS, *_OF_PAGE, "room", "matrix")),
        *((name, c_int64) for name in _NUMBERS),
        *((name, c_float) for name in _FLOATS),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemColumns:
    """
    What the loop reads of all items of an artifact, once for all pages. Codes are from 0 on.

    `arrays` are held, since `struct` points into them; `room` is how many sums by creator and language there are.
    """

    struct: _Features
    arrays: tuple[Array, ...]
    n_items: int
    room: int
    languages: dict[tuple[str, ...], NDArray[np.uint8]]  # what each language is to whom: see `features.language_bits`


def item_columns(columns: Mapping[str, Array]) -> ItemColumns:
    """The columns (n_items,) or (n_items, k) of all items by name, laid out for the loop."""
    held = {name: np.ascontiguousarray(columns[name], dtype) for name, dtype in _OF_ITEMS.items()}
    n_creators, n_languages = (int(held[name].max(initial=0)) + 1 for name in ("creator", "language"))
    struct = _Features(
        **{name: address(array) for name, array in held.items()},
        n_rates=held["rates"].shape[1],
        n_topics=held["topics"].shape[1],
        n_creators=n_creators,
    )
    return ItemColumns(
        struct=struct,
        arrays=tuple(held.values()),
        n_items=len(held["creator"]),
        room=n_creators + n_languages,
        languages={},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageColumns:
    """
    What the loop reads of n rows of an artifact and of the person, beside its numbers.

    Shapes: rows, of_topics, affinity (n,); positions (n,) or None; spaces (n_spaces, n); popularity (n_popular,);
            languages by code; history and weights (n_history,), rows and how much each says.
    """

    rows: Ids
    spaces: Floats
    popularity: Floats
    languages: NDArray[np.uint8]
    history: Ids
    weights: Floats
    of_topics: Floats
    affinity: Floats
    positions: Floats | None


def fill_features(
    native: CDLL, items: ItemColumns, page: PageColumns, n_features: int, numbers: Mapping[str, int | float]
) -> Floats:
    """(n, n_features) by the compiled loop; `numbers` are `at`, the own country and region, and the floats."""
    n = len(page.rows)
    matrix, room = np.empty((n, n_features), np.float32), np.zeros(items.room)
    struct = _Features.from_buffer_copy(items.struct)
    held = []
    for name, dtype in _OF_PAGE.items():
        given = getattr(page, name)
        if given is not None:
            held.append(np.ascontiguousarray(given, dtype))
            setattr(struct, name, address(held[-1]))
    struct.room, struct.matrix = address(room), address(matrix)
    struct.n, struct.n_features, struct.n_history = n, n_features, len(page.history)
    struct.n_spaces, struct.n_popular = len(page.spaces), len(page.popularity)
    for name, number in numbers.items():
        setattr(struct, name, number)
    native.fill_features(byref(struct))
    return matrix
