"""How many requests a service key may make: a bucket of tokens for each, filled by a clock that only goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(slots=True)
class Bucket:
    """Tokens that come back evenly, up to those of one second (at least one), in seconds of `clock`."""

    per_second: float
    clock: Callable[[], float] = monotonic
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self._most, self.clock()

    @property
    def _most(self) -> float:
        return max(1.0, self.per_second)

    def wait_s(self) -> float:
        """Take a token and return 0, or the seconds until there is one. Of one thread only."""
        at = self.clock()
        self._tokens = min(self._most, self._tokens + (at - self._at) * self.per_second)
        self._at = at
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.per_second
