"""Intervals of shares."""

import numpy as np
from numpy.typing import NDArray

from recsys.types import Reals


def wilson_interval(share: Reals, n: NDArray[np.int64]) -> tuple[Reals, Reals]:
    """The 95 % interval of shares of n (Wilson 1927), which does not shrink to a point at shares of 0 and 1."""
    z2 = 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
