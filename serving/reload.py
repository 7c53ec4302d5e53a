"""
What a running service reads again: keys, policy and experiments whenever their files change, and everything on SIGHUP.

What cannot be used leaves what was there in force: a sentence in the log and `sanad_reload_failed` say so.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from recsys.errors import ConfigError, Conflict, SanadError, StoreError
from serving.auth.keys import Keyring, keys_of
from serving.logs import set_level
from serving.metrics import Metrics
from serving.rules import Rules, read_rules
from serving.settings import Settings

log = logging.getLogger("sanad.serving")

_LOOK_INTERVAL_S: Final = 1.0
Signature = tuple[int, ...] | None
Signatures = tuple[tuple[str, Signature], ...]
RELOADED: Final = ("keys", "rules", "log_level")
"""What is read again; the rules are the policy and the experiments, which are checked together."""


@dataclass(slots=True, kw_only=True)
class Reloader:
    """
    Reads again what `settings` name. `renew` serves an engine by other rules, or raises and leaves the one before.
    `asked` may be set by a handler of signals. `rules_read` is `signature_of_rules` before the rules were read that are
    in force.
    """

    settings: Settings
    keys: Keyring
    metrics: Metrics
    renew: Callable[[Rules], None]
    asked: Event = field(default_factory=Event)
    rules_read: Signatures = ()
    _rules_seen: Signatures = field(default=(), init=False)
    _seen: Signature = field(default=None, init=False)
    _reading: Lock = field(default_factory=Lock, init=False)
    _reading_rules: Lock = field(default_factory=Lock, init=False)

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
                self._try("rules", self.read_rules)
            self._try("log_level", lambda: set_level(self.settings.log_level))

    def look_at_keys(self, *, is_asked: bool = False) -> None:
        """Read the key file again where it changed or somebody asked."""
        with self._reading:  # whoever read an older file must not be the last to say what it holds
            signature = _signature(self.settings.key_file)
            is_changed, self._seen = signature != self._seen, signature
            if is_asked or is_changed:
                self._try("keys", self._read_keys)

    def look_at_rules(self) -> None:
        """Read policy and experiments again where their files changed, and have stayed so since the last look."""
        signatures = signature_of_rules(self.settings)
        is_settled, self._rules_seen = signatures == self._rules_seen, signatures
        if is_settled and signatures != self.rules_read and not self.settings.has_shared_rules:
            self._try("rules", self.read_rules)

    def read_rules(self) -> None:
        """
        Read policy and experiments again. What cannot be used leaves those before in force, and is raised: ConfigError,
        or StoreError, after which the next look tries again. Raises Conflict where rules are shared.
        """
        if self.settings.has_shared_rules:
            raise Conflict("found shared rules, which no file changes; use 'sanad policy publish'")
        with self._reading_rules:
            self.rules_read = signature_of_rules(self.settings)
            is_good = False
            try:
                rules = read_rules(self.settings)
                if signature_of_rules(self.settings) != self.rules_read:  # half of them may be older
                    raise ConfigError("found files of rules that changed while they were read; ask again")
                self.renew(rules)
                is_good = True
            except StoreError:  # the files are good: a tighter policy must not wait for somebody to write them again
                self.rules_read = ()
                raise
            finally:
                self.metrics.reloaded("rules", is_good=is_good)

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
    Look at the keys and at the rules every second, and at everything where somebody asks, in threads of their own: to
    warm an engine up takes long, and a key that was revoked must not wait for it.
    """
    is_over = Event()

    def every_look(look: Callable[[], None]) -> None:
        while not is_over.wait(_LOOK_INTERVAL_S):
            look()

    def work() -> None:
        while not is_over.is_set():
            reloader.asked.wait()
            if not is_over.is_set():
                reloader.look()

    targets = (partial(every_look, reloader.look_at_keys), partial(every_look, reloader.look_at_rules), work)
    threads = [Thread(target=target, name="sanad-reload", daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        reloader.asked.set()
        for thread in threads:
            thread.join()


def signature_of_rules(settings: Settings) -> Signatures:
    """What changes when a file of the policy or of the experiments is written, comes or goes."""
    folder = settings.experiments
    try:
        paths = () if folder is None else sorted(folder.iterdir())
    except OSError:
        paths = ()
    return tuple((str(path), _signature(path)) for path in (settings.policy, *paths))


def _signature(path: Path | None) -> Signature:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
