"""Records of pages: in the sink, sealed. Whoever reads them moves what still waits on the servers first."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.stores.protocols import StoredAnswer
from serving.stores.redis.schema import Tags
from serving.stores.redis.servers import Command, Servers
from serving.stores.redis.sink import Sink, SinkRecord
from serving.stores.redis.vault import Vault, open_former
from serving.stores.sealing import DECISIONS, read_answer

_AT_ONCE: Final = 100  # records that are opened at once


class RedisDecisions:
    """`DecisionLog` on Redis and a sink."""

    def __init__(self, servers: Servers, tags: Tags, vault: Vault, sink: Sink, drain: Callable[[], None]) -> None:
        self._servers = servers
        self._tags = tags
        self._vault = vault
        self._sink = sink
        self._drain = drain

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """See `DecisionLog.of_request`."""
        self._drain()
        return next(self._open(self._sink.newest(request=self._vault.hide_short(request_id))), None)

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.of_user`."""
        self._drain()
        newest_first = tuple(self._open(self._sink.newest(owner=self._vault.hide(user_id))))
        return newest_first[::-1]

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.newest`."""
        self._drain()
        return tuple(islice(self._open(self._sink.newest()), n))

    def since(self, at: Millis) -> Iterator[StoredAnswer]:
        """See `DecisionLog.since`. Day by day, in the order of their writing within each."""
        self._drain()
        return self._open(self._sink.since(at))

    def requests_of(self, owner: bytes) -> set[bytes]:
        """The hidden requests whose records the sink has of a person; none while it cannot be read."""
        try:
            return self._sink.requests_of(owner)
        except StoreError:
            return set()

    def _open(self, records: Iterable[SinkRecord]) -> Iterator[StoredAnswer]:
        """The readable ones among records."""
        remaining = iter(records)
        while some := list(islice(remaining, _AT_ONCE)):
            keys = self._keys({record.owner for record in some})
            for record in some:
                number, key = keys[record.owner]
                own = self._vault.note(record.owner, number, key)
                opened = open_former(own, record.sealed, DECISIONS + record.owner)
                if opened is not None:
                    yield read_answer(opened)

    def _keys(self, owners: Iterable[bytes]) -> dict[bytes, Sequence[Any]]:
        by_tag: dict[bytes, list[bytes]] = {}
        for owner in owners:
            by_tag.setdefault(self._tags.of(owner), []).append(owner)
        commands: dict[bytes, list[Command]] = {
            tag: [("HMGET", tag + b":k:" + owner, "n", "k") for owner in some] for tag, some in by_tag.items()
        }
        replies = self._servers.ask_all(commands)
        return {
            owner: key for tag, some in by_tag.items() for owner, key in zip(some, replies[tag], strict=True)
        }  # fmt: skip
