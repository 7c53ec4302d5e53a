"""
The table of a catalogue in a file, so that a start maps it instead of making it from every row, and several processes
share its pages.

The store alone says what is true. Its small records name the files of the last machines by their hashes; another file,
also one of a restored copy of the store, is made anew. So is one of another program, market or artifact. What was
written since the file comes from the store.

    8 bytes    length of the header
    header     MessagePack of `_Header`
    arrays     each from a multiple of 64 bytes on, counted from the end of the header
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

import recsys
from recsys.catalogue.copies import CopyMemory
from recsys.catalogue.creators import Creator
from recsys.catalogue.items import DTYPES, STRINGS, Items
from recsys.errors import StoreError
from recsys.policy.schema import Market
from recsys.stores.protocols import ControllerStore
from recsys.strings import IdIndex, StringColumn, compact, id_index
from recsys.text.duplicates import Copies
from recsys.types import Array

_NOTE: Final = "table of the catalogue"
_ALIGNED: Final = 64  # bytes
_DIGEST_BYTES: Final = 32
_MAX_NAMED: Final = 64  # files, of as many machines and markets on one store
_MAX_TRIES: Final = 8  # while others note theirs
_UNFINISHED: Final = ".unfinished"  # no other file ends so: what is left of one is removed
_COPIES: Final = ("hash_no", "is_hashed", "owner", "creator_text_no", "duration_text_no", "arrival")


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where an array stands in the file: dtype, length, and the bytes between the header's end and its first one."""

    dtype: str
    length: int
    start: int


