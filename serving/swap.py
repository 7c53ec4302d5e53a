"""
Which model a service serves, and how it comes to serve another one without a restart.

The activated version stands in the stores, so that a restart and every other process on the same state serve it too.
The new engine is built and warmed up beside the old one. A request keeps the engine that it started with. An artifact
that cannot be loaded changes nothing: the old one serves on.
"""

import logging
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec
import polars as pl

from recsys.clock import Millis
from recsys.errors import ArtifactError, Conflict, DataError, StageError
from recsys.feed.engine import Engine
from recsys.models.manifest import MANIFEST, Manifest, read_manifest
from recsys.services.audit import activation
from recsys.stores.audit import LOCAL
from recsys.stores.protocols import ControllerStore

log = logging.getLogger("sanad.serving")

_RECORD: Final = "model in service"


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

    `build` makes a warm engine from the folder of an artifact, or raises ArtifactError.
    """

    def __init__(self, engine: Engine, folder: Path | None, build: Callable[[Path], Engine]) -> None:
        self._engine = engine
        self._build = build
        self._changing: Final = Lock()
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
            self._engine = engine
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

    def renew(self, build: Callable[[Path], Engine], artifact: Path, at: Millis) -> None:
        """
        Serve the same model by an engine that `build` makes by other rules, and make later ones so too. `artifact` is
        where it may be besides the folder of models. Raises DataError, Conflict or StoreError; then nothing changes.
        """
        with self._one_change():
            found = find_version(self.folder, self.version) or find_version(artifact.parent, self.version)
            if found is None:
                raise DataError(f"found no artifact of the model in service ({self.version}), expected it; restart")
            try:
                engine = replace(build(found.folder), locks=self._engine.locks)
            except (ArtifactError, StageError) as error:
                raise DataError(f"the artifact of the model in service: {error}") from error
            engine.stores.audit.append([activation(engine, at, LOCAL)])
            self._engine, self._build = engine, build

    def follow(self) -> None:
        """Serve what another process activated. What cannot be loaded here is logged, and the old one serves on."""
        record = None if self.folder is None else read_activated(self._engine.stores.controllers)
        if record is None or record.version == self.version:
            return
        try:
            with self._one_change():
                engine = self._built(record.version)
                if engine is None:
                    log.error("found no artifact of the activated model %s in %s", record.version, self.folder)
                else:
                    self._engine = engine
        except (Conflict, DataError) as error:
            log.error("the activated model %s is not served: %s", record.version, error)

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
            engine = self._build(found.folder)
        except (ArtifactError, StageError) as error:
            raise DataError(f"version: {error}") from error
        log.info("loaded model %s from %s", version, found.folder)
        return replace(engine, locks=self._engine.locks)


def only(engine: Engine) -> Models:
    """The models of a service that serves this engine and no other."""

    def build(folder: Path) -> Engine:
        raise ArtifactError(f"found {folder}, expected no other model: this service has one engine")

    return Models(engine, None, build)


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
