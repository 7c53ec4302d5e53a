"""Laws of places: a row is named by the file and the line where its owner finds it."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from recsys.columns import USERS
from recsys.data.files import find_tables
from recsys.data.places import places
from recsys.data.raw import open_raw
from tests.recsys.data.conftest import Files

TEXTS = {
    "users.csv": ('user_id,country\n\n"u\n1",MA\n\nu2,FR\nu3,\n', {1: 3, 2: 6, 3: 7}),
    "users.tsv": ("user_id\tcountry\ru1\tMA\ru2\tFR\r", {1: 2, 2: 3}),
    "users.jsonl": ('{"user_id": "u1"}\n\n{"user_id": "u2"}\n', {1: 1, 2: 3}),
}


def places_of(folder: Path, rows: list[int]) -> dict[int, str]:
    opened = [open_raw(file, USERS) for file in find_tables(folder, ["creators", "items", "users", "events"])["users"]]
    return places([raw for raw in opened if raw is not None], rows)


@pytest.mark.parametrize("name", TEXTS)
def test_a_row_of_text_stands_on_the_line_where_it_begins(files: Files, name: str) -> None:
    text, lines = TEXTS[name]
    expected = {row: f"line {line} of {name}" for row, line in lines.items()}
    assert places_of(files(users={name: text.encode()}), list(lines)) == expected


def test_rows_are_counted_over_parts_of_several_formats(files: Files, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["u3", "u4"]}).write_parquet(tmp_path / "made")
    folder = files(
        users={
            "users/0.csv.gz": gzip.compress(b"user_id\nu1\nu2\n"),
            "users/1.parquet": (tmp_path / "made").read_bytes(),
            "users/2.csv": b"user_id\nu5\n",
        }
    )
    assert places_of(folder, [5, 2, 4, 2, 9]) == {
        2: "line 3 of users/0.csv.gz",
        4: "row 2 of users/1.parquet",
        5: "line 2 of users/2.csv",
    }
