"""
Character n-grams of 2 to 5 letters inside words, as sparse weights.

They need no dictionary, tolerate spelling, and are the best features for insults and Arabizi (measured: docs/text.md).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from scipy import sparse

from recsys.types import Csr, Floats

LENGTHS: Final = (2, 5)
"""Letters of the shortest and the longest, the spaces around a word included."""


def ngrams_of(words: Iterable[str]) -> list[str]:
    """The n-grams of every word, with a space before and after it."""
    low, high = LENGTHS
    return [
        padded[start : start + size]
        for padded in (f" {word} " for word in words)
        for size in range(low, min(high, len(padded)) + 1)
        for start in range(len(padded) - size + 1)
    ]


def select_ngrams(texts: Sequence[Sequence[str]], *, min_texts: int, max_ngrams: int) -> tuple[tuple[str, ...], Floats]:
    """
    The n-grams that occur in most of the texts (lists of words), in order of the alphabet, and their smoothed inverse
    document frequency (v,). Those in fewer than `min_texts` texts are left out.
    """
    counts = Counter(ngram for words in texts for ngram in set(ngrams_of(words)))
    frequent = (ngram for ngram in counts if counts[ngram] >= min_texts)
    ngrams = tuple(sorted(sorted(frequent, key=lambda ngram: (-counts[ngram], ngram))[:max_ngrams]))
    idf = np.array([1 + np.log((1 + len(texts)) / (1 + counts[ngram])) for ngram in ngrams], np.float32)
    return ngrams, idf


def ngram_weights(texts: Sequence[Sequence[str]], ngrams: Sequence[str], idf: Floats) -> Csr:
    """
    CSR (n, v) weights of the known n-grams of each text (a list of words): (1 + log(count)) * idf, rows of length 1.
    Zeros where no n-gram is known.
    """
    column = {ngram: number for number, ngram in enumerate(ngrams)}
    rows = [Counter(column[ngram] for ngram in ngrams_of(words) if ngram in column) for words in texts]
    sizes = np.array([len(row) for row in rows], np.intp)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    columns = np.array([number for row in rows for number in sorted(row)], np.int32)
    counts = np.array([row[number] for row in rows for number in sorted(row)], np.float32)
    values = (1 + np.log(counts)) * idf[columns]
    weights = sparse.csr_matrix((values.astype(np.float32), columns, ends), shape=(len(texts), len(ngrams)))
    lengths = np.sqrt(np.asarray(weights.power(2).sum(axis=1)).ravel())
    weights.data = weights.data / np.repeat(np.maximum(lengths, 1e-12), sizes)
    return weights
