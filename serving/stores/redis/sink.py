"""
Decision records outside the servers: a folder for each day, on a disk that every machine reaches or in an object store.

Records are in pairs of files, `NAME.records` and `NAME.index`. Each process appends to a pair of its own; in an object
store, where nothing can be appended to, each pass makes a new pair. A record is there once its line of the index is,
which is written after it: what a crash left half done is passed over, and comes again from the outbox.

Beside the days stands who was erased, by the keyed hash of the id: an old copy of a server does not know it.
"""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem

from recsys.clock import DAY, Millis
from recsys.errors import StoreError

_LINE: Final = np.dtype(
    [("owner", "<u8", 4), ("request", "<u8", 2), ("at", "<i8"), ("order", "<u8"), ("start", "<u8"), ("n", "<u8")]
)
_AT_ONCE: Final = 100  # records that are read at once

NO_REQUEST: Final = b"\0" * 16
_ERASED: Final = "erased"  # the folder of erasures

Lines = npt.NDArray[np.void]


class SinkError(StoreError):
    """The place for decision records does not take or give them. Pages go on: records wait on the servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRecord:
    """A record: whose and of which request, both hidden; when it was answered; its order; and itself, sealed."""

    owner: bytes
    request: bytes
    at: Millis
    order: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class _Day:
    """The lines of a day, each record once and the newest of each request, in order; and which file each is in."""

    lines: Lines
    files: Sequence[str]
    file_of: npt.NDArray[np.int64]


class Sink:
    """The records of one installation, in a folder or at an address for fsspec. Raises SinkError."""

    def __init__(self, address: str) -> None:
        self.address: Final = re.sub("://.*@", "://", address)
        """The address as it may be printed: without an account."""
        self._fs, self._root = _open(address, self.address)
        self._is_folder: Final = isinstance(self._fs, LocalFileSystem)
        self._name = secrets.token_hex(8)
        self._check()

    def append(self, records: Sequence[SinkRecord]) -> None:
        """Durable before it returns. A record may be appended twice, and counts once."""
        by_day: dict[int, list[SinkRecord]] = {}
        for record in records:
            by_day.setdefault(record.at // DAY, []).append(record)
        for day, some in by_day.items():
            self._append_safely(self._folder(day), some)

    def _append_safely(self, folder: str, records: Sequence[SinkRecord]) -> None:
        try:
            self._append_to(folder, records)
        except Exception as error:
            self._name = secrets.token_hex(8)  # what is half written is left behind
            raise SinkError(f"{self.address}: decision records cannot be written ({error}); make room") from error

    def _append_to(self, folder: str, records: Sequence[SinkRecord]) -> None:
        name = f"{folder}/{self._name if self._is_folder else secrets.token_hex(12)}"
        self._fs.makedirs(folder, exist_ok=True)
        write = _append if self._is_folder else self._fs.pipe_file
        start = Path(f"{name}.records").stat().st_size if self._is_folder and Path(f"{name}.records").exists() else 0
        write(f"{name}.records", b"".join(record.sealed for record in records))
        write(f"{name}.index", _lines(records, start).tobytes())
        if self._is_folder and start == 0:
            _flush_folder(Path(folder))

    def append_erased(self, erasures: Sequence[SinkRecord]) -> None:
        """Note who was erased: `order` is the version of that moment. Durable before it returns."""
        if erasures:
            self._append_safely(f"{self._root}/{_ERASED}", erasures)

    def erased(self) -> Mapping[bytes, tuple[int, Millis]]:
        """Whoever was erased, with the version of the last time, and when that was."""
        lines = self._lines_in(f"{self._root}/{_ERASED}").lines
        return {line["owner"].tobytes(): (int(line["order"]), int(line["at"])) for line in lines}

    def latest_orders(self, n_days: int) -> Mapping[int, int]:
        """The last order of a record among the last days, by the first byte of the owner."""
        latest: dict[int, int] = {}
        for day in self._days()[-n_days:]:
            lines = self._day(day).lines
            for first in np.unique(lines["owner"][:, 0] & 0xFF):
                orders = lines["order"][lines["owner"][:, 0] & 0xFF == first]
                latest[int(first)] = max(int(orders.max()), latest.get(int(first), 0))
        return latest

    def newest(self, owner: bytes | None = None, request: bytes | None = None) -> Iterator[SinkRecord]:
        """The records of a person, of a request, or of everybody, newest first."""
        told = set[bytes]()
        for day in reversed(self._days()):
            found = self._day(day)
            chosen = _chosen(found.lines, owner, request)[::-1]
            for record in self._read(found, chosen):
                if record.owner + record.request not in told:
                    yield record
                if owner is not None or request is not None:  # of another day too; of everybody it would be too many
                    told.add(record.owner + record.request)

    def since(self, at: Millis) -> Iterator[SinkRecord]:
        """The records at `at` or later, day by day in the order of their writing."""
        for day in self._days():
            if (day + 1) * DAY > at:
                found = self._day(day)
                yield from self._read(found, np.flatnonzero(found.lines["at"] >= at))

    def requests_of(self, owner: bytes) -> set[bytes]:
        """The hidden requests of a person."""
        requests = set[bytes]()
        for day in self._days():
            lines = self._day(day).lines
            requests |= {line["request"].tobytes() for line in lines[_chosen(lines, owner, None)]}
        return requests

    def prune(self, oldest: Millis) -> int:
        """Delete the days that are over before an instant; how many records that were."""
        deleted = 0
        for day in self._days():
            if (day + 1) * DAY <= oldest:
                deleted += len(self._day(day).lines)
                self._fs.rm(self._folder(day), recursive=True)
        return deleted

    def prune_erased(self, oldest: Millis) -> None:
        """Delete files of erasures that were all before an instant: no copy is as old."""
        found = self._lines_in(f"{self._root}/{_ERASED}")
        newest = {n: int(found.lines["at"][found.file_of == n].max(initial=0)) for n in range(len(found.files))}
        for n in (n for n, at in newest.items() if at < oldest):
            self._fs.rm([found.files[n], f"{found.files[n].removesuffix('.index')}.records"])

    # Files

    def _check(self) -> None:
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            if self._is_folder and not os.access(self._root, os.W_OK):
                raise PermissionError("it may not be written")
        except Exception as error:
            raise StoreError(
                f"{self.address}: no place for decision records ({error}); name a folder that can be written"
            ) from error

    def _folder(self, day: int) -> str:
        return f"{self._root}/{np.datetime64(day, 'D')}"

    def _days(self) -> list[int]:
        """The days that have a folder, as numbers since 1970, in order."""
        try:
            self._fs.invalidate_cache()
            names = [str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unreadable(error) from error
        return sorted(int(np.datetime64(name, "D").astype(int)) for name in names if _is_day(name))

    def _day(self, day: int) -> _Day:
        return self._lines_in(self._folder(day))

    def _lines_in(self, folder: str) -> _Day:
        try:
            files = sorted(self._fs.glob(f"{folder}/*.index"))
            contents: Mapping[str, bytes] = {name: self._fs.cat_file(name) for name in files}
        except FileNotFoundError:  # another process dropped it just now
            files, contents = [], {}
        except Exception as error:
            raise self._unreadable(error) from error
        parts = [np.frombuffer(contents[name], _LINE, len(contents[name]) // _LINE.itemsize) for name in files]
        lines = np.concatenate([np.zeros(0, _LINE), *parts])
        file_of = np.repeat(np.arange(len(files)), [len(part) for part in parts])
        kept = _last_of_each(lines)
        return _Day(lines[kept], files, file_of[kept])

    def _read(self, day: _Day, chosen: npt.NDArray[np.int64]) -> Iterator[SinkRecord]:
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE]
            lines = day.lines[some]
            names = [f"{day.files[n].removesuffix('.index')}.records" for n in day.file_of[some]]
            ends = (lines["start"] + lines["n"]).tolist()
            try:
                found = self._fs.cat_ranges(names, lines["start"].tolist(), ends, on_error="raise")
            except FileNotFoundError:
                return
            except Exception as error:
                raise self._unreadable(error) from error
            for line, sealed in zip(lines, found, strict=True):
                yield SinkRecord(
                    owner=line["owner"].tobytes(), request=line["request"].tobytes(), at=int(line["at"]),
                    order=int(line["order"]), sealed=sealed,
                )  # fmt: skip

    def _unreadable(self, error: Exception) -> SinkError:
        return SinkError(f"{self.address}: decision records cannot be read ({error}); look at that place")


def _open(address: str, printed: str) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{printed}: no place for decision records ({error}); name a folder, or install it") from error
    return fs, str(root).rstrip("/")


def _is_day(name: str) -> bool:
    return len(name) == 10 and name.replace("-", "").isdigit()


def _lines(records: Iterable[SinkRecord], start: int) -> Lines:
    listed = list(records)
    lines = np.zeros(len(listed), _LINE)
    for n, record in enumerate(listed):
        owner, request = np.frombuffer(record.owner, "<u8"), np.frombuffer(record.request, "<u8")
        lines[n] = (owner, request, record.at, record.order, start, len(record.sealed))
        start += len(record.sealed)
    return lines


def _append(name: str, content: bytes) -> None:
    """Append to a file of the disk, flushed."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    for path in (folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _chosen(lines: Lines, owner: bytes | None, request: bytes | None) -> npt.NDArray[np.int64]:
    """Which lines are of a person and of a request; None = of all."""
    is_chosen = np.ones(len(lines), bool)
    for name, value in (("owner", owner), ("request", request)):
        if value is not None:
            is_chosen &= (lines[name] == np.frombuffer(value, "<u8")).all(axis=1)
    return np.flatnonzero(is_chosen)


def _last_of_each(lines: Lines) -> npt.NDArray[np.int64]:
    """Which lines are the newest of their person and request, in order."""
    newest_first = np.argsort(lines["order"], kind="stable")[::-1]
    names = np.ascontiguousarray(np.hstack([lines["owner"], lines["request"]])[newest_first]).view("V48").ravel()
    _, first = np.unique(names, return_index=True)
    kept = newest_first[first]
    return kept[np.argsort(lines["order"][kept], kind="stable")]
