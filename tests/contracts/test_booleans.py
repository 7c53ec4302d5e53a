"""True and false have one verdict: in the description of the interface, the engine, and tables of every format."""

import json
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from recsys.columns import USERS
from recsys.data.tables import read_table
from recsys.errors import DataError
from recsys.services.fields import check_column
from serving.bodies import UserBody

READ: list[tuple[object, bool | None]] = [
    (True, True), (False, False), ("true", True), ("False", False), ("TRUE", True), ("1", True), ("0", False),
    (1, True), (0, False), (1.0, True), ("", None), (None, None),
]  # fmt: skip
REFUSED: list[object] = ["yes", "t", " true", "01", "1.0", 2, -1, 0.5]


def described(value: object) -> bool | None:
    try:
        body = UserBody.model_validate({"consent": value})
    except ValidationError as error:
        raise DataError(str(error)) from error
    consent: bool | None = body.model_dump()["consent"]
    return consent


def tabled(path: Path, value: object) -> bool | None:
    path.write_text(json.dumps({"user_id": "u", "consent": value}) + "\n", "utf-8")
    row = read_table(path, "users").collect().row(0, named=True)
    if row["consent"] is None and value not in (None, ""):
        raise DataError("unreadable")
    consent: bool | None = row["consent"]
    return consent


@pytest.mark.parametrize(("value", "meaning"), READ, ids=repr)
def test_every_reader_takes_it_for_the_same(value: object, meaning: bool | None, tmp_path: Path) -> None:
    read = described(value), check_column(USERS["consent"], value), tabled(tmp_path / "users.jsonl", value)
    assert [(one, type(one)) for one in read] == [(meaning, type(meaning))] * 3


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_neither_is_refused_by_every_reader(value: object, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        described(value)
    with pytest.raises(DataError):
        check_column(USERS["consent"], value)
    with pytest.raises(DataError):
        tabled(tmp_path / "users.jsonl", value)


def test_parquet_reads_whole_numbers_and_texts_alike(tmp_path: Path) -> None:
    for values in ([1, 0, None], ["1", "false", ""], [True, False, None]):
        pl.DataFrame({"user_id": ["a", "b", "c"], "consent": values}).write_parquet(tmp_path / "u.parquet")
        assert read_table(tmp_path / "u.parquet", "users").collect()["consent"].to_list() == [True, False, None]
