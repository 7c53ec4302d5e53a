"""
What a running service reads again: its key file whenever that changes, and everything on SIGHUP.

What cannot be used leaves what was there in force: a sentence in the log and `sanad_reload_failed` say so.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from recsys.errors import SanadError
from serving.auth.keys import Keyring, keys_of
from serving.logs import set_level
from serving.metrics import Metrics
from serving.rules import Rules, read_rules
from serving.settings import Settings

log = logging.getLogger("sanad.serving")

_LOOK_INTERVAL_S: Final = 1.0
RELOADED: Final = ("keys", "rules", "log_level")
"""What is read again; the rules are the policy and the experiments, which are checked together."""


@dataclass(slots=True, kw_only=True)
class Reloader:
    """
    Reads again what `settings` name. `renew` serves an engine by other rules, or raises and leaves the one before.
    `ask` may be called by a handler of signals.
    """

    settings: Settings
    keys: Keyring
    metrics: Metrics
    renew: Callable[[Rules], None]
    asked: Event = field(default_factory=Event)
    _seen: tuple[int, ...] | None = field(default=None, init=False)
    _reading: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        for what in RELOADED:
            self.metrics.reloaded(what, is_good=True)

    def look(self) -> None:
        """Read everything again where somebody asked, else the key file where it changed."""
        is_asked = self.asked.is_set()
        if is_asked:  # else a signal that comes between the two lines would be forgotten
            self.asked.clear()
        self.look_at_keys(is_asked=is_asked)
        if is_asked:
            if self.settings.has_shared_rules:
                log.info("rules not read again: they are shared; change them with 'sanad policy publish'")
            else:
                self._try("rules", lambda: self.renew(read_rules(self.settings)))
            self._try("log_level", lambda: set_level(self.settings.log_level))

    def look_at_keys(self, *, is_asked: bool = False) -> None:
        """Read the key file again where it changed or somebody asked."""
        with self._reading:  # whoever read an older file must not be the last to say what it holds
            signature = _signature(self.settings.key_file)
            is_changed, self._seen = signature != self._seen, signature
            if is_asked or is_changed:
                self._try("keys", self._read_keys)

    def _read_keys(self) -> None:
        self.keys.replace(keys_of(self.settings.keys, self.settings.key_file))

    def _try(self, what: str, read: Callable[[], None]) -> None:
        is_good = False
        try:
            read()
            is_good = True
        except SanadError as error:
            problems = "; ".join(getattr(error, "problems", None) or (str(error),))
            log.error("%s not reloaded, those before stay in force: %s", what, problems)
        except Exception:  # the next look must come
            log.exception("%s not reloaded, those before stay in force", what)
        else:
            log.info("%s reloaded", what)
        self.metrics.reloaded(what, is_good=is_good)


@contextmanager
def reloading(reloader: Reloader) -> Iterator[None]:
    """
    Look at the keys every second, and at everything where somebody asks, in threads of their own: to warm an engine up
    takes long, and a key that was revoked must not wait for it.
    """
    is_over = Event()

    def follow_keys() -> None:
        while not is_over.wait(_LOOK_INTERVAL_S):
            reloader.look_at_keys()

    def work() -> None:
        while not is_over.is_set():
            reloader.asked.wait()
            if not is_over.is_set():
                reloader.look()

    threads = [Thread(target=target, name="sanad-reload", daemon=True) for target in (follow_keys, work)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        reloader.asked.set()
        for thread in threads:
            thread.join()


def _signature(path: Path | None) -> tuple[int, ...] | None:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