class _MadeFor(msgspec.Struct, frozen=True):
    """The part of a header that another program can read too."""

    made_for: bytes


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a table holds beside its arrays. `made_for`: see `table_key`."""

    made_for: bytes
    revision: int
    codes: dict[str, int]
    memory: dict[int, CopyMemory]
    creators: tuple[Creator, ...]
    arrays: dict[str, _Place]


@dataclass(frozen=True, slots=True, eq=False)
class SavedTable:
    """A table, and the creators at its revision."""

    items: Items
    creators: Mapping[str, Creator]


def table_key(market: Market, artifact_version: str) -> bytes:
    """What a table depends on beside the store's rows: the market's rules, the artifact, and the program."""
    return hashlib.sha256(b"\0".join([msgspec.msgpack.encode(market), artifact_version.encode(), _program()])).digest()


@cache
def _program() -> bytes:
    """A hash of every source file of the engine."""
    digest = hashlib.sha256()
    folder = Path(recsys.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.digest()


# --- the file and its note ---


def open_table(path: Path | None, notes: ControllerStore, key: bytes) -> SavedTable | None:
    """The table in a file; None where there is none, or not one that the store names and `key` asks for."""
    known = _named(notes.read(_NOTE))
    if path is None or not known:
        return None
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() not in known:
                return None
            return _read(mmap(file.fileno(), 0, access=ACCESS_READ), key)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def save_table(path: Path | None, notes: ControllerStore, key: bytes, table: SavedTable) -> SavedTable:
    """
    The same table, mapped from its file; as it was where nothing can be written: then the next start takes longer.

    The file comes before the note: after a crash in between, the next start makes both again.
    """
    if path is None:
        return table
    try:
        _note(notes, _write(path, key, table))
    except (OSError, StoreError):
        return table
    return open_table(path, notes, key) or table


def _named(note: bytes | None) -> list[bytes]:
    """The hashes of files in a note, the newest first."""
    packed = note or b""
    return [packed[start : start + _DIGEST_BYTES] for start in range(0, len(packed), _DIGEST_BYTES)]


def _note(notes: ControllerStore, digest: bytes) -> None:
    """Name a file in the store, besides those of other machines."""
    for _ in range(_MAX_TRIES):
        note = notes.read(_NOTE)
        others = [other for other in _named(note) if other != digest]
        if notes.replace(_NOTE, note, b"".join([digest, *others[: _MAX_NAMED - 1]])):
            return


def _write(path: Path, key: bytes, table: SavedTable) -> bytes:
    """Writes the file, whole or not at all; its hash."""
    items = _compact(table.items)
    arrays = dict(_arrays_of(items))
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = _Place(array.dtype.str, len(array), end)
        end += -(-array.nbytes // _ALIGNED) * _ALIGNED
    header = _Header(
        made_for=key, revision=items.revision, codes=dict(items.codes), memory=dict(items.memory),
        creators=tuple(table.creators.values()), arrays=places,
    )  # fmt: skip
    _clear_leftovers(path)
    descriptor, beside = tempfile.mkstemp(_UNFINISHED, f"{path.name}.", path.parent)  # for this user alone
    try:
        digest = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            for piece in _pieces(msgspec.msgpack.encode(header), arrays.values()):
                digest.update(piece)
                file.write(piece)
        Path(beside).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise
    return digest.digest()


def _clear_leftovers(path: Path) -> None:
    """
    Removes what killed processes left beside the file. Who writes now holds a lock; who lost its file all the same
    serves the table from memory.
    """
    for left in path.parent.iterdir():
        if left.name.startswith(f"{path.name}.") and left.name.endswith(_UNFINISHED):
            with suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


def _pieces(header: bytes, arrays: Iterable[Array]) -> Iterator[bytes | memoryview]:
    """The bytes of a file, in order."""
    yield len(header).to_bytes(8, "little")
    yield header
    yield bytes(_begin(len(header)) - 8 - len(header))
    for array in arrays:
        yield array.data.cast("B") if len(array) else b""
        yield bytes(-array.nbytes % _ALIGNED)


def _begin(header_length: int) -> int:
    """Where the arrays begin."""
    return -(-(8 + header_length) // _ALIGNED) * _ALIGNED


def _read(mapped: mmap, key: bytes) -> SavedTable | None:
    """The table in a verified file; None when it was made for something else."""
    length = int.from_bytes(mapped[:8], "little")
    if msgspec.msgpack.decode(mapped[8 : 8 + length], type=_MadeFor).made_for != key:
        return None
    header = msgspec.msgpack.decode(mapped[8 : 8 + length], type=_Header)
    begin = _begin(length)
    arrays: dict[str, Any] = {
        name: np.frombuffer(mapped, place.dtype, place.length, begin + place.start)
        for name, place in header.arrays.items()
    }
    for name in DTYPES:  # a file that somebody writes over in place must not change what a tier or a takedown says
        if arrays[name].dtype.itemsize == 1:
            arrays[name] = arrays[name].copy()
            arrays[name].flags.writeable = False
    strings: dict[str, Any] = {
        name: StringColumn(arrays.pop(f"{name}.data"), arrays.pop(f"{name}.starts")) for name in STRINGS
    }
    numbers, starts = arrays.pop("index.numbers"), arrays.pop("index.starts")
    items = Items(
        revision=header.revision, newest_raise=header.revision, codes=header.codes, memory=header.memory,
        index=IdIndex(strings["item_ids"], numbers, starts),
        copies=Copies(**{name: arrays.pop(f"copies.{name}") for name in _COPIES}), **strings, **arrays,
    )  # fmt: skip
    return SavedTable(items, {creator.creator_id: creator for creator in header.creators})


def _compact(items: Items) -> Items:
    """The same table without strings beside its buffers."""
    ids = compact(items.item_ids)
    index = items.index if ids is items.item_ids and not items.index.later else id_index(ids)
    return replace(items, item_ids=ids, creator_ids=compact(items.creator_ids), texts=compact(items.texts), index=index)


def _arrays_of(items: Items) -> Iterator[tuple[str, Array]]:
    """Every array of a compact table by its name in the file."""
    yield from ((name, getattr(items, name)) for name in DTYPES)
    for name in STRINGS:
        column: StringColumn = getattr(items, name)
        yield from ((f"{name}.data", column.data), (f"{name}.starts", column.starts))
    yield from (("index.numbers", items.index.numbers), ("index.starts", items.index.starts))
    yield from ((f"copies.{name}", getattr(items.copies, name)) for name in _COPIES)
