"""
The first k of a block of scores: for each row the k largest, best first, equal ones by the smaller column.
"""

from typing import Final

import numpy as np

from recsys.types import Floats, Rows

_GROUP: Final = 64


def top_k(scores: Floats, k: int) -> Rows:
    """
    (q, min(k, n)) columns. A score of minus infinity may be returned where nothing better is left; NaN must not occur.

    The k-th largest maximum of groups of 64 columns is at most the k-th largest score, so only the few columns that
    reach it need sorting: one pass that reads memory in order, instead of a partition of every row. Where there are few
    groups, the k-th largest score itself is found, by a partition.
    """
    q, n = scores.shape
    k = min(k, n)
    if not q or not k:
        return np.empty((q, k), np.intp)
    if n < 2 * k:  # few columns: sorting them all is as good
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    whole = n - n % _GROUP
    peaks = scores[:, :whole].reshape(q, -1, _GROUP).max(axis=2)
    if peaks.shape[1] < 2 * k:  # too few groups to tell much
        bounds = np.partition(scores, n - k, axis=1)[:, n - k]
    else:
        bounds = np.partition(peaks, peaks.shape[1] - k, axis=1)[:, -k]
    best = np.empty((q, k), np.intp)
    for row, bound in enumerate(bounds):
        reach = np.flatnonzero(scores[row] >= bound)
        if len(reach) > 8 * _GROUP * k:  # most are equal, as in a row of zeros
            best[row] = np.argsort(-scores[row], kind="stable")[:k]
        else:
            best[row] = reach[np.argsort(-scores[row, reach], kind="stable")[:k]]
    return best
