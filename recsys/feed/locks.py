"""
Requests of one person wait for each other inside a process, so that the store's compare-and-swap has to arbitrate
between processes only. Waiting is a courtesy: whoever waited long enough goes on, and the store decides.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Final
from zlib import crc32

STRIPES: Final = 1_024  # people who share a lock wait for each other now and then
PATIENCE_S: Final = 2.0


def _stripes() -> "tuple[RLock, ...]":
    return tuple(RLock() for _ in range(STRIPES))


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks of one process."""

    _stripes: "tuple[RLock, ...]" = field(default_factory=_stripes)

    @contextmanager
    def of(self, user_id: str) -> Iterator[None]:
        """One request of a person at a time, if that can be had within two seconds."""
        lock = self._stripes[crc32(user_id.encode(errors="replace")) % STRIPES]
        is_held = lock.acquire(timeout=PATIENCE_S)
        try:
            yield
        finally:
            if is_held:
                lock.release()
