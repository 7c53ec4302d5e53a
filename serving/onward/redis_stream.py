"""A stream of Redis or Valkey. An entry has two fields: the person's id, and the event as JSON."""

from collections.abc import Sequence
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from recsys.errors import StoreError
from recsys.stores.protocols import Logged
from serving.onward.sinks import message_of

_TIMEOUT_S: Final = 5.0
_NO_RETRY: Final = Retry(NoBackoff(), 0)
"""A step that is tried again by the client could land behind newer events; the whole batch is sent again instead."""


class RedisSink:
    """
    `EventSink` for one stream, which its readers must trim: nothing is ever dropped here. How durable it is, is the
    server's own setting.
    """

    def __init__(self, address: str, stream: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.stream: Final = stream
        self._client: Final = redis.Redis.from_url(
            address, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=_NO_RETRY
        )

    def send(self, events: Sequence[Logged]) -> None:
        """See `EventSink.send`. All of them or none."""
        try:
            with self._client.pipeline(transaction=True) as pipe:
                for entry in events:
                    pipe.xadd(self.stream, {"user_id": entry.event.user_id, "event": message_of(entry)})
                pipe.execute()
        except redis.RedisError as error:
            raise StoreError(f"Redis took no events: {error}") from error

    def close(self) -> None:
        """See `EventSink.close`."""
        self._client.close()
