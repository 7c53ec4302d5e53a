"""
Columns of candidates as few bytes, for decision records (`recsys.feed.record`).

What the slot loop cannot tell apart is
not kept: of a creator or a copy that stands alone among the candidates it is enough to know that it stands alone.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsys.codes import huffman, pack_codes, pack_table, unhuffman, unpack_codes, unpack_table
from recsys.safety.copies import COLUMNS
from recsys.types import Array, Column, Columns, Floats, Integers, Longs, Rows

KIND: Final = {
    "tier": "i1", "family": "i1", "is_s4": "?", "is_supportive": "?", "is_local": "?", "match": "i1",
    "is_explorable": "?", "is_new_creator": "?",
}  # fmt: skip
"""Columns of one byte each, whose combinations are few: eight of them are one number."""

_SHARED: Final = ("hash_no", "creator_text_no", "duration_text_no")
_ROUGH_LEVELS: Final = 255  # of scores


class CodedColumns(NamedTuple):
    """Columns as codes: of kinds and of sources their tables too; `scores` as `pack_scores` gives them."""

    kinds: tuple[bytes, bytes]
    sources: tuple[bytes, bytes]
    creators: bytes
    scores: dict[str, bytes]


def code_columns(
    columns: Columns, sources: Integers, scores: Floats, named: Longs, listed: Rows, exact: Rows
) -> CodedColumns:
    """
    The columns (n,) of a record, in NumPy. `named` are creators; `listed` and `exact` rows, ascending, `exact` from 0
    on.
    """
    return CodedColumns(
        kinds=pack_kinds(columns, listed),
        sources=pack_table(sources[listed]),
        creators=pack_creators(columns["creator_no"], named),
        scores=pack_scores(scores, exact),
    )


# --- columns ---


def pack_kinds(columns: Columns, listed: Rows) -> tuple[bytes, bytes]:
    """The columns of `KIND`; how near an item is (`match`) of the listed rows only, since no rule reads it."""
    table = np.stack([columns[name].astype(np.int8) for name in KIND], axis=1)
    table[_others(len(table), listed), list(KIND).index("match")] = 0
    return pack_table(table.view("<u8").ravel())


def unpack_kinds(packed: Sequence[bytes], n: int) -> dict[str, Column]:
    """The inverse of `pack_kinds`."""
    table = unpack_table(packed, "<u8", n).view(np.int8).reshape(n, len(KIND))
    return {name: table[:, column].astype(dtype) for column, (name, dtype) in enumerate(KIND.items())}


def pack_creators(creator_nos: Longs, named: Longs) -> bytes:
    """
    Creators as codes: 0 stands alone, n + 1 is the nth that is `named` (distinct numbers); higher ones are only told
    apart.
    """
    distinct, inverse, counts = np.unique(creator_nos, return_inverse=True, return_counts=True)
    order = np.argsort(named)
    places = np.minimum(np.searchsorted(named[order], distinct), len(named) - 1)
    is_named = named[order][places] == distinct if len(named) else np.zeros(len(distinct), np.bool_)
    is_other = ~is_named & (counts > 1)
    codes = np.zeros(len(distinct), np.int64)
    codes[is_named] = order[places[is_named]] + 1
    codes[is_other] = np.arange(is_other.sum()) + len(named) + 1
    return pack_codes(codes[inverse])


def unpack_creators(packed: bytes, named: Longs, n: int) -> Longs:
    """The inverse of `pack_creators`; a creator without a name has one number below 0 in all its rows."""
    codes = unpack_codes(packed, n)
    is_alone, is_named = codes == 0, (codes > 0) & (codes <= len(named))
    creators = -1 - n - codes
    creators[is_alone] = -1 - np.flatnonzero(is_alone)
    creators[is_named] = named[codes[is_named] - 1]
    return creators


def pack_joins(columns: Columns) -> dict[str, bytes]:
    """The few rows that have a copy among the candidates; a number that only one of them has joins nothing."""
    rows = np.flatnonzero(columns["hash_no"] | columns["creator_text_no"] | columns["duration_text_no"])
    joins = {name: _repeated(columns[name][rows]) for name in _SHARED}
    is_joined = (joins["hash_no"] | joins["creator_text_no"] | joins["duration_text_no"]) != 0
    if not is_joined.any():
        return {}
    for name in ("arrival", "is_hashed"):  # they say something of equal words alone
        joins[name] = np.where(joins["duration_text_no"] != 0, columns[name][rows], 0)
    values = {name: joins[name][is_joined].astype(dtype).tobytes() for name, dtype in COLUMNS.items()}
    return {"rows": rows[is_joined].astype("<u2").tobytes(), **values}


def _repeated(numbers: Column) -> Longs:
    """(n,) the numbers that stand there more than once, 0 for the others."""
    listed = numbers.tolist()
    counts = Counter(listed)
    return np.array([number if counts[number] > 1 else 0 for number in listed], np.int64)


def unpack_joins(packed: Mapping[str, bytes], n: int) -> dict[str, Column]:
    """The inverse of `pack_joins`."""
    columns: dict[str, Column] = {name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()}
    if packed:
        rows = np.frombuffer(packed["rows"], "<u2")
        for name, dtype in COLUMNS.items():
            columns[name][rows] = np.frombuffer(packed[name], dtype)
    return columns


# --- scores and their parts ---


def pack_scores(scores: Floats, exact: Rows) -> dict[str, bytes]:
    """
    Scores (n,), best first: those of the rows `exact` (ascending, from 0 on) as they are, the others in 256 steps
    between the best and the worst of the rest. All as they are where they do not fall, or one is not finite.
    """
    if len(scores) == 0 or not np.isfinite(scores).all() or (np.diff(scores) > 0).any():
        return {"all": scores.astype("<f4").tobytes()}
    keys = _sortable(scores[exact])
    packed = {"first": keys[:1].astype("<u4").tobytes(), "falls": pack_codes(keys[:-1] - keys[1:])}
    rest = _others(len(scores), exact)
    if len(rest):
        best, worst = float(scores[rest[0]]), float(scores[rest[-1]])
        levels = np.rint((scores[rest].astype(np.float64) - worst) / ((best - worst) or 1.0) * _ROUGH_LEVELS)
        above = np.append(_ROUGH_LEVELS, levels[:-1])
        packed["ends"] = np.array([best, worst], "<f4").tobytes()
        packed["steps"] = pack_codes((above - levels).astype(np.int64))
    return packed


def unpack_scores(packed: Mapping[str, bytes], exact: Rows, n: int) -> Floats:
    """The inverse of `pack_scores`, in the same order: a score that was rounded stays between its neighbours."""
    if "all" in packed:
        return np.frombuffer(packed["all"], "<f4")
    first, falls = np.frombuffer(packed["first"], "<u4").astype(np.int64), unpack_codes(packed["falls"], len(exact) - 1)
    scores = np.full(n, np.nan, np.float32)
    scores[exact] = _unsortable(np.concatenate([first, first - np.cumsum(falls)]))
    rest = _others(n, exact)
    if len(rest):
        best, worst = np.frombuffer(packed["ends"], "<f4").astype(np.float64)
        levels = _ROUGH_LEVELS - np.cumsum(unpack_codes(packed["steps"], len(rest)))
        rounded = (worst + (best - worst) * levels / _ROUGH_LEVELS).astype(np.float32)
        after = np.searchsorted(exact, rest)  # the first exact row behind each
        lower = np.append(scores[exact], -np.inf)[after]
        scores[rest] = np.clip(rounded, lower, scores[exact[after - 1]])
    return scores


def _others(n: int, rows: Rows) -> Rows:
    """The rows of n that are not given, ascending."""
    is_other = np.ones(n, np.bool_)
    is_other[rows[rows < n]] = False
    return np.flatnonzero(is_other)


def _sortable(scores: Floats) -> Longs:
    """Floats as whole numbers in the same order, so that neighbours differ by little."""
    bits = scores.astype("<f4").view("<i4").astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + 2**31


def _unsortable(keys: Longs) -> Floats:
    """The inverse of `_sortable`; -0 comes back as 0."""
    bits = keys - 2**31
    return np.where(bits < 0, -bits | 0x80000000, bits).astype("<u4").view("<f4")


class PartsTable(msgspec.Struct, frozen=True, array_like=True):
    """What the bytes of parts mean: their names, and `constants` by name, where all rows have the same."""

    names: list[str]
    constants: dict[str, bytes]


def parts_table(names: Sequence[str], bits: Array) -> PartsTable:
    """The table of parts, whose numbers in float16 are `bits` (n_parts, n) of 16 bits."""
    is_constant = (bits == bits[:, :1]).all(axis=1).tolist()
    constants = {name: bits[n, :1].tobytes() for n, name in enumerate(names) if is_constant[n]}
    return PartsTable([*names], constants)


def pack_parts(table: PartsTable, bits: Array, shown: Rows, rough_to: int, weighed: Collection[str]) -> bytes:
    """
    What is no constant: of the rows that were shown and of the others before `rough_to` the upper 8 bits; of what was
    shown the lower 8 bits too. Of parts that weigh nothing only what was shown, and no lower bits.
    """
    varied = [n for n, name in enumerate(table.names) if name not in table.constants]
    if not varied:
        return b""
    exact, rows = [n for n in varied if table.names[n] in weighed], _others(rough_to, shown)
    upper = (bits >> 8).astype(np.uint8)
    lower = bits[exact][:, shown].astype(np.uint8)
    return huffman(upper[varied][:, shown].tobytes() + upper[exact][:, rows].tobytes() + lower.tobytes())


def unpack_parts(
    table: PartsTable, packed: bytes, shown: Rows, rough_to: int, weighed: Collection[str], n: int
) -> dict[str, NDArray[np.float16]]:
    """The inverse of `pack_parts`: NaN where nothing is kept, and for 8 bits the middle of what they may be."""
    rows, halves = _others(rough_to, shown), np.frombuffer(unhuffman(packed) if packed else b"", np.uint8).astype("<u2")
    varied = [name for name in table.names if name not in table.constants]
    exact = [name for name in varied if name in weighed]
    sizes = (len(varied), len(shown)), (len(exact), len(rows)), (len(exact), len(shown))
    ends = np.cumsum([height * width for height, width in sizes])[:-1]
    upper, others, lower = (half.reshape(size) for half, size in zip(np.split(halves, ends), sizes, strict=True))
    parts = {name: np.full(n, np.nan, "<f2") for name in table.names}
    for name, value in table.constants.items():
        parts[name][:] = np.frombuffer(value, "<f2")
    for name, column in zip(varied, upper, strict=True):
        parts[name][shown] = _middle(column)
    for name, column, ends_of_bits in zip(exact, others, lower, strict=True):
        parts[name][rows] = _middle(column)
        parts[name][shown] = (upper[varied.index(name)] << 8 | ends_of_bits).view("<f2")
    return parts


def _middle(upper: Array) -> NDArray[np.float16]:
    """Floats whose upper 8 bits these are, in the middle of what they may be; 0 stays 0."""
    return np.where(upper & 0x7F, upper << 8 | 0x80, 0).astype("<u2").view("<f2")
