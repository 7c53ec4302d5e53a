"""What a service does beside requests: every minute it commits the time, every hour it deletes what is too old."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from recsys.clock import HOUR, MINUTE, SECOND
from recsys.errors import StoreError
from recsys.services.compaction import compact_events
from recsys.services.live_votes import VoteCount
from serving.clock_guard import GuardedClock
from serving.stores.open import Store
from serving.swap import Models

log = logging.getLogger("sanad.serving")

_BEAT_INTERVAL_S: Final = MINUTE / SECOND
_PRUNE_INTERVAL_S: Final = HOUR / SECOND


@contextmanager
def upkeep(store: Store, models: Models, clock: GuardedClock) -> Iterator[None]:
    """
    Commit the time now, every minute and at the end, and prune now and every hour, in a thread of its own. Every minute
    read what people act on.

    While the clock is not believed, neither happens; a clock that is confirmed later is pruned by within a minute.
    """
    is_over, votes = Event(), VoteCount()
    _beat(clock)

    def work() -> None:
        pruned_at = -_PRUNE_INTERVAL_S
        while True:
            if time.monotonic() - pruned_at >= _PRUNE_INTERVAL_S and prune(store, models, clock):
                pruned_at = time.monotonic()
            count_votes(votes, models, clock)
            if is_over.wait(_BEAT_INTERVAL_S):
                return
            _beat(clock)

    thread = Thread(target=work, name="sanad-upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        _beat(clock)


def prune(store: Store, models: Models, clock: GuardedClock) -> bool:
    """
    Delete what is past its retention, once events are folded into the state, and log how many rows of each table.

    False, with nothing deleted, while the clock is not believed.
    """
    reading = clock.read()
    if not reading.is_believed:
        return False
    try:
        compact_events(models.engine(), store.retention_cutoff(reading.at), reading.at)
        deleted = store.prune(reading.at, models.people())
    except (StoreError, MemoryError) as error:
        log.warning("nothing was pruned: %s", error)
        return True
    except Exception:  # such as a folder of models that may not be read: it must not end the heartbeat
        log.exception("nothing was pruned")
        return True
    if any(deleted.values()):
        log.info("pruned: %s", ", ".join(f"{table} {n:,}" for table, n in deleted.items() if n))
    return True


def count_votes(votes: VoteCount, models: Models, clock: GuardedClock) -> None:
    """Let rankings count what people act on now. Whatever fails, those of before stay: votes only favour."""
    reading = clock.read()
    if reading.is_believed:
        try:
            votes.refresh(models.engine(), reading.at)
        except Exception:  # its message may quote an id
            log.warning("what people act on now was not counted", exc_info=True)


def _beat(clock: GuardedClock) -> None:
    try:
        clock.beat()
    except (StoreError, MemoryError) as error:
        log.warning("the heartbeat found no whole store: %s", error)
