"""A topic of Kafka. The key of a message is the person's id, so that their events stay in order in one partition."""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError as Failure
from confluent_kafka import KafkaException, Message, Producer

from recsys.errors import ConfigError, StoreError
from recsys.stores.protocols import Logged
from serving.onward.sinks import message_of

_SEND_TIMEOUT_S: Final = 8.0
_FIXED: Final = {"acks": "all", "enable.idempotence": "true"}
"""Every replica in sync has a message before it counts as sent, and one that is sent again does not come twice."""


class KafkaSink:
    """`EventSink` for one topic. Raises ConfigError for properties that the client does not know."""

    def __init__(
        self, servers: str, topic: str, properties: Mapping[str, str], timeout_s: float = _SEND_TIMEOUT_S
    ) -> None:
        self.topic: Final = topic
        self._timeout_s: Final = timeout_s
        if given := sorted(_FIXED.keys() & properties):
            raise ConfigError(f"found {given[0]} among the properties of Kafka, expected it to stay {_FIXED[given[0]]}")
        limits = {"delivery.timeout.ms": str(int(1_000 * timeout_s)), "linger.ms": "5"}
        settings = limits | {"bootstrap.servers": servers} | dict(properties) | _FIXED
        self._settings: Final[dict[str, str]] = settings
        try:
            self._producer = Producer(settings, logger=None)
        except (KafkaException, ValueError, TypeError) as error:
            raise ConfigError(f"the client of Kafka refuses its properties: {error}; correct the file") from error

    def send(self, events: Sequence[Logged]) -> None:
        """See `EventSink.send`."""
        failures: list[Failure] = []

        def told(error: Failure | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for entry in events:
                self._producer.produce(self.topic, message_of(entry), entry.event.user_id, on_delivery=told)
                self._producer.poll(0)
            n_left = self._producer.flush(self._timeout_s + 1)
        except (KafkaException, BufferError) as error:
            self._drop([*failures, *(cause for cause in error.args if isinstance(cause, Failure))])
            raise StoreError(f"Kafka took no events: {error}") from error
        if n_left or failures:
            self._drop(failures)
            reason = failures[0].str() if failures else "no answer in time"
            raise StoreError(f"Kafka did not acknowledge events: {reason}")

    def _drop(self, failures: Sequence[Failure]) -> None:
        """
        What was not acknowledged is sent again by the caller: it must not come out of order behind it. After a fatal
        error an idempotent producer takes nothing any more (librdkafka, INTRODUCTION.md): another one does.
        """
        self._producer.purge()
        self._producer.flush(1)
        if any(failure.fatal() for failure in failures):
            self._producer = Producer(self._settings, logger=None)

    def close(self) -> None:
        """See `EventSink.close`."""
        self._producer.flush(1)
