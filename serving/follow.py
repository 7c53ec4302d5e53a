"""
How a service follows what was decided for all of them, whichever process and machine it was decided on: a killed
experiment, published rules, an activated model. It looks twice a second, in threads of its own.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

from recsys.clock import Millis
from recsys.errors import ConfigError, StoreError
from recsys.stores.protocols import ControllerStore
from serving.metrics import Metrics
from serving.rules import Rules
from serving.shared import kills_of, read_published, read_stamp
from serving.swap import Models

log = logging.getLogger("sanad.serving")

LOOK_INTERVAL_S: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Follower:
    """
    Follows what `controllers` say. Rules are followed where `has_shared_rules`, kills and models always. `stamp` is
    that of the rules which `models` serve by at first.
    """

    models: Models
    controllers: ControllerStore
    clock: Callable[[], Millis]
    metrics: Metrics
    market: str
    has_shared_rules: bool
    stamp: bytes | None

    def look(self) -> None:
        """Serve by the kills and the rules of now. Raises StoreError."""
        self.look_at_kills()
        self.look_at_rules()

    def look_at_kills(self) -> None:
        """Serve by the kills of now. Raises StoreError."""
        self.models.kill(lambda: frozenset(kills_of(self.controllers)), self.clock())

    def look_at_rules(self) -> None:
        """Serve by the rules of now, where they are shared. Raises StoreError."""
        stamp = read_stamp(self.controllers, self.market) if self.has_shared_rules else self.stamp
        if stamp != self.stamp:
            self._follow_rules()
        self.stamp = stamp

    def _follow_rules(self) -> None:
        try:
            rules = read_published(self.controllers, self.market)
        except ConfigError as error:
            log.error("published rules refused, those before stay in force: %s", "; ".join(error.problems))
            self.metrics.reloaded("rules", is_good=False)
            return
        if rules is not None:
            self.models.renew(rules, self.clock())
            self.metrics.reloaded("rules", is_good=True)
            log.info("published rules in force: policy %s", rules.market.version)


def rules_at_start(files: Rules, controllers: ControllerStore, *, has_shared_rules: bool) -> Rules:
    """The rules that were published, where rules are shared and somebody published some; else those of the files."""
    published = read_published(controllers, files.market.market) if has_shared_rules else None
    if has_shared_rules and published is None:
        log.warning("nobody published rules yet: those of the files are in force; use 'sanad policy publish'")
    return published or files


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    """
    Look twice a second. To load a model or to warm up by other rules takes long, and a kill must not wait for it: so
    each has its thread.
    """
    is_over = Event()

    def every_look(look: Callable[[], None]) -> None:
        was_well = True
        while not is_over.wait(LOOK_INTERVAL_S):
            was_well = _try(look, was_well=was_well)

    models = follower.models
    looks = (follower.look_at_kills, follower.look_at_rules, lambda: models.follow(follower.clock()))
    threads = [Thread(target=every_look, args=(look,), name="sanad-follow", daemon=True) for look in looks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _try(look: Callable[[], None], *, was_well: bool) -> bool:
    """Whether a look went well. Of several failures in a row the first one is logged; the next look must come."""
    try:
        look()
    except (StoreError, MemoryError) as error:
        if was_well:
            log.warning("what other services decided is not known: %s", error)
        return False
    except Exception:
        if was_well:
            log.exception("what other services decided is not known")
        return False
    return True
