"""The best rows of one user's scores, among those that are allowed."""

from ctypes import c_int64

import numpy as np

from recsys.kernels import address, library
from recsys.topk import top_k
from recsys.types import Floats, Mask, Rows


def best_allowed(scores: Floats, allowed: Mask, k: int) -> Rows:
    """
    Up to k of the columns that are allowed, best first, equal ones by the smaller column. A score that is NaN is none.

    Shapes: scores (n,), allowed (n,).
    """
    native = library()
    if native is None or scores.dtype != np.float32 or len(allowed) != len(scores):  # the loop checks nothing
        return best_allowed_in_numpy(scores, allowed, k)
    scores, allowed = np.ascontiguousarray(scores), np.ascontiguousarray(allowed, np.bool_)
    best = np.empty(k, np.int64)
    found = native.best_allowed(address(scores), address(allowed), c_int64(len(scores)), c_int64(k), address(best))
    rows: Rows = best[:found].astype(np.intp)
    return rows


def best_allowed_in_numpy(scores: Floats, allowed: Mask, k: int) -> Rows:
    """The reference of `best_allowed`."""
    columns: Rows = np.flatnonzero(allowed & ~np.isnan(scores))
    best: Rows = columns[top_k(scores[columns][None], k)[0]]
    return best
