"""Numbers come back from their codes, whatever they are."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import codes
from recsys.codes import (
    deflate,
    dictionary,
    inflate,
    pack_bits,
    pack_codes,
    pack_table,
    unpack_bits,
    unpack_codes,
    unpack_table,
)

WHOLE = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 70_000), st.integers(0, 2**62 - 1)), max_size=40)


@given(numbers=WHOLE)
def test_bits_and_codes_come_back(numbers):
    column = np.array(numbers, np.int64)
    assert unpack_bits(pack_bits(column), len(column)).tolist() == numbers
    assert unpack_codes(pack_codes(column), len(column)).tolist() == numbers


@given(numbers=st.lists(st.integers(-(2**62), 2**62), max_size=40))
def test_a_table_comes_back(numbers):
    column = np.array(numbers, "<i8")
    assert unpack_table(pack_table(column), "<i8", len(column)).tolist() == numbers


def test_bits_have_the_width_of_the_largest_number():
    """20,000 ** 4 is below 2 ** 58: 16 numbers are 4 times 58 bits, 29 bytes, after the radix."""
    assert len(pack_bits(np.arange(19_984, 20_000))) == 8 + 29


def test_few_values_take_few_bits():
    numbers = np.zeros(800, np.int64)
    numbers[::80] = 300
    assert len(pack_codes(numbers)) < 2 * 800 / 7


@given(text=st.binary(max_size=300))
def test_text_comes_back_from_the_dictionary(text):
    assert inflate(deflate(text)) == text


def test_the_dictionary_is_that_of_the_format():
    """Records of format 5 cannot be read with another: to change it is to make format 6, and to ship both."""
    assert (len(dictionary()), zlib.crc32(dictionary())) == (26_319, 0xBCFFAF24)


def test_other_bytes_are_refused():
    with pytest.raises(zlib.error):
        inflate(b"\xff\xff\xff")


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 2**62 - 1) | st.integers(0, 40), max_size=70))
def test_compiled_bits_are_those_of_the_reference(native, numbers):
    column = np.array(numbers, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "library", lambda: native)
        assert codes.pack_bits(column) == codes.pack_bits_in_numpy(column)


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=300),
    kind=st.sampled_from(["<i8", "<u4", "<u2", "<i1", "?"]),
)
def test_compiled_tables_are_those_of_the_reference(native, numbers, kind):
    column = np.array(numbers, np.int64).astype(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "library", lambda: native)
        assert codes.pack_table(column) == codes.pack_table_in_numpy(column)
