"""
Columns of whole numbers as few bytes: what decision records and ledgers are packed with.

Numbers become codes, and codes become bits of one width or Huffman codes, which zlib works out. Deflated text refers to
a dictionary, in which there is what every page says.
"""

import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np

from recsys.types import Array, Integers, Longs

_WINDOW: Final = -15  # raw deflate: no header, no checksum, for a sealed value is checked as a whole


@cache
def dictionary() -> bytes:
    """The text that packed headers and answers refer to. Another text is another format of records."""
    return (files("recsys") / "record-4.dictionary.bin").read_bytes()


@cache
def _primed() -> "zlib._Compress":
    return zlib.compressobj(6, zlib.DEFLATED, _WINDOW, 9, zdict=dictionary())


def deflate(data: bytes) -> bytes:
    """Deflated against the dictionary."""
    compressor = _primed().copy()
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes) -> bytes:
    """The inverse of `deflate`. Raises `zlib.error`."""
    decompressor = zlib.decompressobj(_WINDOW, dictionary())
    return decompressor.decompress(data) + decompressor.flush()


def pack_bits(codes: Integers) -> bytes:
    """Whole numbers of 0 or more (n,), all about as likely: as bits of one width, after a byte that says the width."""
    values = codes.astype("<u8")
    width = int(values.max(initial=0)).bit_length()
    bits = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")[:, :width]
    return bytes([width]) + np.packbits(bits).tobytes()


def unpack_bits(packed: bytes, n: int) -> Longs:
    """The inverse of `pack_bits`, for n codes."""
    width, bits = packed[0], np.zeros((n, 64), np.uint8)
    bits[:, :width] = np.unpackbits(np.frombuffer(packed[1:], np.uint8), count=n * width).reshape(n, width)
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").ravel().astype(np.int64)


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
    """The distinct values of a column, and the codes of its rows."""
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct.tobytes(), pack_codes(codes)


def unpack_table(packed: Sequence[bytes], dtype: str, n: int) -> Array:
    """The inverse of `pack_table`."""
    distinct, codes = packed
    return np.frombuffer(distinct, dtype)[unpack_codes(codes, n)]
