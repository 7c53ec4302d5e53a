"""The process of the service: load everything, warm up, serve until it is told to stop, close the state file."""

import asyncio
import logging
import os
import resource
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Final

import uvicorn
from threadpoolctl import threadpool_limits

from recsys.clock import Millis, now
from recsys.errors import ArtifactError, ConfigError, StoreError
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.nights import local_time
from recsys.progress import Progress, quiet
from recsys.safety.harm_terms import NO_TERMS, HarmTerms, load_harm_terms, starter_harm_terms
from recsys.safety.helplines import summary, verifications
from recsys.services.audit import activation
from recsys.stores.audit import LOCAL
from recsys.stores.protocols import ControllerStore, Stores
from serving.app import admission_of, create_app
from serving.auth.keys import Keyring, keyring_of
from serving.clock_guard import GuardedClock
from serving.deadline import time_used
from serving.follow import Follower, following, rules_at_start
from serving.http_protocol import KEEP_ALIVE_S, close_slow, limited_to
from serving.metrics import Metrics, counted, measured
from serving.onward.pump import Pump, pumping
from serving.onward.sinks import open_sink
from serving.reload import Reloader, reloading, signature_of_rules
from serving.rules import Rules, read_rules
from serving.settings import HarmTermsChoice, Settings, signing_key
from serving.shared import read_stamp
from serving.stores.open import Address, Store, open_server, open_store
from serving.swap import Models, find_version, read_activated, warm_up
from serving.upkeep import upkeep

log = logging.getLogger("sanad.serving")

Clock = Callable[[], Millis]
_BACKLOG: Final = 2_048
_SHUTDOWN_TIMEOUT_S: Final = 20  # for requests that are being answered when the service is told to stop
_TICKS_PER_SWEEP: Final = 5  # of the server, of a tenth of a second
_OTHER_DESCRIPTORS: Final = 64  # of files, and of connections that are being closed
_MIN_CONNECTIONS: Final = 8
_START_TIMEOUT_S: Final = 60.0


def serve(
    settings: Settings,
    *,
    clock: Clock = now,
    on_ready: Callable[[str], None] = lambda url: None,
    on_progress: Progress = quiet,
) -> None:
    """
    Serve until Ctrl-C or SIGTERM. Then finish the open requests and close the state file. SIGHUP: see `serving.reload`.

    Calls `on_ready` with the base URL as soon as requests are accepted. Prints nothing. Raises ConfigError,
    ArtifactError or StoreError before the first request.
    """
    hangup = Event()
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    with (
        _listen(settings) as listener,
        open_service(settings, clock=clock, on_progress=on_progress, hangup=hangup) as service,
    ):
        server = _Server(_config(settings, service), lambda: on_ready(_url(listener)))
        with _signals_only_stop():
            server.run(sockets=[listener])


@contextmanager
def run_in_thread(settings: Settings, *, clock: Clock = now, on_progress: Progress = quiet) -> Iterator[str]:
    """
    Run the service in a thread of this process, for the demo and for tests. Port 0 takes any free port.

    Yields the base URL. Sockets and store are the real ones, the clock is the given one.
    """
    with _listen(settings) as listener, open_service(settings, clock=clock, on_progress=on_progress) as service:
        is_up = Event()
        server = _Server(_config(settings, service), is_up.set)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="sanad-service")
        thread.start()
        try:
            if not is_up.wait(_START_TIMEOUT_S):
                raise StoreError(f"the service did not start within {_START_TIMEOUT_S:g} s; look at its log")
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True, slots=True)
class Service:
    """The models over a state file, the one clock of everything that works on it, and what it counts of itself."""

    models: Models
    clock: GuardedClock
    metrics: Metrics
    keys: Keyring
    reloader: Reloader

    @property
    def engine(self) -> Engine:
        """The engine in service."""
        return self.models.engine()


