"""
The features of the language detector: hashed character n-grams, summed over stretches of text.

A text's words are written one after another, a space between them, and every n-gram of 1 to 5 characters is hashed
to a row of a table of weights. The sum of the rows of all n-grams that start in a stretch of text is that stretch's
evidence, so one cumulative sum answers for every word, every window and the whole. No dictionary, no sparse matrix.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.types import Floats, Longs, Reals

ORDERS: Final = 5
BITS: Final = 16
_MULTIPLIER: Final = np.uint32(0x01000193)  # FNV-1a
_MIX: Final = np.uint32(0x9E3779B1)
_PAD: Final = " " * (ORDERS - 1)


def join_texts(texts: Sequence[str]) -> tuple[str, Longs, Longs]:
    """
    One string of all texts, each padded so that no n-gram spans two; starts and ends (n,) of each text's n-grams.

    A stretch begins at the space before its first word and ends after its last letter.
    """
    lengths = np.array([len(text) + 1 for text in texts], np.int64)
    starts = np.cumsum(lengths + ORDERS - 1) - (lengths + ORDERS - 1)
    return "".join(f" {text}{_PAD}" for text in texts), starts, starts + lengths


def ngram_rows(joined: str) -> NDArray[np.uint32]:
    """(ORDERS, n) rows of the table: for each position the n-grams of 1, 2 ... characters that start there."""
    letters = np.frombuffer(joined.encode("utf-32-le", "replace"), np.uint32)
    padded = np.concatenate([letters, np.full(ORDERS, ord(" "), np.uint32)])
    rows = np.empty((ORDERS, len(letters)), np.uint32)
    state = np.full(len(letters), 2166136261, np.uint32)
    for order in range(ORDERS):
        state = (state ^ padded[order : order + len(letters)]) * _MULTIPLIER
        mixed = (state ^ (state >> np.uint32(15))) * _MIX
        rows[order] = mixed >> np.uint32(32 - BITS)
    return rows


def cumulative_evidence(joined: str, weights: Floats) -> Reals:
    """(n + 1, classes): sums of the weights of all n-grams that start before each position."""
    rows = ngram_rows(joined)
    total = np.zeros((len(joined) + 1, weights.shape[1]), np.float64)  # float32 would lose a late word's digits
    for order in range(ORDERS):
        total[1:] += weights[rows[order]]
    np.cumsum(total, axis=0, out=total)
    return total


def stretch_evidence(total: Reals, starts: Longs, ends: Longs) -> Floats:
    """(m, classes) evidence of stretches, divided by the root of their number of n-grams."""
    counts = np.maximum(ends - starts, 1)[:, None] * ORDERS
    return np.asarray((total[ends] - total[starts]) / np.sqrt(counts), np.float32)
