"""
What a failover or a restart may have lost, and what follows. Every tag notes which run of which server it was last seen
on. Where it stands on another run, entries that were acknowledged may be gone if nothing waited for them:

- a replica took the place, and writes did not wait for replicas;
- the same server started again, and its log was not flushed with every write.

Then whoever is under the tag gets no page but the safe feed for as long as a cap reaches back: who lost entries cannot
be named. Where writes waited, nothing is lost, and only the new run is noted.
"""

from typing import Final

from recsys.safety.ledger import LEDGER_SPAN_MS
from serving.stores.redis.address import Place, place_name
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Command, Servers
from serving.stores.redis.topology import read_info


class Doubts:
    """Looks at the runs of servers, at the start and before anything is sent by a map that was read again."""

    def __init__(self, servers: Servers, tags: Tags) -> None:
        self._servers: Final = servers
        self._tags: Final = tags
        self._noted: Final[set[bytes]] = set()  # tags whose run this process noted: the note itself may be lost

    def look(self) -> None:
        """Look at every server. Raises StoreError."""
        for place in self._servers.masters:
            self._servers.ask_place(place, ("PING",))  # in a sentence, where it is gone
            self.follow(place)

    def follow(self, place: Place) -> None:
        """Note the run of now, and what it puts in doubt. Raises what redis-py raises."""
        tags = [tag for tag in self._tags.people if self._servers.place(tag) == place]
        noted: list[Command] = [("HMGET", tag + b":meta", "run", "place") for tag in tags]
        reply, *found = self._servers.ask_now(place, ("INFO", "replication"), *noted)
        told, name = read_info(reply), place_name(place).encode()
        run, before = told["master_replid"].encode(), told.get("master_replid2", "").encode()
        moved = [(tag, former, at) for tag, (former, at) in zip(tags, found, strict=True) if former != run]
        if not moved:
            return
        waits = self._servers.durability
        is_flushed = _is_flushed(self._servers, place, is_waited_for=waits.on_disk)
        commands: list[Command] = []
        for tag, former, at in moved:
            if former is None:
                is_kept = tag not in self._noted
            else:
                is_promoted = at != name or before == former  # also under one name that several servers share
                is_kept = waits.replicas > 0 if is_promoted else is_flushed
            commands.append(call("follow", tag, former or b"", run, name, "" if is_kept else LEDGER_SPAN_MS))
        self._servers.ask_now(place, *commands)
        self._noted.update(tags)


def _is_flushed(servers: Servers, place: Place, *, is_waited_for: bool) -> bool:
    """Whether a start of the server reads all that was answered: its settings may be others than before."""
    [kept, flushed] = servers.ask_now(place, ("CONFIG", "GET", "appendonly"), ("CONFIG", "GET", "appendfsync"))
    has_log = bool(kept) and kept[1] == b"yes"
    return has_log and (is_waited_for or (bool(flushed) and flushed[1] == b"always"))
