"""
Boosted trees as tables, which sum up faster than trees are walked and give the same bits.

The leaves of a tree are the bits of a mask, from left to right. A split that sends a row to the right rules out the
leaves below its left child, so the leaf that the row reaches is the lowest bit that no split rules out. The splits of
one feature rule out more leaves the higher the value is, so one mask per tree and rank of the value among the feature's
thresholds holds all that they say (QuickScorer: Lucchese et al. 2015, with the prefixes worked out beforehand).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from ctypes import CDLL, Structure, byref, c_int64, c_void_p
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Final, NamedTuple

import numpy as np

from recsys.kernels import address, library
from recsys.types import Array, Floats, Longs, Reals

MAX_LEAVES: Final = 64  # bits of the widest mask
MAX_ENTRIES: Final = 2**22  # of all masks; larger tables would not stay in a cache
ZERO: Final = float(np.float32(1e-35))
"""LightGBM reads a value as 0 that is not farther from it."""

_N_TOGETHER: Final = 4  # rows, see native.c
_LANE_BYTES: Final = 16  # of masks that are joined at once, see native.c
_TOGETHER: Final = 4  # thresholds that are compared at once
_NAN_IS_MISSING, _ZERO_IS_MISSING = 2, 1  # LightGBM's kinds of missing values

TreeFields = Mapping[str, Sequence[str]]
"""The fields of a checked tree, as LightGBM writes them."""


class _Split(NamedTuple):
    """One split: it takes `ruled_out` from the mask of its tree for a row that it sends to the right."""

    threshold: float
    tree: int
    ruled_out: int
    is_nan_right: bool
    is_zero_right: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeTables:
    """
    Trees over the same features.

    Shapes: features (n_used,) ascending; starts (n_used + 1,) where the thresholds of each begin; thresholds ascending
    within a feature; masks (.., n_trees) of an unsigned type: for used feature j from row starts[j] + 3 j on, one per
    rank, then that of an unknown value, then that of a zero; leaves (n_trees, bits of a mask).
    """

    features: Longs
    starts: Longs
    thresholds: Reals
    masks: Array
    leaves: Reals
    compiled: "_CompiledTables" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", _compiled(self))

    def sums(self, matrix: Floats) -> Reals:
        """(n,) the sums of all trees for rows (n, n_features), in the order of the trees."""
        native = library()
        if native is None or matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
            return sums_in_numpy(self, matrix)
        return sums_compiled(native, self, matrix)


def sums_in_numpy(tables: TreeTables, matrix: Floats) -> Reals:
    """The reference of `TreeTables.sums`."""
    n_trees = len(tables.leaves)
    left = np.full((len(matrix), n_trees), np.iinfo(tables.masks.dtype).max, tables.masks.dtype)
    for j, feature in enumerate(tables.features):
        start, end = tables.starts[j], tables.starts[j + 1]
        values = matrix[:, feature].astype(np.float64)
        ranks = np.searchsorted(tables.thresholds[start:end], values)
        ranks[np.isnan(values)] = end - start + 1
        ranks[np.abs(values) <= ZERO] = end - start + 2
        left &= tables.masks[start + 3 * j + ranks]
    lowest = np.bitwise_count((left & -left) - 1)
    total = np.zeros(len(matrix))
    for tree, leaves in enumerate(tables.leaves):  # one by one: the order of the additions is LightGBM's
        total += leaves[lowest[:, tree]]
    return total


def sums_compiled(native: CDLL, tables: TreeTables, matrix: Floats) -> Reals:
    """`TreeTables.sums` of a contiguous float32 matrix by the compiled loop."""
    own = tables.compiled
    left, total = np.empty((_N_TOGETHER, own.trees.width), tables.masks.dtype), np.empty(len(matrix))
    getattr(native, own.function)(
        byref(own.trees), address(matrix), c_int64(len(matrix)), c_int64(matrix.shape[1]), address(left), address(total)
    )
    return total


class _Trees(Structure):
    """The struct `trees` of native.c."""

    _fields_ = (
        *((name, c_void_p) for name in ("thresholds", "starts", "features", "first", "lengths", "masks", "leaves")),
        *((name, c_int64) for name in ("n_used", "n_trees", "width")),
    )


class _CompiledTables(NamedTuple):
    """The tables as the compiled loop reads them, with the arrays that it points into."""

    function: str
    trees: _Trees
    arrays: tuple[Array, ...]


def _compiled(tables: TreeTables) -> _CompiledTables:
    n_used, (n_masks, n_trees), size = len(tables.features), tables.masks.shape, tables.masks.itemsize
    ends = pairwise(tables.starts.tolist())
    thresholds = [_filled_up(_at_most(tables.thresholds[start:end])) for start, end in ends]
    width = -(-n_trees * size // _LANE_BYTES) * _LANE_BYTES // size
    masks = np.zeros((n_masks, width), tables.masks.dtype)
    masks[:, :n_trees] = tables.masks
    arrays: dict[str, Array] = {
        "thresholds": np.concatenate([np.empty(0, np.float32), *thresholds]),
        "starts": np.cumsum([0, *map(len, thresholds)], dtype=np.int64),
        "features": np.ascontiguousarray(tables.features, np.int64),
        "first": tables.starts[:-1] + 3 * np.arange(n_used),
        "lengths": np.diff(tables.starts),
        "masks": masks,
        "leaves": np.ascontiguousarray(tables.leaves, np.float64),
    }
    trees = _Trees(
        **{name: address(array) for name, array in arrays.items()}, n_used=n_used, n_trees=n_trees, width=width
    )
    return _CompiledTables(f"sum_trees_{8 * size}", trees, tuple(arrays.values()))


def _at_most(thresholds: Reals) -> Floats:
    """The largest 32-bit floats that are not above them: of such floats the same ones are above."""
    with np.errstate(over="ignore", under="ignore"):  # what no float of 32 bits is near to is between two of them
        nearest = thresholds.astype(np.float32)
        return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _filled_up(thresholds: Floats) -> Floats:
    """With infinity, to a multiple of what is compared at once: nothing is above that."""
    return np.pad(thresholds, (0, -len(thresholds) % _TOGETHER), constant_values=np.inf)


def build_tables(trees: Sequence[TreeFields]) -> TreeTables | None:
    """The tables of checked trees; None for trees that are too large for tables."""
    n_leaves = max((len(tree["leaf_value"]) for tree in trees), default=1)
    if n_leaves > MAX_LEAVES:
        return None
    bits = next(bits for bits in (8, 16, 32, 64) if n_leaves <= bits)
    leaves, by_feature = np.zeros((len(trees), bits)), defaultdict[int, list[_Split]](list)
    for number, tree in enumerate(trees):
        order = _add_splits(tree, number, by_feature)
        leaves[number, : len(order)] = [float(tree["leaf_value"][leaf]) for leaf in order]
    features = sorted(by_feature)
    thresholds = [sorted({split.threshold for split in by_feature[feature]}) for feature in features]
    if sum(len(own) + 3 for own in thresholds) * len(trees) > MAX_ENTRIES:
        return None
    masks = [_masks_of(by_feature[feature], len(trees), np.dtype(f"u{bits // 8}")) for feature in features]
    return TreeTables(
        features=np.array(features, np.int64),
        starts=np.cumsum([0, *map(len, thresholds)], dtype=np.int64),
        thresholds=np.array([threshold for own in thresholds for threshold in own], np.float64),
        masks=np.concatenate([np.empty((0, len(trees)), f"u{bits // 8}"), *masks]),
        leaves=leaves,
    )


def _add_splits(tree: TreeFields, number: int, by_feature: Mapping[int, list[_Split]]) -> list[int]:
    """Adds the splits of a tree to those of their features; returns its leaves from left to right."""
    if len(tree["leaf_value"]) == 1:
        return [0]
    left, right = ([int(child) for child in tree[side]] for side in ("left_child", "right_child"))
    order: list[int] = []

    def visit(node: int) -> int:
        """The bits of the leaves below a node."""
        if node < 0:
            order.append(~node)
            return 1 << (len(order) - 1)
        ruled_out = visit(left[node])
        kind, threshold = int(tree["decision_type"][node]), float(tree["threshold"][node])
        missing, is_default_right, is_zero_right = kind >> 2 & 3, not kind & 2, threshold < 0
        split = _Split(
            threshold, number, ruled_out,
            is_nan_right=is_default_right if missing in (_NAN_IS_MISSING, _ZERO_IS_MISSING) else is_zero_right,
            is_zero_right=is_default_right if missing == _ZERO_IS_MISSING else is_zero_right,
        )  # fmt: skip
        by_feature[int(tree["split_feature"][node])].append(split)
        return ruled_out | visit(right[node])

    visit(0)
    return order


def _masks_of(splits: Sequence[_Split], n_trees: int, kind: np.dtype[np.unsignedinteger]) -> Array:
    """(n_thresholds + 3, n_trees) the masks of one feature: by rank, of an unknown value, of a zero."""
    full = int(np.iinfo(kind).max)
    rows = [np.full(n_trees, full, kind)]
    for _, equal in groupby(sorted(splits), key=lambda split: split.threshold):
        rows.append(_without(rows[-1], equal))
    unknown = _without(rows[0], (split for split in splits if split.is_nan_right))
    zero = _without(rows[0], (split for split in splits if split.is_zero_right))
    return np.array([*rows, unknown, zero])


def _without(masks: Array, splits: Iterable[_Split]) -> Array:
    """The masks (n_trees,) without what some splits rule out."""
    rest = masks.copy()
    for split in splits:
        rest[split.tree] &= ~np.asarray(split.ruled_out, masks.dtype)
    return rest
