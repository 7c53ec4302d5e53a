"""The audit log on the servers. It names no person, so nothing in it is sealed."""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.stores.audit import Audited, AuditEntry
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Argument, Servers

_AT_ONCE: Final = 1_000  # entries that are read at once


class RedisAudit:
    """`AuditLog` on Redis. An erasure's entry comes through the outbox: whoever reads the log moves that first."""

    def __init__(self, servers: Servers, tags: Tags, drain: Callable[[], None]) -> None:
        self._servers = servers
        self._tags = tags
        self._drain = drain

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """See `AuditLog.append`."""
        if entries:
            tag = self._tags.shared
            self._servers.write(tag, call("log", tag, secrets.token_bytes(12), *audit_arguments(entries)))

    def page(self, since: Millis, after: int, n: int) -> tuple[Audited, ...]:
        """See `AuditLog.page`."""
        self._drain()
        found: list[Audited] = []
        last, tag = after, self._tags.shared
        while len(found) < n:
            [entries] = self._servers.ask(tag, ("XRANGE", tag + b":audit", f"({last}-0", "+", "COUNT", _AT_ONCE))
            for place, (_, at, _, who, _, what) in entries:
                last = int(place.split(b"-")[0])
                if int(at) >= since:
                    found.append(Audited(last, AuditEntry(int(at), who.decode(), what.decode())))
            if len(entries) < _AT_ONCE:
                break
        return tuple(found[:n])


def entry_values(entry: AuditEntry) -> tuple[Millis, str, str]:
    """The three values of an entry."""
    return entry.at, entry.who, entry.what


def packed_entry(entry: AuditEntry) -> bytes:
    """An entry on its way through the outbox."""
    return msgspec.msgpack.encode(entry_values(entry))


def audit_arguments(entries: Sequence[AuditEntry]) -> tuple[Argument, ...]:
    """How many entries there are, and the values of each."""
    return (len(entries), *(value for entry in entries for value in entry_values(entry)))
