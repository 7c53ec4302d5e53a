"""
What sends accepted events onwards. The log of events is the outbox: an event is in it before it is acknowledged, so
none is lost here; after a crash some are sent twice. Of several services on the same stores one sends at a time.
"""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Event, Thread
from typing import Final

import msgspec

from recsys.clock import SECOND, Millis
from recsys.errors import StoreError
from recsys.stores.protocols import ControllerStore, EventLog
from serving.metrics import Metrics
from serving.onward.sinks import EventSink

log = logging.getLogger("sanad.serving")

BATCH: Final = 1_000
LEASE_MS: Final = 15_000  # longer than a sink tries
MAX_LEASE_MS: Final = 4 * LEASE_MS  # a lease that ends later was taken by a clock that is wrong: nobody waits for it
_LOOK_INTERVAL_S: Final = 1.0
_AFTER_FAILURE_S: Final = 3.0  # so that another service, which looks each second, gets a turn
_RECORD: Final = "events onwards"


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """The place in the log up to which events were sent, and which service sends until when."""

    place: int = 0
    holder: str = ""
    until: Millis = 0


@dataclass(slots=True, kw_only=True)
class Pump:
    """Sends what the log of events holds to a sink."""

    events: EventLog
    controllers: ControllerStore
    sink: EventSink
    clock: Callable[[], Millis]
    metrics: Metrics
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def turn(self) -> int:
        """Send one batch, where it is this service's turn; how many were sent. Raises StoreError."""
        at = self.clock()
        packed = self.controllers.read(_RECORD)
        progress = Progress() if packed is None else msgspec.msgpack.decode(packed, type=Progress)
        if progress.holder != self.name and at < progress.until <= at + MAX_LEASE_MS:
            self.metrics.sending_onwards(0)  # it is for the other one to say
            return 0
        held = Progress(progress.place, self.name, at + LEASE_MS)
        taken = msgspec.msgpack.encode(held)
        batch = list(islice(self.events.received_since(0, progress.place), BATCH))
        if (not batch and progress.holder == self.name and progress.until - at > LEASE_MS // 2) or (
            not self.controllers.replace(_RECORD, packed, taken)
        ):
            return 0
        if batch:
            self.metrics.sending_onwards((at - batch[0].received_at) / SECOND)
            self.sink.send(batch)
            self.metrics.sent_onwards(len(batch))
            sent = Progress(batch[-1].seq, self.name, at + LEASE_MS)
            self.controllers.replace(_RECORD, taken, msgspec.msgpack.encode(sent))  # else another one took over
        self.metrics.sending_onwards(0)
        return len(batch)

    def release(self) -> None:
        """Let another service go on at once. Raises StoreError."""
        packed = self.controllers.read(_RECORD)
        if packed is not None:
            progress = msgspec.msgpack.decode(packed, type=Progress)
            if progress.holder == self.name:
                self.controllers.replace(_RECORD, packed, msgspec.msgpack.encode(Progress(progress.place)))


@contextmanager
def pumping(pump: Pump) -> Iterator[None]:
    """Look every second, and go on at once while there is more, in a thread of its own."""
    is_over = Event()

    def work() -> None:
        was_well = True
        while True:
            n_sent = 0
            try:
                n_sent, was_well = pump.turn(), True
            except Exception as error:  # the message of one that nobody expected may quote an event
                if was_well:
                    is_known = isinstance(error, StoreError)
                    log.warning(
                        "events wait to be sent onwards%s", f": {error}" if is_known else "", exc_info=not is_known
                    )
                was_well = False
                _release(pump)  # another service may reach what this one does not
            wait_s = 0 if n_sent == BATCH else _LOOK_INTERVAL_S if was_well else _AFTER_FAILURE_S
            if is_over.wait(wait_s):
                return

    thread = Thread(target=work, name="sanad-onward", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        _release(pump)
        pump.sink.close()


def _release(pump: Pump) -> None:
    with suppress(Exception):  # else the lease ends by itself
        pump.release()
