"""
Columns of whole numbers as few bytes: what decision records and ledgers are packed with.

Numbers become codes, and codes become bits of one width or Huffman codes, which zlib works out. Deflated text refers to
a dictionary, in which there is what every page says.
"""

import zlib
from collections.abc import Sequence
from ctypes import c_int64
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from recsys.kernels import address, library
from recsys.types import Array, Integers, Longs

_WINDOW: Final = -15  # raw deflate: no header, no checksum, for a sealed value is checked as a whole


@cache
def dictionary() -> bytes:
    """The text that packed headers and answers refer to. Another text is another format of records."""
    return (files("recsys") / "record-5.dictionary.bin").read_bytes()


@cache
def _primed() -> "zlib._Compress":
    return zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 7, zdict=dictionary())


def deflate(data: bytes) -> bytes:
    """Deflated against the dictionary."""
    compressor = _primed().copy()
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes) -> bytes:
    """The inverse of `deflate`. Raises `zlib.error`."""
    decompressor = zlib.decompressobj(_WINDOW, dictionary())
    return decompressor.decompress(data) + decompressor.flush()


def pack_bits(codes: Integers) -> bytes:
    """
    Whole numbers of 0 or more (n,), below 2**62 and all about as likely, as bits: as many of them as go into 62 bits
    are one number, so that 20,000 values take 14.5 bits each and not 15. The radix stands before them.
    """
    native, numbers = library(), codes.astype(np.int64)
    radix = int(numbers.max(initial=0)) + 1
    if native is None:
        return pack_bits_in_numpy(numbers)
    n_joined = _n_joined(radix)
    width = (radix**n_joined - 1).bit_length()
    packed = np.zeros(-(-(-(-len(numbers) // n_joined) * width) // 8), np.uint8)
    native.pack_bits(
        address(numbers), c_int64(len(numbers)), c_int64(radix), c_int64(n_joined), c_int64(width), address(packed)
    )
    return radix.to_bytes(8, "little") + packed.tobytes()


def pack_bits_in_numpy(codes: Longs) -> bytes:
    """The reference of `pack_bits`."""
    radix = int(codes.max(initial=0)) + 1
    n_joined = _n_joined(radix)
    joined = np.pad(codes, (0, -len(codes) % n_joined)).reshape(-1, n_joined) @ radix ** np.arange(n_joined)
    width = (radix**n_joined - 1).bit_length()
    bits = np.unpackbits(joined.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")[:, :width]
    return radix.to_bytes(8, "little") + np.packbits(bits).tobytes()


def unpack_bits(packed: bytes, n: int) -> Longs:
    """The inverse of `pack_bits`, for n codes."""
    radix = int.from_bytes(packed[:8], "little")
    n_joined = _n_joined(radix)
    width, height = (radix**n_joined - 1).bit_length(), -(-n // n_joined)
    bits = np.zeros((height, 64), np.uint8)
    bits[:, :width] = np.unpackbits(np.frombuffer(packed[8:], np.uint8), count=height * width).reshape(height, width)
    joined = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.int64)
    return (joined // radix ** np.arange(n_joined) % radix).ravel()[:n]


def _n_joined(radix: int) -> int:
    """How many numbers below the radix go into 62 bits."""
    n = 1
    while radix > 1 and radix ** (n + 1) <= 2**62:
        n += 1
    return n


def pack_codes(codes: Integers) -> bytes:
    """Whole numbers of 0 or more (n,), below 2**63, some likelier than others: byte by byte as Huffman codes."""
    values = codes.astype("<u8")
    n_bytes = (int(values.max(initial=0)).bit_length() + 7) // 8
    return huffman(values.view(np.uint8).reshape(-1, 8)[:, :n_bytes].T.tobytes())


def unpack_codes(packed: bytes, n: int) -> Longs:
    """The inverse of `pack_codes`, for n codes."""
    octets, planes = np.zeros((n, 8), np.uint8), np.frombuffer(unhuffman(packed), np.uint8)
    if n:
        octets[:, : len(planes) // n] = planes.reshape(-1, n).T
    return octets.view("<u8").ravel().astype(np.int64)


def huffman(data: bytes) -> bytes:
    """Each byte by how often it is there. The smallest window: nothing is looked for in it."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -9, 6, zlib.Z_HUFFMAN_ONLY)
    return compressor.compress(data) + compressor.flush()


def unhuffman(packed: bytes) -> bytes:
    return zlib.decompress(packed, _WINDOW)


def pack_table(values: Array) -> tuple[bytes, bytes]:
    """The distinct values of a column of whole numbers, and the codes of its rows."""
    native, n = library(), len(values)
    if native is None or not n or values.dtype == np.uint64:  # of which not all are numbers of the loop
        return pack_table_in_numpy(values)
    size, n_slots = values.dtype.itemsize, 1 << (2 * n).bit_length()
    room, ends, packed = np.empty(5 * n + n_slots, np.int64), np.empty(2, np.int64), np.empty((size + 8) * n, np.uint8)
    room[:n] = values
    native.code_table(address(room), c_int64(n), c_int64(n_slots), c_int64(size), address(packed), address(ends))
    table_end, end = ends.tolist()
    return packed[:table_end].tobytes(), huffman(packed[table_end:end].tobytes())


def pack_table_in_numpy(values: Array) -> tuple[bytes, bytes]:
    """The reference of `pack_table`."""
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct.tobytes(), pack_codes(codes)


def unpack_table(packed: Sequence[bytes], dtype: str, n: int) -> Array:
    """The inverse of `pack_table`."""
    distinct, codes = packed
    return np.frombuffer(distinct, dtype)[unpack_codes(codes, n)]
