"""
The best items by affinity: those that a user would watch most of, by what is expected of each and by their own
coefficients. Exact, without a pass over the catalogue.

What is expected of an item tells far more than the user's coefficients do. So items stand in groups of equal labels
(topics and languages), in each of them the best expected first. A group is read until nothing behind can be among the
best: the coefficients of words move an item at most by their length times that of its words.
"""

from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.errors import StageError
from recsys.kernels import address, library
from recsys.types import Array, Floats, Ids, Longs, Mask, Reals, Rows

_LANES: Final = 4
"""Sums that are taken side by side, and added up at the end: in the same order in C and in NumPy."""

_MAX_LABELS: Final = 64  # bits of one number

_LONGER: Final = 1 + 1e-5
"""Lengths are this much longer than they are, as 32-bit floats are rounded."""

_ROUNDING: Final = 1e-12
"""The share of the largest number that rounding may take off a sum."""


@dataclass(frozen=True, slots=True, eq=False)
class AffinityIndex:
    """
    Shapes: `features` (n_items, d) of items, the first `n_labels` columns their labels; `labels` (n_groups, n_labels)
            of a group, whose items are `rows[starts[g]:starts[g + 1]]`; `expected` (n_items,) the response of each of
            `rows`, falling within a group, and `lengths` (n_items,) of their words; `widest` (n_groups,) the longest.
    """

    features: Floats
    n_labels: int
    labels: Reals
    starts: Longs
    rows: Ids
    expected: Floats
    lengths: Floats
    widest: Reals


def index_affinity(features: Floats, expected: Floats) -> AffinityIndex:
    """
    The index of items by their features (n_items, d) and the response (n_items,) that each usually gets. Raises
    StageError when a number is not finite.
    """
    n_labels, expected = _count_labels(features), np.ascontiguousarray(expected, np.float32)
    labels = np.asarray(features[:, :n_labels])
    lengths = np.sqrt(np.einsum("nd,nd->n", features[:, n_labels:], features[:, n_labels:]))
    if not (np.isfinite(expected).all() and np.isfinite(labels).all() and np.isfinite(lengths).all()):
        raise StageError("found features or rates of items that are not finite, expected finite numbers; train again")
    group, examples = _group(labels)
    order = np.lexsort((-expected, group))
    starts = np.searchsorted(group[order], np.arange(len(examples) + 1))
    lengths = np.ascontiguousarray(lengths[order] * np.float32(_LONGER), np.float32)
    return AffinityIndex(
        features=features,
        n_labels=n_labels,
        labels=labels[examples].astype(np.float64),
        starts=starts.astype(np.int64),
        rows=order.astype(np.int32),
        expected=expected[order],
        lengths=lengths,
        widest=np.maximum.reduceat(lengths, starts[:-1]).astype(np.float64) if len(order) else np.empty(0),
    )


def _count_labels(features: Floats) -> int:
    """How many of the first columns have one value beside 0: topics, languages, themes."""
    most: int = min(features.shape[1], _MAX_LABELS)
    for n in range(most):
        values = features[:, n][features[:, n] != 0]
        if len(values) and (values != values[0]).any():
            return n
    return most


def _group(labels: Floats) -> tuple[Longs, Rows]:
    """The group (n,) of each row of labels (n, n_labels), and an example of each group."""
    bits = np.zeros((len(labels), _MAX_LABELS // 8), np.uint8)
    packed = np.packbits(labels != 0, axis=1)
    bits[:, : packed.shape[1]] = packed
    _, examples, group = np.unique(bits.view(np.uint64).ravel(), return_index=True, return_inverse=True)
    return group, examples


def best_by_affinity(index: AffinityIndex, user: Floats, k: int, allowed: Mask) -> Rows:
    """
    The k rows of which a user (d,) would watch most among the allowed (n_items,), in no order; equal ones by the
    smaller row. All that are allowed where these are fewer.
    """
    k, native = min(k, int(np.count_nonzero(allowed))), library()
    if k < 1:
        return np.empty(0, np.intp)
    is_plain = index.features.dtype == np.float32 and index.features.flags.c_contiguous
    if native is None or not is_plain or len(allowed) != len(index.rows) or not np.isfinite(user).all():
        return best_in_numpy(index, user, k, allowed)
    return best_compiled(native, index, user, k, allowed)


class _Search(Structure):
    """The struct `search` of affinity.c."""

    _fields_ = (
        *((name, c_void_p) for name in ("features", "words", "base", "order", "moves", "starts", "rows")),
        *((name, c_void_p) for name in ("expected", "lengths", "allowed", "scores", "best")),
        *((name, c_int64) for name in ("n_groups", "width", "n_words", "k")),
        *((name, c_double) for name in ("length", "slack")),
    )


def best_compiled(native: CDLL, index: AffinityIndex, user: Floats, k: int, allowed: Mask) -> Rows:
    """`best_by_affinity` by the compiled loop, for 1 to all allowed rows."""
    words, base = _split(index, user)
    length, first = float(np.sqrt(words @ words)), index.expected[index.starts[:-1]]
    slack = _ROUNDING * float((np.abs(base) + np.abs(first) + index.widest * length).max())
    moves = index.widest * length + slack
    order = np.argsort(-(base + first + moves))
    scores, best, allowed = np.empty(k), np.empty(k, np.int64), np.ascontiguousarray(allowed, np.bool_)
    arrays: dict[str, Array] = {
        "features": index.features, "words": words, "base": base, "order": order, "moves": moves,
        "starts": index.starts, "rows": index.rows, "expected": index.expected, "lengths": index.lengths,
        "allowed": allowed, "scores": scores, "best": best,
    }  # fmt: skip
    search = _Search(
        **{name: address(array) for name, array in arrays.items()},
        n_groups=len(order), width=index.features.shape[1], n_words=len(words), k=k, length=length, slack=slack,
    )  # fmt: skip
    found = native.best_by_affinity(byref(search))
    return best[:found].astype(np.intp)


def best_in_numpy(index: AffinityIndex, user: Floats, k: int, allowed: Mask) -> Rows:
    """The reference of `best_by_affinity`. Only items are scored that words may lift among the best."""
    words, base = _split(index, user)
    known = np.repeat(base, np.diff(index.starts)) + index.expected
    moves = index.lengths * float(np.sqrt(words @ words))
    is_open = allowed[index.rows]
    least = np.partition((known - moves)[is_open], -k)[-k]  # k items get as much, whatever their words do
    is_near = is_open & (known + moves >= least - _ROUNDING * float(np.abs(known).max() + moves.max()))
    rows = index.rows[is_near]
    order = np.argsort(rows)
    rows, scores = rows[order].astype(np.intp), known[is_near][order] + _of_words(index, rows[order], words)
    best: Rows = rows[np.argsort(-scores, kind="stable")[:k]]
    return best


def _of_words(index: AffinityIndex, rows: Ids, words: Reals) -> Reals:
    """(n,) what a user's coefficients of words give to items: sums side by side, as in the compiled loop."""
    lanes = np.zeros((_LANES, len(rows)))
    for n, coefficient in enumerate(words):
        lanes[n % _LANES] += index.features[rows, index.n_labels + n].astype(np.float64) * coefficient
    of_words: Reals = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    return of_words


def _split(index: AffinityIndex, user: Floats) -> tuple[Reals, Reals]:
    """The user's coefficients of words, and what their other ones give to the labels of each group."""
    coefficients = user.astype(np.float64)
    return coefficients[index.n_labels :].copy(), index.labels @ coefficients[: index.n_labels]
