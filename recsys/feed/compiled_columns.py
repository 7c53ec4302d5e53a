"""The columns of a decision record as codes, by the compiled loop (recsys/kernels/packing.c)."""

from collections.abc import Mapping
from ctypes import CDLL, Structure, byref, c_char_p, c_int64, c_void_p
from itertools import pairwise
from typing import Final

import numpy as np

from recsys.codes import huffman
from recsys.feed.compact import KIND, CodedColumns
from recsys.kernels import address
from recsys.types import Array, Longs, Rows

_MATCH: Final = list(KIND).index("match")
_PIECES: Final = 9
_BYTES_OF_ROW: Final = 50  # a value and its code take 16 at most, and there are three columns of them


class _Columns(Structure):
    """The struct `columns` of packing.c."""

    _fields_ = (
        *((name, c_char_p) for name in ("kinds", "creators", "sources", "scores")),
        *((name, c_void_p) for name in ("named", "listed", "exact", "room", "packed", "ends")),
        *((name, c_int64) for name in ("n", "n_named", "n_listed", "n_exact", "n_slots", "match")),
    )


def code_columns_compiled(
    native: CDLL, columns: Mapping[str, bytes], sources: bytes, scores: bytes, named: Longs, listed: Rows, exact: Rows
) -> CodedColumns:
    """`compact.code_columns` by the compiled loop; it must not be asked for no rows."""
    n = len(scores) // np.dtype("<f4").itemsize
    n_slots = 1 << (2 * n).bit_length()
    room, ends = np.empty(4 * n + n_slots, np.int64), np.zeros(_PIECES, np.int64)
    packed = np.empty(_BYTES_OF_ROW * n + 64, np.uint8)
    arrays: dict[str, Array] = {
        "named": named,
        "listed": listed,
        "exact": exact,
        "room": room,
        "packed": packed,
        "ends": ends,
    }
    asked = _Columns(
        kinds=b"".join([columns[name] for name in KIND]),
        creators=columns["creator_no"],
        sources=sources,
        scores=scores,
        **{name: address(array) for name, array in arrays.items()},
        n=n, n_named=len(named), n_listed=len(listed), n_exact=len(exact), n_slots=n_slots, match=_MATCH,
    )  # fmt: skip
    is_falling = native.code_columns(byref(asked))
    whole = packed[: int(ends.max())].tobytes()
    pieces = [whole[start:end] for start, end in pairwise([0, *ends.tolist()])]
    kinds, kind_codes, source_table, source_codes, creators, first, fallen, limits, steps = pieces
    coded = {"all": scores}
    if is_falling:
        coded = {"first": first, "falls": huffman(fallen)}
        coded |= {"ends": limits, "steps": huffman(steps)} if limits else {}
    return CodedColumns(
        kinds=(kinds, huffman(kind_codes)),
        sources=(source_table, huffman(source_codes)),
        creators=huffman(creators),
        scores=coded,
    )
