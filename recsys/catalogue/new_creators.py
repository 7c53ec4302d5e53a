"""Which creators were hardly delivered yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recsys.clock import Millis
from recsys.types import Longs, Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureSnapshot:
    """
    Deliveries by creator's number and the controller's factor, as of `read_at`; `version` grows when a creator stops
    being new.
    """

    version: int = 0
    read_at: Millis | None = None
    deliveries: Mapping[int, int] = field(default_factory=dict)
    factor: float = 1.0  # what the controller multiplies the weight of locality by

    def is_new(self, creator_nos: Longs, limit: int) -> Mask:
        """(n,) whether creators (n,), each once, were delivered less often than `limit`."""
        established = [number for number, n in self.deliveries.items() if n >= limit]
        return np.isin(creator_nos, established, assume_unique=True, invert=True)
