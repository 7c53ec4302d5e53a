"""
Many strings in few buffers: a million of them as objects of Python take longer to make than to serve.

Buffers are plain arrays, so that a file of them can be mapped and shared by several processes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Final, SupportsIndex, overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from recsys.types import Ids, Longs

MAX_CHANGED: Final = 1_000
"""Strings, or one in `_CHANGED_PART`, that may stand beside the buffers before these are made anew."""

_CHANGED_PART: Final = 16
_END: Final = b"\n"

Bytes = NDArray[np.uint8]


class StringColumn(Sequence[str]):
    """
    n strings, one after the other in one buffer, and those that came or changed later beside it.

    Shapes: `data` (n_bytes,) UTF-8, each string and a line break; `starts` (n + 1,) where each begins, and the end.
    """

    __slots__ = ("_bytes", "_positions", "_size", "changed", "data", "starts")

    def __init__(
        self, data: Bytes, starts: Longs, changed: Mapping[int, str] | None = None, size: int | None = None
    ) -> None:
        self.data, self.starts, self.changed = data, starts, changed or {}
        self._size = len(starts) - 1 if size is None else size
        self._bytes, self._positions = data.data, starts.data  # their elements are plain objects

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, n: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, n: slice) -> tuple[str, ...]: ...
    def __getitem__(self, n: SupportsIndex | slice) -> str | tuple[str, ...]:
        if isinstance(n, slice):
            return tuple(self[at] for at in range(self._size)[n])
        n = index(n)
        changed = self.changed.get(n)
        if changed is not None:
            return changed
        if not -self._size <= n < self._size:
            raise IndexError(f"found number {n}, expected one below {self._size}")
        n += self._size if n < 0 else 0
        return str(self.utf8(n), "utf-8")

    def take(self, numbers: Iterable[int]) -> list[str]:
        """The strings of numbers from 0 on, below the length: each as `self[n]`, in a fraction of the time."""
        changed, data, starts, n_stored = self.changed, self._bytes, self._positions, len(self._positions) - 1
        return [
            changed[n] if n in changed else str(data[starts[n] : starts[n + 1] - 1], "utf-8") if n < n_stored else ""
            for n in numbers
        ]

    def utf8(self, n: int) -> memoryview | bytes:
        """The bytes of the n-th string."""
        if n in self.changed:
            return self.changed[n].encode()
        if n >= len(self._positions) - 1:
            return b""
        return self._bytes[self._positions[n] : self._positions[n + 1] - 1]

    def __iter__(self) -> Iterator[str]:
        return (self[n] for n in range(self._size))

    def with_changes(self, changes: Mapping[int, str], size: int) -> "StringColumn":
        """The column of `size` strings after some came or changed; numbers that nothing was said of are empty."""
        if len(changes) > self._most_changed():
            pieces = [*map(self.utf8, range(size))]
            for n, text in changes.items():
                pieces[n] = text.encode()
            return string_column(pieces)
        new = {n: text for n, text in changes.items() if n >= self._size or self[n] != text}
        changed = {**self.changed, **new}
        if len(changed) > self._most_changed():
            return compact(StringColumn(self.data, self.starts, changed, size))
        return StringColumn(self.data, self.starts, changed, size)

    def _most_changed(self) -> int:
        return max(MAX_CHANGED, (len(self.starts) - 1) // _CHANGED_PART)

    def rows_with(self, part: str) -> Iterator[int]:
        """The strings that contain a part without line breaks; none of them breaks its line. Nothing contains ""."""
        sought, data, starts = part.encode("utf-8", "surrogatepass"), self._bytes.tobytes(), self._positions
        at = data.find(sought) if sought else -1
        while at >= 0:
            row = bisect_right(starts, at) - 1
            if row not in self.changed:
                yield row
            at = data.find(sought, starts[row + 1])
        yield from (n for n, text in self.changed.items() if part and part in text)


def string_column(strings: Iterable[str | bytes | memoryview]) -> StringColumn:
    """A column of strings, or of their UTF-8."""
    pieces = [string.encode() if isinstance(string, str) else string for string in strings]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(np.fromiter((len(piece) + 1 for piece in pieces), np.int64, len(pieces)), out=starts[1:])
    return StringColumn(np.frombuffer(_END.join([*pieces, b""]), np.uint8), starts)


def compact(column: StringColumn) -> StringColumn:
    """The same column with nothing beside its buffers."""
    if not column.changed and len(column) == len(column.starts) - 1:
        return column
    return string_column(column.utf8(n) for n in range(len(column)))


class IdIndex(Mapping[str, int]):
    """
    The number of each id of a column, in which an empty string is no id.

    `numbers` are those of ids in the order of their buckets, bucket b is `numbers[starts[b]:starts[b + 1]]`. An id's
    bucket comes from its checksum; within it ids are compared in full. `later` are the numbers of ids beside them.
    """

    __slots__ = ("_numbers", "_starts", "ids", "later", "numbers", "starts")

    def __init__(self, ids: StringColumn, numbers: Ids, starts: Ids, later: Mapping[str, int] | None = None) -> None:
        self.ids, self.numbers, self.starts, self.later = ids, numbers, starts, later or {}
        self._numbers, self._starts = numbers.data, starts.data

    def __getitem__(self, item_id: str) -> int:
        later = self.later.get(item_id)
        if later is not None:
            return later
        sought = item_id.encode("utf-8", "surrogatepass")
        bucket = crc32(sought) % (len(self._starts) - 1)
        for at in range(self._starts[bucket], self._starts[bucket + 1]):
            number: int = self._numbers[at]
            if self.ids.utf8(number) == sought:
                return number
        raise KeyError(item_id)

    def __iter__(self) -> Iterator[str]:
        yield from (self.ids[n] for n in sorted(self.numbers.tolist()))
        yield from self.later

    def __len__(self) -> int:
        return len(self.numbers) + len(self.later)

    def with_changes(self, new: Mapping[str, int], ids: StringColumn) -> "IdIndex":
        """The index of `ids`, the same column after `new` came to it."""
        if ids.data is not self.ids.data:
            return id_index(ids)
        return IdIndex(ids, self.numbers, self.starts, {**self.later, **new})


def id_index(ids: StringColumn) -> IdIndex:
    """The index of a column of ids."""
    checksums = np.fromiter((crc32(ids.utf8(n)) for n in range(len(ids))), np.uint32, len(ids))
    is_id = np.diff(ids.starts) > 1
    numbers = np.flatnonzero(is_id)
    bucket = checksums[numbers] % np.uint32(max(1, len(numbers)))
    order = np.argsort(bucket, kind="stable")
    starts = np.searchsorted(bucket[order], np.arange(max(1, len(numbers)) + 1))
    return IdIndex(ids, numbers[order].astype(np.int32), starts.astype(np.int32))
