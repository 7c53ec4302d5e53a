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
from serving.shared import Shared, read_kills, read_published, read_shared
from serving.swap import Models

log = logging.getLogger("sanad.serving")

LOOK_INTERVAL_S: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Follower:
    """
    Follows what `controllers` say. Rules are followed where `has_shared_rules`, kills and models always. `seen` is what
    `models` serve by at first.
    """

    models: Models
    controllers: ControllerStore
    clock: Callable[[], Millis]
    metrics: Metrics
    market: str
    has_shared_rules: bool
    seen: Shared

    def look(self) -> None:
        """Serve by the kills and the rules of now. Raises StoreError."""
        shared = read_shared(self.controllers, self.market)
        if shared.kills != self.seen.kills:
            killed = read_kills(shared.kills)
            self.models.kill(frozenset(killed), self.clock())
            log.info("killed experiments: %s", ", ".join(sorted(killed)) or "none")
        if self.has_shared_rules and shared.stamp != self.seen.stamp:
            self._follow_rules()
        self.seen = shared

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
    """Look twice a second. To load a model takes long, and a kill must not wait for it: so each has its thread."""
    is_over = Event()

    def every_look(look: Callable[[], None]) -> None:
        was_well = True
        while not is_over.wait(LOOK_INTERVAL_S):
            was_well = _try(look, was_well=was_well)

    looks = (follower.look, lambda: follower.models.follow(follower.clock()))
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
