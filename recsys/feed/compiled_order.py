"""
The order of a page by the compiled loop (recsys/kernels/order.c): the sum of the parts, what calibrates it to
languages, R2 at its constant. The reference is in `recsys.feed.scorers`.
"""

from collections.abc import Sequence
from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from typing import Final

import numpy as np

from recsys.feed.calibration import STEP
from recsys.kernels import address
from recsys.types import Array, Candidates, Floats, Ids, Rows

_DTYPES: Final = {
    "parts": np.float32, "weights": np.float32, "tier": np.int8, "item_nos": np.int32, "language": np.int16,
    "confidence": np.float32, "column_of": np.int64, "wanted": np.float64,
}  # fmt: skip


class _PageOrder(Structure):
    """The struct `page_order` of order.c."""

    _fields_ = (
        *((name, c_void_p) for name in (*_DTYPES, "scores", "order")),
        *((name, c_int64) for name in ("n", "n_parts", "n_languages", "depth")),
        *((name, c_double) for name in ("weight", "step", "percent")),
        *((name, c_void_p) for name in ("bonus", "room")),  # worked out in C
    )


def order_compiled(
    native: CDLL,
    candidates: Candidates,
    parts: Sequence[tuple[float, Floats]],
    of_language: float,
    *,
    confidence: Floats,
    language: Array,
    wanted: Sequence[float],
    column_of: Array,
    depth: int,
    percent: float,
) -> tuple[Floats, Floats, Rows] | None:
    """
    The bonus of languages, the scores and the order (n,) of candidates; None when a score to calibrate is not finite,
    or a confidence is no number.

    `parts` (n,) are added up in their order, each times its weight; `of_language` is the weight of the bonus.
    `language` (n,) are codes, by which `column_of` tells the place in `wanted`, or -1.
    """
    n = len(candidates)
    is_coded = language.min(initial=0) >= 0 and language.max(initial=0) < len(column_of)
    if not is_coded or np.isnan(confidence).any():
        return None
    given: dict[str, object] = {
        "parts": [part for _, part in parts],
        "weights": [weight for weight, _ in parts],
        "tier": candidates["tier"],
        "item_nos": candidates.item_nos,
        "language": language,
        "confidence": confidence,
        "column_of": column_of,
        "wanted": wanted,
    }
    arrays: dict[str, Array] = {name: np.ascontiguousarray(array, _DTYPES[name]) for name, array in given.items()}
    scores, order = np.empty((2, n), np.float32), np.empty(7 * n + 3 * len(wanted), np.int64)
    page = _PageOrder(
        **{name: address(array) for name, array in arrays.items()}, scores=address(scores), order=address(order),
        n=n, n_parts=len(parts), n_languages=len(wanted), depth=depth, weight=of_language, step=STEP, percent=percent,
    )  # fmt: skip
    return (scores[1], scores[0], order[:n]) if native.order_page(byref(page)) else None


def unite_compiled(native: CDLL, lists: Sequence[Ids]) -> tuple[Ids, Floats]:
    """`pipeline.unite` by the compiled loop, of numbers of 32 bits."""
    numbers = np.concatenate([np.empty(0, np.int32), *lists]).astype(np.int32)
    n, lengths = len(numbers), np.array([len(numbers) for numbers in lists], np.int64)
    keys, room = np.empty(n, np.uint32), np.empty(2 * n, np.int64)
    distinct, ranks = np.empty(n, np.int32), np.empty((len(lists), n), np.float32)
    found = native.unite(
        address(numbers), address(lengths), c_int64(len(lists)), c_int64(n), address(keys), address(room),
        address(distinct), address(ranks),
    )  # fmt: skip
    return distinct[:found], ranks[:, :found]
