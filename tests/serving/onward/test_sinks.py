"""
The contract of a sink, on each of them: a real server of Redis, and the cluster of three brokers that the client of
Kafka holds for tests (no broker can be installed here; what a real one adds was not tried).
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from recsys.errors import ConfigError, StoreError
from recsys.stores.protocols import Logged
from recsys.types import Event
from serving.onward.kafka import KafkaSink
from serving.onward.pump import LEASE_MS
from serving.onward.redis_stream import RedisSink
from serving.onward.sinks import EventSink, message_of, open_sink, properties_of
from tests.servers.redis import PASSWORD, need_redis, redis_server
from tests.serving.conftest import NOON

TOPIC = "events"


@dataclass
class Place:
    """A sink, what its readers find, and how its receiver is stopped."""

    sink: EventSink
    read: Callable[[int], list[tuple[str, dict[str, object]]]]
    stop: Callable[[], None]
    pause: Callable[[], None] | None = None


def entry(n: int, user_id: str = "u") -> Logged:
    return Logged(n, NOON + n, Event(event_id=f"e{n}", user_id=user_id, kind="like", at=NOON, item_id="v1"))


@pytest.fixture(params=["kafka", "redis"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    return request.getfixturevalue(f"on_{request.param}")


@pytest.fixture
def on_kafka() -> Iterator[Place]:
    cluster = Producer({"test.mock.num.brokers": "3", "log_level": 0})
    brokers = ",".join(f"{b.host}:{b.port}" for b in cluster.list_topics(timeout=10).brokers.values())
    sink = KafkaSink(brokers, TOPIC, {}, timeout_s=3)

    def read(n: int) -> list[tuple[str, dict[str, object]]]:
        settings = {"bootstrap.servers": brokers, "group.id": "readers", "auto.offset.reset": "earliest"}
        consumer, found, until = Consumer(settings), [], time.monotonic() + 20
        consumer.subscribe([TOPIC])
        while len(found) < n and time.monotonic() < until:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append((message.key().decode(), json.loads(message.value())))
        consumer.close()
        return found

    def stop() -> None:
        nonlocal cluster
        del cluster

    yield Place(sink, read, stop)
    sink.close()


@pytest.fixture
def on_redis(tmp_path: Path) -> Iterator[Place]:
    need_redis()
    with redis_server(tmp_path / "redis") as server:
        address = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"

        def read(n: int) -> list[tuple[str, dict[str, object]]]:
            with server.client as client:
                entries = client.xrange(TOPIC)
            return [(fields[b"user_id"].decode(), json.loads(fields[b"event"])) for _, fields in entries]

        sink = open_sink(f"{address}/{TOPIC}", None)
        yield Place(sink, read, server.kill, lambda: server.signal(signal.SIGSTOP))
        sink.close()


def test_what_was_sent_is_there_in_the_order_of_each_person(place: Place) -> None:
    entries = [entry(n, f"u{n % 3}") for n in range(300)]
    place.sink.send(entries[:200])
    place.sink.send(entries[200:])
    found = place.read(300)
    assert len(found) == 300
    for user_id in ("u0", "u1", "u2"):
        sent = [one.event.event_id for one in entries if one.event.user_id == user_id]
        assert [event["event_id"] for key, event in found if key == user_id] == sent


def test_a_receiver_that_is_gone_is_said_and_not_waited_for_long(place: Place) -> None:
    place.sink.send([entry(0)])
    place.stop()
    began = time.monotonic()
    with pytest.raises(StoreError):
        place.sink.send([entry(1)])
    assert time.monotonic() - began < 15


def test_a_producer_that_ended_for_good_is_replaced(on_kafka: Place) -> None:
    """As after an answer of a broker that an idempotent producer can make nothing of."""

    class Ended:
        def produce(self, *_: object, **__: object) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL, "out of sequence", fatal=True))

        def purge(self) -> None: ...

        def flush(self, timeout_s: float) -> None: ...

    on_kafka.sink._producer = Ended()
    with pytest.raises(StoreError, match="out of sequence"):
        on_kafka.sink.send([entry(0)])
    on_kafka.sink.send([entry(0)])
    assert len(on_kafka.read(1)) == 1


def test_a_receiver_that_stands_still_takes_less_than_a_lease(on_redis: Place) -> None:
    """Else another service would send meanwhile, and older events would come behind newer ones."""
    assert on_redis.pause is not None
    on_redis.sink.send([entry(0)])
    on_redis.pause()
    began = time.monotonic()
    with pytest.raises(StoreError):
        on_redis.sink.send([entry(1)])
    assert time.monotonic() - began < LEASE_MS / 1_000


def test_a_message_holds_what_is_known_and_nothing_else() -> None:
    assert json.loads(message_of(entry(7))) == {
        "event_id": "e7", "user_id": "u", "kind": "like", "item_id": "v1",
        "at": "2026-11-20T12:00:00.000Z", "received_at": "2026-11-20T12:00:00.007Z",
    }  # fmt: skip
    history = Event(event_id="e", user_id="u", kind="view", at=NOON, item_id="v1", watch_s=0.0, is_history=True)
    assert json.loads(message_of(Logged(1, NOON, history)))["is_history"] is True


@pytest.mark.parametrize(
    ("address", "kind"),
    [("kafka://a:1,b:2/topic", KafkaSink), ("redis://a:1/0/stream", RedisSink), ("rediss://:pw@a:1/3/s", RedisSink)],
)
def test_an_address_names_its_sink(address: str, kind: type) -> None:
    sink = open_sink(address, None)
    assert type(sink) is kind
    if isinstance(sink, RedisSink):
        sink.close()


@pytest.mark.parametrize(
    "address",
    ["kafka://a:1", "kafka:///t", "redis://a:1/s", "redis://a/0", "redis://a:69x9/0/s", "rediss://a:1/0/s?ssl=1",
     "nats://a/b", "a:1", ""],
)  # fmt: skip
def test_another_address_is_refused_with_the_right_ones(address: str) -> None:
    with pytest.raises(ConfigError, match="expected kafka://HOST:PORT,HOST:PORT/TOPIC or redis://"):
        open_sink(address, None)


def test_properties_are_lines_and_others_are_named(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# who we are\nsasl.username = sanad\n\nsasl.password=a=b\n")
    assert properties_of(file) == {"sasl.username": "sanad", "sasl.password": "a=b"}
    file.write_text("client.id=x\nnonsense\n")
    with pytest.raises(ConfigError, match="line 2: found no '='"):
        properties_of(file)
    file.write_text("no.such.property=1\n")
    with pytest.raises(ConfigError, match=r"refuses its properties: .*no\.such\.property"):
        open_sink("kafka://a:1/t", file)
    with pytest.raises(ConfigError, match="SANAD_ONWARD_CONFIG"):
        properties_of(tmp_path / "none")


def test_what_keeps_events_safe_cannot_be_set_away() -> None:
    with pytest.raises(ConfigError, match="acks"):
        KafkaSink("a:1", TOPIC, {"acks": "0"})
