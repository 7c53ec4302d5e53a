"""
Letter runs: the runs of 2 to 5 letters inside words, as sparse weights.

They need no dictionary, forgive spelling, and are what insults and Arabizi are best known by (measured: docs/text.md).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from scipy import sparse

from recsys.types import Floats

LENGTHS: Final = (2, 5)  # letters, the spaces around a word included


def runs_of(words: Iterable[str]) -> list[str]:
    """The runs of every word, a space before and after it."""
    low, high = LENGTHS
    return [
        padded[start : start + size]
        for padded in (f" {word} " for word in words)
        for size in range(low, min(high, len(padded)) + 1)
        for start in range(len(padded) - size + 1)
    ]


def choose(texts: Sequence[Sequence[str]], *, least_texts: int, most: int) -> tuple[tuple[str, ...], Floats]:
    """
    The runs that stand in most of the texts (lists of words), in order of the alphabet, and the rarity (v,) of each:
    its inverse document frequency, smoothed.
    """
    counts = Counter(run for words in texts for run in set(runs_of(words)))
    usual = sorted((run for run in counts if counts[run] >= least_texts), key=lambda run: (-counts[run], run))[:most]
    runs = tuple(sorted(usual))
    rarity = np.array([1 + np.log((1 + len(texts)) / (1 + counts[run])) for run in runs], np.float32)
    return runs, rarity


def weigh(texts: Sequence[Sequence[str]], runs: Sequence[str], rarity: Floats) -> Any:
    """
    (n, v) sparse weights of the known runs of each text (a list of words): 1 + log(count), times the rarity, rows of
    length 1. Zeros where no run is known.
    """
    column = {run: number for number, run in enumerate(runs)}
    found = [Counter(column[run] for run in runs_of(words) if run in column) for words in texts]
    sizes = np.array([len(row) for row in found], np.intp)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    columns = np.array([number for row in found for number in sorted(row)], np.int32)
    counts = np.array([row[number] for row in found for number in sorted(row)], np.float32)
    values = (1 + np.log(counts)) * rarity[columns]
    weights = sparse.csr_array((values.astype(np.float32), columns, ends), shape=(len(texts), len(runs)))
    lengths = np.sqrt(np.asarray(weights.power(2).sum(axis=1)).ravel())
    weights.data = weights.data / np.repeat(np.maximum(lengths, 1e-12), sizes)
    return weights