@contextmanager
def open_service(
    settings: Settings,
    *,
    clock: Clock = now,
    elapsed: Clock | None = None,
    on_progress: Progress = quiet,
    has_upkeep: bool = True,
    hangup: Event | None = None,
) -> Iterator[Service]:
    """
    The engine of these settings over its state file, warmed up, and its guarded clock. Closes the file at the end.

    With `has_upkeep` the activation is noted in the audit log, the time is committed, and what is past its retention is
    deleted; a command that asks for one page of any time must not do that. `elapsed` is what `clock` is compared with,
    see `serving.clock_guard`. Whoever sets `hangup` wants keys, rules and log level to be read again.

    Linear algebra uses one thread meanwhile: a page is small, and several threads would wait for each other.
    """
    keys = keyring_of(settings.keys, settings.key_file)
    on_progress("policy", 0, None)
    rules_read = signature_of_rules(settings)
    rules = read_rules(settings)
    harm_terms = _load_harm_terms(settings.harm_terms)
    on_progress("artifact", 0, None)
    named = _load_artifact(settings.artifact, settings)
    on_progress("state", 0, None)
    (store, key), metrics = _open_state(settings), Metrics()
    try:
        guarded = _guard(settings, store, clock, elapsed, is_quiet=not has_upkeep)
        builder = _Builder(settings, measured(_stores(settings, store), metrics), metrics, guarded, key, harm_terms)
        with threadpool_limits(1):
            on_progress("warm up", 0, None)
            stamp = read_stamp(store.stores.controllers, rules.market.market)
            rules = rules_at_start(rules, store.stores.controllers, has_shared_rules=settings.has_shared_rules)
            engine = builder.build(_activated(settings, store.stores.controllers) or named, rules)
            del named  # its tables are not needed again, and take memory
            models = Models(engine, settings.models, builder.build_from, rules)
            reloader = Reloader(
                settings=settings, keys=keys, metrics=metrics, asked=hangup or Event(), rules_read=rules_read,
                renew=lambda rules: models.renew(rules, guarded()),
            )  # fmt: skip
            service = Service(models, guarded, metrics, keys, reloader)
            follower = _follower(service, store, settings, stamp)
            follower.look()
            if has_upkeep:
                _note_activation(store, service.engine, guarded())
            with _beside(service, store, follower, settings) if has_upkeep else nullcontext():
                yield service
    finally:
        store.close()


def _open_state(settings: Settings) -> tuple[Store, bytes]:
    """The store, and the key of cursors and tracking tokens: the one given, or the one that is kept with the store."""
    if isinstance(settings.where, Address):
        server = open_server(settings.where)
        return server, settings.signing_key or server.signing_key
    _make_private(settings.where)
    key = signing_key(settings)
    return open_store(settings.where), key


