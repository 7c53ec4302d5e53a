"""Laws of finding files: every file of a dataset folder is read, or it is named and the run fails."""

import gzip
from codecs import BOM_UTF8
from pathlib import Path

import polars as pl
import pytest

from recsys.data.files import find_tables, format_of
from recsys.data.tables import read_dataset
from recsys.errors import DataError
from tests.recsys.data.conftest import EVENTS, Files

HEADER, FIRST, SECOND = (line + "\n" for line in EVENTS.splitlines())
PART_1, PART_2 = (HEADER + FIRST).encode(), (HEADER + SECOND).encode()


def parquet(text: bytes, folder: Path) -> bytes:
    pl.read_csv(text).write_parquet(folder / "made")
    return (folder / "made").read_bytes()


def json_lines(text: bytes) -> bytes:
    return pl.read_csv(text).write_ndjson().encode()


def zstd(text: bytes, folder: Path) -> bytes:
    lines = pl.DataFrame({"line": text.decode().splitlines()}).lazy()
    lines.sink_csv(folder / "made.zst", compression="zstd", include_header=False, quote_style="never", separator="\x1f")
    return (folder / "made.zst").read_bytes()


LAYOUTS = {
    "capital letters": {"EVENTS.CSV": EVENTS.encode()},
    "tabs": {"events.tsv": EVENTS.replace(",", "\t").encode()},
    "JSON Lines by its other name": {"events.ndjson": json_lines(EVENTS.encode())},
    "parts by date": {"events/date=2026-01-02/0.csv": PART_1, "events/date=2026-01-03/0.csv": PART_2},
    "parts by month, and one beside them": {"events/2026-01/0.csv": PART_1, "events/3.csv": PART_2},
    "parts in several formats": {"events/0.csv.gz": gzip.compress(PART_1), "events/1.ndjson": json_lines(PART_2)},
    "parts in the folder itself": {"events-0.csv": PART_1, "events-1.csv": PART_2},
    "a folder that Spark wrote": {"events.csv/_SUCCESS": b"", "events.csv/.0.crc": b"x", "events.csv/0.csv": PART_1,
                                  "events.csv/1.csv": PART_2},
    "an empty part": {"events/0.csv": b"", "events/1.csv": EVENTS.encode(), "events/2.jsonl": b"\n"},
    "a readme": {"events.csv": EVENTS.encode(), "README.md": b"what this is", "LICENSE": b"MIT", "Thumbs.db": b""},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_events(files: Files, layout: str) -> None:
    events = read_dataset(files(events=LAYOUTS[layout])).events.collect().sort("event_id")
    assert events["event_id"].to_list() == ["e1", "e2"]
    assert events["at"].to_list() == [1767312001000, 1767312002000]


@pytest.mark.parametrize("name", ["events.pq", "events.parquet/part-0.snappy.parquet", "EVENTS.PARQUET"])
def test_parquet_has_more_than_one_name(files: Files, tmp_path: Path, name: str) -> None:
    folder = files(events={name: parquet(EVENTS.encode(), tmp_path)})
    assert read_dataset(folder).events.collect().height == 2


@pytest.mark.parametrize("name", ["events.csv.zst", "events.jsonl.zst", "events.csv"])
def test_text_packed_by_zstandard_is_read_by_its_first_bytes(files: Files, tmp_path: Path, name: str) -> None:
    text = json_lines(EVENTS.encode()) if "jsonl" in name else EVENTS.encode()
    assert read_dataset(files(events={name: zstd(text, tmp_path)})).events.collect().height == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("stem", ["events-*[2]", "events/[a-b]?"])
def test_a_name_that_looks_like_a_pattern_is_a_name(files: Files, tmp_path: Path, stem: str, ending: str) -> None:
    lines = json_lines(EVENTS.encode())
    contents = {
        "csv": EVENTS.encode(), "jsonl": BOM_UTF8 + lines, "jsonl.gz": gzip.compress(lines),
        "parquet": parquet(EVENTS.encode(), tmp_path),
    }  # fmt: skip
    folder = files(events={f"{stem}.{ending}": contents[ending]})
    assert read_dataset(folder).events.collect().height == 2


def test_names_of_folders_are_columns_unless_the_file_has_them(files: Files) -> None:
    users = {
        "users/country=MA/0.csv": b"user_id\nu1\n",
        "users/country=__HIVE_DEFAULT_PARTITION__/0.csv": b"user_id\nu2\n",
        "users/country=FR/0.csv": b"user_id,country\nu3,BE\n",
        "users/guardian_id=a%3Ab/0.csv": b"user_id\nu4\n",
    }
    rows = read_dataset(files(users=users)).users.sort("user_id").collect()
    assert rows["country"].to_list() == ["MA", None, "BE", None]
    assert rows["guardian_id"].to_list() == [None, None, None, "a:b"]


@pytest.mark.parametrize(
    "name",
    ["events.xlsx", "events/1.csv.bak", "events/1.csv.bz2", "events/1.parquet.gz", "event.csv", "notes.txt",
     "rejected/events.parquet", "events/_delta_log/0.json.zip", "events/_temporary/0.orc"],
)  # fmt: skip
def test_what_is_not_read_is_named_and_fails(files: Files, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(files(events={"events/0.csv": PART_1, name: b"something"}))
    assert f"found {name} in" in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [("events.csv", "events.parquet"), ("events.csv", "events.csv.gz"), ("events.csv", "events/0.csv"),
     ("events.csv", "EVENTS.TSV"), ("events-0.csv", "events/0.csv"), ("events/0.csv", "events/0.csv.gz")],
)  # fmt: skip
def test_a_table_that_stands_twice_is_refused_with_both_names(files: Files, names: tuple[str, str]) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(files(events=dict.fromkeys(names, EVENTS.encode())))
    assert all(name in str(caught.value) for name in names)


def test_a_table_with_nothing_in_it_is_refused_where_a_header_is_due(files: Files) -> None:
    with pytest.raises(DataError, match=r"users\.csv is empty, expected at least a header"):
        read_dataset(files(users={"users.csv": b" \n\n"}))


def test_names_without_a_known_ending_have_no_format() -> None:
    assert [format_of(n) for n in ("a", "a.b", "a.csv.zip", "a.gz", "a.parquet.gz")] == [None] * 5
    assert [format_of(n) for n in ("a.CSV.GZ", "a.b.tab", "a.json", "a.snappy.pq")] == [
        "csv",
        "tsv",
        "jsonl",
        "parquet",
    ]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no folder"):
        find_tables(tmp_path / "nowhere", ["events"])
