"""
The end of destroyed keys in the logs of servers. An erasure deletes a key from memory at once; the append-only file of
its server, and of each replica, has it until that file is rewritten, which is asked for here.
"""

import time
from typing import Final

from recsys.errors import StoreError
from serving.stores.redis.address import Place
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Command, Servers
from serving.stores.redis.topology import replicas_of

EVERY_S: Final = 3_600.0
"""How often a server's log is rewritten at most: it costs the server a copy of its memory on disk."""


class Rewriter:
    """Rewrites the logs of servers on which somebody was erased since their last rewriting, each once an hour."""

    def __init__(self, servers: Servers, tags: Tags, every_s: float = EVERY_S) -> None:
        self._servers: Final = servers
        self._tags: Final = tags
        self._every_s: Final = every_s
        self._done_at: Final[dict[Place, float]] = {}

    def work(self) -> None:
        """Rewrite what is due. Raises StoreError; then it is due still."""
        commands: dict[bytes, list[Command]] = {tag: [("HGET", tag + b":meta", "shred")] for tag in self._tags.people}
        due: dict[Place, list[tuple[bytes, bytes]]] = {}
        for tag, [erasure] in self._servers.ask_all(commands).items():
            if erasure is not None:
                due.setdefault(self._servers.place(tag), []).append((tag, erasure))
        for place, erasures in due.items():
            if time.monotonic() - self._done_at.get(place, float("-inf")) >= self._every_s:
                self._done_at[place] = time.monotonic()
                self._rewrite(place, erasures)

    def _rewrite(self, master: Place, erasures: list[tuple[bytes, bytes]]) -> None:
        """An erasure that comes meanwhile stays due. A replica has an erasure before its page or soon after it."""
        for place in (*replicas_of(lambda at, command: self._servers.ask_place(at, command)[0], master), master):
            try:
                self._servers.ask_place(place, ("BGREWRITEAOF",))
            except StoreError as error:
                if "in progress" not in str(error):
                    raise
                self._done_at.pop(master, None)  # the one in progress may have begun before: again soon
                return
        self._servers.ask_all({tag: [call("rewritten", tag, erasure)] for tag, erasure in erasures})
