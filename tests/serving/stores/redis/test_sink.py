"""Records in a folder and in an object store: each once, the newest of a request, by day, until its day is dropped."""

from uuid import uuid4

import pytest

from recsys.clock import DAY
from serving.stores.redis.sink import Sink, SinkRecord

OWNER, OTHER = b"o" * 32, b"p" * 32


def record(n, owner=OWNER, at=20_000 * DAY, request=None):
    return SinkRecord(
        owner=owner, request=request or n.to_bytes(16, "big"), at=at, order=n, sealed=f"sealed {n}".encode()
    )


@pytest.fixture(params=["folder", "object store"])
def address(request, tmp_path):
    return str(tmp_path / "records") if request.param == "folder" else f"memory://{uuid4().hex}/records"


def test_what_is_appended_is_read_newest_first_by_any_process(address):
    first, second = Sink(address), Sink(address)
    first.append([record(1), record(2, OTHER)])
    second.append([record(3, at=20_001 * DAY)])
    first.append([record(4)])
    assert [one.order for one in Sink(address).newest()] == [3, 4, 2, 1]
    assert [one.sealed for one in second.newest(owner=OWNER)] == [b"sealed 3", b"sealed 4", b"sealed 1"]
    assert next(second.newest(request=record(2).request)) == record(2, OTHER)
    assert [one.order for one in first.since(20_001 * DAY)] == [3]
    assert first.requests_of(OTHER) == {record(2).request}


def test_a_record_that_comes_twice_counts_once_and_the_newest_of_a_request_stays(address):
    sink = Sink(address)
    sink.append([record(1)])
    Sink(address).append([record(1), record(2, request=record(1).request)])
    assert [one.order for one in sink.newest()] == [2]
    assert [one.order for one in sink.since(0)] == [2]


def test_a_day_is_dropped_when_it_is_over_before_an_instant(address):
    sink = Sink(address)
    sink.append([record(1), record(2), record(3, at=20_001 * DAY)])
    assert sink.prune(20_001 * DAY - 1) == 0
    assert sink.prune(20_001 * DAY) == 2
    assert [one.order for one in sink.newest()] == [3]


def test_an_empty_sink_has_nothing(address):
    sink = Sink(address)
    assert (list(sink.newest()), list(sink.since(0)), sink.erased(), sink.prune(10**15)) == ([], [], {}, 0)
    assert sink.latest_orders(2) == {}
