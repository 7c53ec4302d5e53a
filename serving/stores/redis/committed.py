"""The last committed time over all tags, for the guard of the clock."""

import time
from threading import Lock
from typing import Final

from recsys.clock import Millis
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Command, Servers

_EVERY_S: Final = 1.0


class CommittedTime:
    """What any process committed at the latest: read from all tags once a second, and moved on by what is written."""

    def __init__(self, servers: Servers, tags: Tags) -> None:
        self._servers: Final = servers
        self._tags: Final = (*tags.people, tags.shared)
        self._lock: Final = Lock()
        self._read_at: float | None = None
        self._known: Millis = 0

    def read(self) -> Millis:
        """The time; 0 = never. Raises StoreError."""
        if self._read_at is None or time.monotonic() - self._read_at > _EVERY_S:
            commands: dict[bytes, list[Command]] = {tag: [("HGET", tag + b":meta", "c")] for tag in self._tags}
            found = [replies[0] for replies in self._servers.ask_all(commands).values()]
            with self._lock:
                self._known = max((int(at) for at in found if at is not None), default=0)
                self._read_at = time.monotonic()
        return self._known

    def note(self, at: Millis) -> None:
        """Something was written at a time."""
        with self._lock:
            self._known = max(self._known, at)

    def move(self, at: Millis) -> None:
        """Move the time on to `at`; under one tag, which is enough."""
        tag = self._tags[-1]
        self._servers.write(tag, call("set_time", tag, at, "max"))
        self.note(at)

    def set(self, at: Millis) -> None:
        """Make `at` the time, also where it is earlier."""
        self._servers.ask_all({tag: [call("set_time", tag, at, "set")] for tag in self._tags}, write=True)
        with self._lock:
            self._known = at
