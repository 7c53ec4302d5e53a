"""What models read of a person, by the compiled loop (recsys/kernels/history.c)."""

from ctypes import CDLL, Structure, byref, c_float, c_int64, c_void_p
from typing import Final

import numpy as np

from recsys.catalogue.items import Items
from recsys.kernels import address
from recsys.types import Array, History, Mask, Responses
from recsys.user.feedback import WATCHED
from recsys.user.state import InteractionHistory, Seen

_DTYPES: Final = {
    "trained": np.int32, "trained_weights": np.float32, "trained_at": np.int64, "recent": np.int64,
    "recent_weights": np.float32, "row_of": np.int32, "is_unlearnable": np.bool_, "rows": np.int32,
    "weights": np.float32, "at": np.int64, "shown": np.int32, "values": np.float32, "room": np.int64,
}  # fmt: skip
_NUMBERS: Final = (
    "n_trained", "n_recent", "n_reported", "n_items", "n_rows", "n_slots", "reset_at", "n_history", "n_responses",
)  # fmt: skip


class _Learned(Structure):
    """The struct `learned` of history.c."""

    _fields_ = (
        *((name, c_void_p) for name in _DTYPES),
        *((name, c_int64) for name in _NUMBERS),
        ("watched", c_float),
    )


def learn_compiled(
    native: CDLL, recent: InteractionHistory, trained: History, seen: Seen, items: Items, is_unlearnable_row: Mask
) -> tuple[History, Responses] | None:
    """
    The history and the responses of a person of whom the training log says nothing that a reset took back. None for
    numbers and rows that there are not.
    """
    n_trained, n_recent, n_reported = len(trained), len(recent.items), len(seen.reported)
    n, n_all = n_trained + n_recent, n_trained + n_recent + n_reported
    n_slots = 1 << (2 * n_all).bit_length()
    rows, weights, at = np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.int64)
    shown, values = np.empty(n_all, np.int32), np.empty(n_all, np.float32)
    given: dict[str, object] = {
        "trained": trained.items,
        "trained_weights": trained.weights,
        "trained_at": trained.at,
        "recent": (*recent.items, *recent.at, *seen.reported, *seen.reported_at),
        "recent_weights": recent.weights,
        "row_of": items.row,
        "is_unlearnable": is_unlearnable_row,
    }
    arrays: dict[str, Array] = {name: np.ascontiguousarray(array, _DTYPES[name]) for name, array in given.items()}
    arrays |= {"rows": rows, "weights": weights, "at": at, "shown": shown, "values": values}
    arrays["room"] = np.zeros(2 * n_slots, np.int64)
    learned = _Learned(
        **{name: address(array) for name, array in arrays.items()},
        n_trained=n_trained, n_recent=n_recent, n_reported=n_reported, n_items=len(items.row),
        n_rows=len(is_unlearnable_row), n_slots=n_slots, reset_at=recent.reset_at, watched=WATCHED,
    )  # fmt: skip
    if not native.learn(byref(learned)):
        return None
    n, m = learned.n_history, learned.n_responses
    return History(rows[:n], weights[:n], at[:n]), Responses(shown[:m], values[:m])
