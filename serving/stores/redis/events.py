"""The log of events on the servers, sealed; and the feed of everybody's, which the outbox fills."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.stores.protocols import AppendResult, Logged
from recsys.types import Event
from serving.stores.redis.committed import CommittedTime
from serving.stores.redis.outbox import Outbox
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Argument, Command, Servers
from serving.stores.redis.vault import Vault, open_former, open_own
from serving.stores.sealing import EVENTS, MAX_TRIES, Key, read_event, seal_event

_AT_ONCE: Final = 1_000  # entries of everybody's that are read at once

_Numbered = tuple[int, Event]


class RedisEvents:
    """`EventLog` on Redis. A person's events are appended in one step; those of several people in as many."""

    def __init__(self, servers: Servers, tags: Tags, vault: Vault, time: CommittedTime, outbox: Outbox) -> None:
        self._servers = servers
        self._tags = tags
        self._vault = vault
        self._time = time
        self._outbox = outbox

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """See `EventLog.append`."""
        waiting: dict[str, list[_Numbered]] = {}
        for number, event in enumerate(events):
            waiting.setdefault(event.user_id, []).append((number, event))
        accepted, stamp = 0, time.time_ns() // 1_000
        for _ in range(MAX_TRIES):  # an erasure may destroy a key at any time
            if not waiting:
                break
            accepted += self._append(waiting, at, stamp)
        if waiting:
            raise StoreError("the keys of people were destroyed while they were used; ask again")
        if events:
            self._time.note(at)
        return AppendResult(accepted=accepted, duplicates=len(events) - accepted)

    def _append(self, waiting: dict[str, list[_Numbered]], at: Millis, stamp: int) -> int:
        """Append what waits, and keep there what another key must seal; how many events were new."""
        commands: dict[bytes, list[Command]] = {}
        sent: dict[bytes, list[tuple[str, bytes, Key]]] = {}
        for user_id, events in waiting.items():
            owner = self._vault.hide(user_id)
            tag, (key, fresh) = self._tags.of(owner), self._vault.proposed(owner)
            values: list[Argument] = []
            for number, event in events:
                values += [number, self._vault.hide_short(event.event_id), seal_event(event, key, owner)]
            commands.setdefault(tag, []).append(call("append", tag, owner, key.number, fresh, at, stamp, *values))
            sent.setdefault(tag, []).append((user_id, owner, key))
        accepted = 0
        for tag, replies in self._servers.ask_all(commands, write=True).items():
            for (user_id, owner, key), reply in zip(sent[tag], replies, strict=True):
                if self._vault.is_settled(owner, key, reply):
                    accepted += reply[1]
                    del waiting[user_id]
        return accepted

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """See `EventLog.since`."""
        owner = self._vault.hide(user_id)
        tag = self._tags.of(owner)
        entries, key = self._servers.ask(
            tag, ("XRANGE", tag + b":v:" + owner, f"({seq}-0", "+"), ("HMGET", tag + b":k:" + owner, "n", "k")
        )
        return _former(self._vault.note(owner, *key), owner, entries)

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """See `EventLog.waiting`."""
        commands: dict[bytes, list[Command]] = {
            tag: [("ZRANGEBYSCORE", tag + b":waiting", "-inf", f"({until}")] for tag in self._tags.people
        }
        owners = [owner for replies in self._servers.ask_all(commands).values() for owner in replies[0]]
        users = set[str]()
        for start in range(0, len(owners), _AT_ONCE):
            some = owners[start : start + _AT_ONCE]
            found = self._look_up([(owner, ("XREVRANGE", b":v:", "+", "-", "COUNT", 1)) for owner in some])
            users |= {logged.event.user_id for one in found for logged in one}
        return tuple(sorted(users))

    def received_since(self, at: Millis, after: int = 0) -> Iterator[Logged]:
        """See `EventLog.received_since`."""
        self._outbox.settle()
        shared, last = self._tags.shared, after
        while True:
            [entries] = self._servers.ask(
                shared, ("XRANGE", shared + b":feed", f"({max(0, last)}-0", "+", "COUNT", _AT_ONCE)
            )
            places = [(int(place.split(b"-")[0]), dict(zip(of[::2], of[1::2], strict=True))) for place, of in entries]
            wanted = [(place, of) for place, of in places if int(of[b"r"]) >= at]
            found = self._look_up(
                [(of[b"o"], ("XRANGE", b":v:", of[b"q"] + b"-0", of[b"q"] + b"-0")) for _, of in wanted]
            )
            for (place, _), logged in zip(wanted, found, strict=True):
                for one in logged:
                    yield Logged(place, one.received_at, one.event)
            if len(entries) < _AT_ONCE:
                return
            last = places[-1][0]

    def last_seq(self, behind: int = 0) -> int:
        """See `EventLog.last_seq`."""
        self._outbox.settle()
        shared = self._tags.shared
        [entries] = self._servers.ask(shared, ("XREVRANGE", shared + b":feed", "+", "-", "COUNT", 1))
        return (int(entries[0][0].split(b"-")[0]) if entries else 0) - behind

    def _look_up(self, wanted: Sequence[tuple[bytes, Command]]) -> list[tuple[Logged, ...]]:
        """Entries of people's own logs, by commands that lack the name of the key but its kind."""
        commands: dict[bytes, list[Command]] = {}
        for owner, (name, kind, *rest) in wanted:
            tag = self._tags.of(owner)
            assert isinstance(kind, bytes)
            own = commands.setdefault(tag, [])
            own += [(name, tag + kind + owner, *rest), ("HMGET", tag + b":k:" + owner, "n", "k")]
        replies = {tag: iter(found) for tag, found in self._servers.ask_all(commands).items()} if commands else {}
        results = []
        for owner, _ in wanted:
            of_tag = replies[self._tags.of(owner)]
            entries, key = next(of_tag), next(of_tag)
            results.append(_former(self._vault.note(owner, *key), owner, entries))
        return results


def read_logged(key: Key | None, owner: bytes, entries: Sequence[Any]) -> tuple[Logged, ...]:
    """A person's entries, which are of one moment with the key."""
    return tuple(
        Logged(seq, received_at, read_event(open_own(key, sealed, EVENTS + owner)))
        for seq, received_at, sealed in map(_fields, entries)
    )


def _former(key: Key | None, owner: bytes, entries: Sequence[Any]) -> tuple[Logged, ...]:
    """A person's entries, without those of before an erasure that came in between."""
    opened = (
        (seq, received_at, open_former(key, sealed, EVENTS + owner))
        for seq, received_at, sealed in map(_fields, entries)
    )
    return tuple(Logged(seq, at, read_event(event)) for seq, at, event in opened if event is not None)


def _fields(entry: Any) -> tuple[int, Millis, bytes]:
    place, (_, received_at, _, _, _, sealed) = entry
    return int(place.split(b"-")[0]), int(received_at), sealed
