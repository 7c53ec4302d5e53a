"""
Which model a service serves by which rules, and how it comes to serve others without a restart.

The activated version stands in the stores, so that a restart and every other process on the same state serve it too.
The new engine is built and warmed up beside the old one. A request keeps the engine that it started with. An artifact
that cannot be loaded changes nothing: the old one serves on.

Other rules serve the same model: they do not wait for a model that is being loaded, and bind it when it comes.
"""

import logging
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock, RLock
from typing import Final

import msgspec
import polars as pl

from recsys.clock import MINUTE, Millis
from recsys.errors import ArtifactError, Conflict, DataError, StageError
from recsys.experiments.payload import Experiments
from recsys.feed.build import with_rules
from recsys.feed.engine import Engine
from recsys.messages import FeedRequest
from recsys.models.manifest import MANIFEST, Manifest, read_manifest
from recsys.services.audit import activation
from recsys.stores.audit import LOCAL
from recsys.stores.protocols import ControllerStore
from serving.rules import Rules

log = logging.getLogger("sanad.serving")

_RECORD: Final = "model in service"
_N_WARM_UP_USERS: Final = 8


class Activated(msgspec.Struct, frozen=True, array_like=True):
    """The version that somebody activated, and the one that was in service before it."""

    version: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnDisk:
    """An artifact that a service may serve: its folder, its version and its manifest."""

    folder: Path
    version: str
    manifest: Manifest


class Models:
    """
    The engine in service, and the artifacts in `folder` that may take its place; None = there is no such folder.

    `build` makes a warm engine from the folder of an artifact by the rules of now, or raises ArtifactError. `rules` are
    those by which `engine` was made.
    """

    def __init__(
        self, engine: Engine, folder: Path | None, build: Callable[[Path, Rules], Engine], rules: Rules
    ) -> None:
        self._engine = engine
        self._build = build
        self._rules = rules
        self._killed: Set[str] = frozenset()
        self._refused: tuple[str, Millis] | None = None
        self._changing: Final = Lock()
        self._swapping: Final = RLock()
        self.folder: Final = folder

    def engine(self) -> Engine:
        """The engine in service."""
        return self._engine

    @property
    def version(self) -> str:
        """The version of the model in service."""
        return self._engine.resources.model.version

    def people(self) -> Set[str]:
        """The users with a history or a profile in the model in service, or in one that may come into service."""
        model = self._engine.resources.model
        known = {*model.histories, *model.profiles}
        for other in models_in(self.folder):
            try:
                for name in ("user_ids", "users"):
                    known |= set(pl.read_parquet(other.folder / f"{name}.parquet", columns=["user_id"])["user_id"])
            except (OSError, pl.exceptions.PolarsError) as error:  # what cannot be read cannot be served
                log.warning("passed over: %s: %s", other.folder, error)
        return known

    def previous(self) -> str | None:
        """The version to which `rollback` goes back; None when nothing was activated."""
        record = read_activated(self._engine.stores.controllers)
        return None if record is None else record.previous

    def activate(self, version: str, at: Millis, who: str) -> bool:
        """
        Serve this version from now on, in every process. False when no artifact has it. Raises DataError for one that
        cannot be loaded, Conflict while another activation runs, and StoreError; then the old one serves on.
        """
        with self._one_change():
            stores = self._engine.stores
            known = stores.controllers.read(_RECORD)
            before = self.version if known is None else _decode(known).version
            if version == before == self.version:
                return True
            engine = self._engine if version == self.version else self._built(version)
            if engine is None:
                return False
            record = Activated(version, before)
            stores.audit.append([activation(engine, at, who)])  # nothing is activated that is not noted
            if not stores.controllers.replace(_RECORD, known, msgspec.msgpack.encode(record)):
                raise Conflict("found another activation in another process, expected none; look, and try again")
            self._serve(engine, at)
        return True

    def rollback(self, at: Millis, who: str) -> None:
        """
        Serve the version again that was in service before the last activation. Raises Conflict when there is none or
        its artifact is gone, and otherwise what `activate` does.
        """
        version = self.previous()
        if version is None:
            raise Conflict("found no activation, expected one to undo; activate a model first")
        if not self.activate(version, at, who):
            raise Conflict(f"found no artifact of version {version}, to which to go back; put it back, and try again")

    def renew(self, rules: Rules, at: Millis) -> None:
        """
        Serve the same model by other rules from now on, and others that come later too. Requests that are being
        answered end by the rules that they began with. Raises StoreError; then nothing changes.
        """
        engine = self._by(self._engine, rules, at)
        warm_up(engine, at)
        with self._swapping:  # what takes long is over, unless another model came meanwhile
            if engine.resources.model is not self._engine.resources.model:
                engine = self._engine
            engine = self._by(engine, rules, at)
            engine.stores.audit.append([activation(engine, at, LOCAL)])
            self._engine, self._rules = engine, rules

    def kill(self, read: Callable[[], Set[str]], at: Millis) -> None:
        """
        From now on those experiments are killed that `read` says, and no others; in force when this returns. What one
        thread read is in force before another one reads: an older answer never undoes a newer one. Raises StoreError.
        """
        with self._swapping:
            killed = read()
            if killed != self._killed:
                experiments = self._rules.experiments.without(killed)
                self._engine = with_rules(self._engine, self._rules.market, experiments, at)
                self._killed = killed
                log.info("killed experiments: %s", ", ".join(sorted(killed)) or "none")

    def experiments(self) -> Experiments:
        """The experiments in force, without those kills that came over the stores."""
        return self._rules.experiments

    def _by(self, engine: Engine, rules: Rules, at: Millis) -> Engine:
        return with_rules(engine, rules.market, rules.experiments.without(self._killed), at)

    def _serve(self, engine: Engine, at: Millis) -> None:
        """Serve a new engine by the rules of now: they may be others than when its building began."""
        with self._swapping:
            self._engine = self._by(engine, self._rules, at)

    def follow(self, at: Millis) -> None:
        """Serve what another process activated. What cannot be loaded here is logged, and the old one serves on."""
        record = None if self.folder is None else read_activated(self._engine.stores.controllers)
        if record is None or record.version == self.version or self._was_refused(record.version, at):
            return
        try:
            with self._one_change():
                engine = self._built(record.version)
                if engine is not None:
                    self._serve(engine, at)
                    return
            log.error("found no artifact of the activated model %s in %s", record.version, self.folder)
        except Conflict:  # it is being loaded
            return
        except DataError as error:
            log.error("the activated model %s is not served: %s", record.version, error)
        self._refused = (record.version, at)

    def _was_refused(self, version: str, at: Millis) -> bool:
        """Whether it was tried and refused within the last minute: its artifact may come later."""
        return self._refused is not None and self._refused[0] == version and at - self._refused[1] < MINUTE

    @contextmanager
    def _one_change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise Conflict("found another activation at work, expected none; wait for its end, and try again")
        try:
            yield
        finally:
            self._changing.release()

    def _built(self, version: str) -> Engine | None:
        """A warm engine of that version; None where no artifact has it. Raises DataError."""
        found = find_version(self.folder, version)
        if found is None:
            return None
        try:
            engine = self._build(found.folder, self._rules)
        except (ArtifactError, StageError) as error:
            raise DataError(f"version: {error}") from error
        log.info("loaded model %s from %s", version, found.folder)
        return replace(engine, locks=self._engine.locks)


