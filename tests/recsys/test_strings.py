"""Columns of strings and the index of ids behave as a tuple and a dict do, whatever came later."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import strings
from recsys.strings import id_index, string_column

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=6)
CHANGES: Final = st.lists(st.dictionaries(st.integers(0, 12), TEXT, max_size=6), max_size=4)


@given(st.lists(TEXT, max_size=10), CHANGES, st.integers(0, 5))
def test_a_column_holds_what_a_list_would(first, later, limit):
    column, expected = string_column(first), list(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings, "MAX_CHANGED", limit)
        for changes in later:
            size = max([len(expected), *(n + 1 for n in changes)])
            expected += [""] * (size - len(expected))
            for n, text in changes.items():
                expected[n] = text
            column = column.with_changes(changes, size)
    assert list(column) == expected
    assert (len(column), [column[np.int32(n)] for n in range(len(expected))]) == (len(expected), expected)
    assert column.take(range(len(expected))) == expected
    assert (column[1:], column[-3:-1]) == (tuple(expected[1:]), tuple(expected[-3:-1]))
    for part in {text[k : k + 2] for text in expected for k in range(len(text))} | {"", "zz"}:
        assert sorted(column.rows_with(part)) == [n for n, text in enumerate(expected) if part and part in text]


@given(st.lists(TEXT.filter(bool), unique=True, max_size=12), st.integers(0, 12), st.integers(0, 5))
def test_an_index_finds_what_a_dict_would(ids, n_first, limit):
    first = [*ids[:n_first]]
    column = string_column(["", *first])
    index = id_index(column)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings, "MAX_CHANGED", limit)
        for n, item_id in list(enumerate(ids, start=1))[len(first) :]:
            column = column.with_changes({n: item_id}, n + 1)
            index = index.with_changes({item_id: n}, column)
    assert dict(index) == {item_id: n for n, item_id in enumerate(ids, start=1)}
    assert (list(index), len(index)) == (ids, len(ids))
    assert "" not in index and index.get("\ud800") is None


def test_ids_of_one_checksum_are_told_apart():
    same = ["plumless", "buckeroo"]  # equal by CRC-32
    index = id_index(string_column(same))
    assert [index[item_id] for item_id in same] == [0, 1]


def test_a_number_beyond_the_column_is_refused():
    with pytest.raises(IndexError, match="found number 2, expected one below 2"):
        string_column(["a", "b"])[2]
