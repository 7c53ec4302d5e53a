"""Laws of ragged rows and of quotes: what is read is what stands there, in every column alone too, or it is refused."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data import regular
from recsys.data.delimited import Delimited, scan_delimited
from recsys.data.tables import read_dataset
from recsys.data.text_files import look_through
from recsys.errors import DataError
from tests.recsys.data.conftest import EVENTS, Files

HEADER, FIRST, SECOND = EVENTS.splitlines()


def opened(path: Path, raw: str, separator: str = ",") -> Delimited:
    path.write_bytes(raw.encode())
    return scan_delimited(look_through(path), separator)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"{SECOND},x", "found 6 fields, expected 5"),
        (SECOND.rpartition(",")[0], "found 4 fields, expected 5"),
        ("e2", "found 1 field, expected 5"),
        ('"e2,u1', "found a quote out of place"),
    ],
)
def test_a_row_with_more_or_fewer_fields_is_damage_with_its_line(line: str, sentence: str, files: Files) -> None:
    with pytest.raises(DataError, match=r"line 3 of events\.csv") as caught:
        read_dataset(files(events={"events.csv": f"{HEADER}\n{FIRST}\n{line}\n{FIRST}\n".encode()}))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("cell", ['5" high', 'say "so" twice', '"so" they say', '"', 'a "', '"a" b "c"'])
def test_quotes_are_letters_between_tabs_where_they_stand_alone(cell: str, files: Files) -> None:
    items = f"item_id\tcreator_id\tpublished_at\ttitle\nv1\tc1\t2026-01-01\t{cell}\nv2\tc1\t2026-01-01\t-\n"
    titles = read_dataset(files(items={"items.tsv": items.encode()})).items.collect()["title"]
    assert titles.to_list() == [cell, "-"]


def test_quotes_around_whole_fields_between_tabs_are_no_part_of_them(tmp_path: Path) -> None:
    rows = opened(tmp_path / "t.tsv", 'a\tb\n"x\ty"\t"say ""so"""\n', "\t").frame.collect().rows()
    assert rows == [("x\ty", 'say "so"')]


@pytest.mark.parametrize("cell", ['5" high', 'say "so" twice', 'a "'])
def test_a_quote_inside_a_field_between_commas_is_a_letter(cell: str, tmp_path: Path) -> None:
    table = opened(tmp_path / "t.csv", f"a,b\n1,{cell}\n\n2,x\n")
    assert table.frame.collect().rows() == [("1", cell), ("2", "x")]
    assert list(table.lines()) == [2, 4]


TEXTS = st.lists(st.sampled_from(["a", "b", '"', ",", "\n", "\r\n", "\r", " "]), max_size=40).map("".join)


@given(TEXTS, st.sampled_from([1, 2, 5, 1 << 20]))
def test_what_is_read_is_what_python_reads_whichever_columns_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    raw = f"x,y\n{text}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(regular, "_CHUNK", chunk)
        try:
            table = opened(path, raw)
        except DataError:
            return
    rows = [row for row in csv.reader(io.StringIO(raw, newline=""), strict=True) if any(f.strip() for f in row)][1:]
    expected = [tuple(field or None for field in row) for row in rows]
    nulls = table.frame.with_columns(pl.when(pl.all() != "").then(pl.all())).collect()
    assert [row for row in nulls.rows() if any((value or "").strip() for value in row)] == expected
    for name in table.names:
        assert table.frame.select(name).collect()[name].to_list() == table.frame.collect()[name].to_list()
    assert len(list(table.lines())) == nulls.height