def _stores(settings: Settings, store: Store) -> Stores:
    """The stores; where a server has them, with the file in which this machine keeps the table of the catalogue."""
    if isinstance(settings.where, Address):
        return replace(store.stores, table_file=settings.table_file)
    return store.stores


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes warm engines over one store."""

    settings: Settings
    stores: Stores
    metrics: Metrics
    clock: GuardedClock
    key: bytes
    harm_terms: HarmTerms

    def build(self, artifact: Artifact, rules: Rules) -> Engine:
        """A warm engine. Raises ArtifactError or StoreError."""
        engine = build_engine(
            artifact, rules.market, rules.experiments, stores=self.stores, key=self.key, at=self.clock(),
            new_id=lambda: uuid.uuid4().hex, alert=counted(log.error, self.metrics), harm_terms=self.harm_terms,
            time_used=time_used, on_page=self.metrics.count_plan,
        )  # fmt: skip
        self.metrics.loaded(engine.resources.model.version, artifact.manifest.created_at)
        warm_up(engine, self.clock())
        return engine

    def build_from(self, folder: Path, rules: Rules) -> Engine:
        """A warm engine of the artifact in a folder. Raises ArtifactError or StoreError."""
        return self.build(_load_artifact(folder, self.settings), rules)


def _follower(service: Service, store: Store, settings: Settings, stamp: bytes | None) -> Follower:
    return Follower(
        models=service.models, controllers=store.stores.controllers, clock=service.clock, metrics=service.metrics,
        market=service.engine.resources.policy.market.market, has_shared_rules=settings.has_shared_rules, stamp=stamp,
    )  # fmt: skip


@contextmanager
def _beside(service: Service, store: Store, follower: Follower, settings: Settings) -> Iterator[None]:
    """What works beside requests."""
    onward = nullcontext() if settings.events_onward is None else pumping(_pump(service, store, settings))
    with upkeep(store, service.models, service.clock), following(follower), reloading(service.reloader), onward:
        yield


def _pump(service: Service, store: Store, settings: Settings) -> Pump:
    return Pump(
        events=store.stores.events, controllers=store.stores.controllers, clock=service.clock, metrics=service.metrics,
        sink=open_sink(settings.events_onward or "", settings.onward_config),
    )  # fmt: skip


def _guard(settings: Settings, store: Store, clock: Clock, elapsed: Clock | None, *, is_quiet: bool) -> GuardedClock:
    """The guarded clock over a store, confirmed where the settings say so."""
    guarded = GuardedClock(
        clock, lambda: store.stores.users, elapsed, max_behind_ms=settings.clock_behind_ms, is_quiet=is_quiet
    )
    if settings.clock_confirmed_at is not None:
        guarded.confirm_if_near(settings.clock_confirmed_at)
    return guarded


@contextmanager
def open_engine(settings: Settings, *, clock: Clock = now) -> Iterator[Engine]:
    """The engine of `open_service` for a command, without upkeep."""
    with open_service(settings, clock=clock, has_upkeep=False) as service:
        yield service.engine


def _note_activation(store: Store, engine: Engine, at: Millis) -> None:
    """A file that cannot be written is no reason not to start: the safe feed needs none."""
    try:
        store.stores.audit.append([activation(engine, at, LOCAL)])
    except StoreError as error:
        log.warning("the activation was not noted: %s", error)


def _load_artifact(folder: Path, settings: Settings) -> Artifact:
    artifact = load_artifact(folder)
    if artifact.manifest.risk_source == "assumed" and not settings.allow_assumed:
        raise ArtifactError(
            f"found {folder} with assumed tiers (trained with --assume-tier), expected labels from people "
            "or partners; train with labels, or serve it to this machine only with --allow-assumed"
        )
    return artifact


def _activated(settings: Settings, controllers: ControllerStore) -> Artifact | None:
    """The artifact that was activated last, where a folder of models is named and it can be loaded."""
    record = None if settings.models is None else read_activated(controllers)
    found = None if record is None else find_version(settings.models, record.version)
    if record is not None and found is None:
        log.error("found no artifact of the activated model %s in %s", record.version, settings.models)
    if found is None:
        return None
    try:
        return _load_artifact(found.folder, settings)
    except ArtifactError as error:
        log.error("the activated model is not served: %s", error)
        return None


def _load_harm_terms(choice: HarmTermsChoice) -> HarmTerms:
    if isinstance(choice, Path):
        return load_harm_terms(choice)
    return starter_harm_terms() if choice == "starter" else NO_TERMS


def _make_private(path: Path) -> None:
    """Make a new state file readable by its owner only, with the logs of SQLite: it says what users watched."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: cannot be made ({error.strerror}); name another with --state") from error


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    """Take the address before anything is loaded, so that a port in use is reported at once."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"found host {settings.host!r}, which has no address ({error.strerror})") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"found {where} not free ({error.strerror}), expected a free port; stop the program that uses it, or "
                "choose another with --port"
            ) from error
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say_what_is_missing(engine: Engine, at: Millis) -> None:
    """What of the help for people nobody set up yet."""
    resources = engine.resources
    if not resources.harm_terms.n_terms:
        log.warning(
            "no list of harm-seeking terms (SANAD_LEXICON): no search for harm is recognised, and no card follows one"
        )
    market = resources.policy.market
    entries = verifications(market, local_time(at, resources.policy.zone).date())
    if not any(entry.standing == "verified" for entry in entries if entry.kind == "helpline"):
        log.warning("%s: %s. Call each, then note it with: sanad helplines verify", market.market, summary(entries))


def _config(settings: Settings, service: Service) -> uvicorn.Config:
    _say_what_is_missing(service.engine, service.clock())
    admission = admission_of(settings)
    return uvicorn.Config(
        create_app(
            service.models,
            settings=settings,
            clock=service.clock,
            metrics=service.metrics,
            keys=service.keys,
            admission=admission,
            reload_rules=service.reloader.read_rules,
        ),
        loop="uvloop",
        http=limited_to(connection_limit(settings), admission, service.metrics),
        ws="none",
        lifespan="on",
        backlog=_BACKLOG,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # the caller is the one that is connected, see `middleware`
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S,
    )


def connection_limit(settings: Settings) -> int:
    """As many connections as the settings say, and as the descriptors of this process leave."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = max(_MIN_CONNECTIONS, soft - _OTHER_DESCRIPTORS)
    if possible < settings.max_connections:
        log.warning("room for %d connections with %d descriptors; raise the limit (ulimit -n)", possible, soft)
    return min(settings.max_connections, possible)


class _Server(uvicorn.Server):
    """A server that calls `on_ready` when it accepts requests, and closes connections that wait too long."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_SWEEP == 0:
            close_slow(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


@contextmanager
def _signals_only_stop() -> Iterator[None]:
    """
    Ctrl-C and SIGTERM stop the server only. It raises the signal again when it has stopped, which would end the process
    before the state file is closed.
    """
    stopping = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: None) for number in stopping]
    try:
        yield
    finally:
        for number, handler in zip(stopping, before, strict=True):
            signal.signal(number, handler)
