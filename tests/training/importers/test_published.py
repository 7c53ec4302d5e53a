"""Laws of reading published files: every layout gives the same rows, and damage is named by file, line and column."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import from_text
from recsys.errors import DataError
from training.importers.fields import id_of, instant, number, text
from training.importers.published import ROW, open_table

FIELDS = {"user": id_of("u"), "stars": number("s"), "at": instant("t"), "about": text("x")}
ROWS = [("ann", 4.5, 1112486027000, 'a "b", c'), ("bob", 1.0, 1112484676000, None)]


def written(path: Path, raw: str | bytes, pack: Callable[[bytes], bytes] = bytes) -> Path:
    path.write_bytes(pack(raw.encode() if isinstance(raw, str) else raw))
    return path


def zstandard(raw: bytes) -> bytes:
    packed = io.BytesIO()
    pl.DataFrame({"line": raw.decode().splitlines()}).write_csv(
        packed, include_header=False, quote_style="never", compression="zstd"
    )
    return packed.getvalue()


CSV = 'u,s,t,x\nann,4.5,1112486027,"a ""b"", c"\n\nbob,1,1112484676,\n'
JSONL = "".join(
    json.dumps({"u": u, "s": s, "t": t, "x": x, "more": [1]}) + "\n"
    for u, s, t, x in (*ROWS[:1], ("bob", 1, ROWS[1][2], None))
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard], ids=["plain", "gzip", "zstandard"])
@pytest.mark.parametrize(
    "raw",
    [CSV, CSV.replace("\n", "\r\n"), CSV.replace("\n", "\r"), JSONL],
    ids=["csv", "crlf", "cr", "jsonl"],
)
def test_every_layout_and_packing_reads_the_same_rows(raw: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    if "\r" in raw and pack is zstandard:
        pytest.skip("the packer of this test writes LF alone")
    rows = open_table(written(tmp_path / "table.dat", raw, pack)).read(FIELDS).drop(ROW).collect().rows()
    assert rows == ROWS


@pytest.mark.parametrize("cell", ['5" high', 'say "so" twice', '"so" they say', '"'])
def test_lone_quotes_between_tabs_are_letters(cell: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.tsv", f"u\tx\nann\t{cell}\nbob\t-\n")
    table = open_table(path, separator=None, wanted=["u"])
    assert table.read({"x": text("x")}).collect()["x"].to_list() == [cell, "-"]


def test_parquet_reads_the_same_rows_and_floats_as_ids_lose_their_point(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"u": [1.0, None, 7.0], "s": [5, 4, 3], "t": [1112486027, 1, 1112486028], "x": [["a", "b"], [], None]}
    )
    frame.filter(pl.col("u").is_not_null()).write_parquet(tmp_path / "t.parquet")
    rows = open_table(tmp_path / "t.parquet").read(FIELDS).drop(ROW).collect().rows()
    assert rows == [("1", 5.0, 1112486027000, "a b"), ("7", 3.0, 1112486028000, None)]


@pytest.mark.parametrize("raw", ["\ufeffu,s\nann,1\n", '\ufeff{"u": "ann", "s": 1}\n'], ids=["csv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_name(raw: str, tmp_path: Path) -> None:
    table = open_table(written(tmp_path / "t", raw))
    assert table.columns == ("u", "s")
    assert table.read({"user": id_of("u")}).collect()["user"].to_list() == ["ann"]


def test_quotes_are_letters_where_none_are_expected_and_latin_text_is_read(tmp_path: Path) -> None:
    raw = '1|Caf\xe9 "Le" Bleu\n2|x\n'.encode("latin-1")
    table = open_table(written(tmp_path / "u.item", raw), separator="|", quote=None, names=("id", "title"))
    assert table.read({"title": text("title")}).collect()["title"].to_list() == ['Café "Le" Bleu', "x"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("u,s,t,x\nann,4,1112486027,\nbob,many,1112486027,\n", r"line 3 of t\.csv, column 's': found 'many'"),
        ("u,s,t,x\nann,nan,1112486027,\n", r"line 2 of t\.csv, column 's': found 'nan', expected a number"),
        ('u,s,t,x\nann,4,1112486027,"two\nlines"\nbob,4,0,\n', r"line 4 of t\.csv, column 't': found '0', expected an"),
        ("u,s,t,x\n\n\n,4,1112486027,\n", r"line 4 of t\.csv, column 'u': found nothing, expected an id"),
        ('u,s,t,x\nann,4,1112486027,"Weird Al" Yankovic\n', r"line 2 of t\.csv: found a quote out of place"),
        ("u,s,t,x\nann,4,1112486027,a,b\n", r"line 2 of t\.csv: found 5 fields, expected 4 .*; put texts"),
        ("U,s,t,x\nann,4,1112486027,\n", r"column 'u' is missing, found U, s, t, x; is it 'U'\?"),
        ("u;s;t;x\nann;4;1112486027;\n", r"column 'u' is missing, found u;s;t;x"),
        ("u,s,u,x\nann,4,1,\n", r"line 1 of t\.csv: found the column 'u' twice"),
        (
            '{"u": "a", "s": 1, "t": 1112486027, "x": ["b"]}\n{"u": {"id": 7}}\n',
            r"line 2 of t\.csv, column 'u': found an object or a list, expected an id",
        ),
        ("u,s,t,x\nann,4,1112486027,\nbob,4\n", r"line 3 of t\.csv: found 2 fields, expected 4 as in the first line"),
        ("", r"found an empty file"),
        (b"u,s,t,x\nann,4,1112486027,\nb\xff,4,1,\n", r"line 3 of t\.csv holds the byte 0xff, which is not UTF-8"),
        (b"PK\x03\x04", r"found a zip archive, "),
        ('[{"u": 1}]', r"line 1 of t\.csv: found a list, expected one JSON object per line"),
        ('{"u": "a", "s": 1}\n{"u": "b"\n', r"line 2 of t\.csv is not one JSON object"),
        ('{"u": "a", "s": NaN}\n', r"line 1 of t\.csv, column 's': found NaN, which is not JSON"),
        ('\n{"u": "a", "s": "x", "t": 1112486027, "x": 1}\n', r"line 2 of t\.csv, column 's': found 'x'"),
    ],
)  # fmt: skip
def test_damage_is_named_by_file_line_and_column(raw: str | bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence) as refused:
        open_table(written(tmp_path / "t.csv", raw)).read(FIELDS)
    assert all("t.csv" in problem for problem in refused.value.problems)


@pytest.mark.parametrize("end", range(1, 12))
def test_a_download_that_stopped_is_never_read(end: int, tmp_path: Path) -> None:
    packed = gzip.compress((CSV + "eve,3,1112486027,\n" * 300).encode())
    path = written(tmp_path / "t.csv.gz", packed[: len(packed) * end // 12])
    with pytest.raises(DataError, match=r"t\.csv\.gz ends too early: found a part"):
        open_table(path).read(FIELDS)


@given(st.integers(10, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_refused_unless_it_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    raw = CSV + "eve,3,1112486027,\n" * 300
    path = tmp_path_factory.getbasetemp() / "flipped.csv.gz"
    packed = bytearray(gzip.compress(raw.encode(), mtime=0))
    packed[10 + place % (len(packed) - 10)] ^= 1 << bit
    path.write_bytes(packed)
    try:
        rows = open_table(path).read(FIELDS).collect()
    except DataError:
        return
    path.write_text(raw)
    assert rows.equals(open_table(path).read(FIELDS).collect())


@pytest.mark.parametrize(
    "spelling",
    [
        "1112486027", "1112486027.0", "1.112486027e9", "1112486027000", "1112486027000000", "2005-04-02 23:53:47",
        "2005-04-02T23:53:47Z", "2005-04-02T23:53:47.000+00:00", "2005-04-03T00:53:47+01:00", "04/02/2005 11:53:47 PM",
    ],
)  # fmt: skip
def test_an_instant_is_read_in_every_spelling_of_published_sets(spelling: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", f"t\n{spelling}\n")
    assert open_table(path).read({"at": instant("t")}).collect()["at"].to_list() == [from_text("2005-04-02T23:53:47Z")]