def only(engine: Engine) -> Models:
    """The models of a service that serves this engine and no other."""

    def build(folder: Path, rules: Rules) -> Engine:
        raise ArtifactError(f"found {folder}, expected no other model: this service has one engine")

    resources = engine.resources
    return Models(engine, None, build, Rules(resources.policy.market, resources.experiments))


def warm_up(engine: Engine, at: Millis) -> None:
    """Plan a few pages, which writes nothing, so that the first user does not wait for tables that are built once."""
    for user_id in (*islice(engine.resources.model.histories, _N_WARM_UP_USERS), "warm-up"):
        engine.plan(FeedRequest(user_id=user_id), at)


def models_in(folder: Path | None) -> Sequence[ModelOnDisk]:
    """The artifacts in a folder, the newest first; what is none, or of another format, is passed over."""
    found = [] if folder is None else [*_readable(folder)]
    return sorted(found, key=lambda model: (model.manifest.created_at, model.folder.name), reverse=True)


def find_version(folder: Path | None, version: str) -> ModelOnDisk | None:
    """The artifact of that version in a folder."""
    return next((model for model in models_in(folder) if model.version == version), None)


def read_activated(controllers: ControllerStore) -> Activated | None:
    """What was activated last on these stores."""
    packed = controllers.read(_RECORD)
    return None if packed is None else _decode(packed)


def _decode(packed: bytes) -> Activated:
    return msgspec.msgpack.decode(packed, type=Activated)


def _readable(folder: Path) -> Iterator[ModelOnDisk]:
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not place.name.startswith(".") and (place / MANIFEST).is_file():
            try:
                manifest, version = read_manifest(place)
            except ArtifactError as error:
                log.warning("passed over: %s", error)
                continue
            yield ModelOnDisk(folder=place, version=version, manifest=manifest)
