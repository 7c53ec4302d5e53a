"""Laws of the data contract in words: the page is up to date, every column says what it costs, the example is whole."""

import json
import shutil
from pathlib import Path

import pytest

import sanad
from recsys.clock import from_text
from recsys.columns import TABLES, Column, Table
from recsys.columns_page import markdown, rows_of
from training.params import TrainParams
from training.train import run
from training.validate import validate

ROOT = Path(__file__).parents[2]
AT = from_text("2026-11-20T18:30:00Z")
COLUMNS = [
    pytest.param(table, column, id=f"{table.name}.{column.name}") for table in TABLES for column in table.columns
]


def test_the_tables_of_the_page_are_those_of_the_contract() -> None:
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    block = page.split("sanad columns --markdown -->\n")[1].split("<!-- the end of the tables -->")[0]
    assert block.rstrip("\n") == markdown(), (
        "docs/data.md: put the output of 'sanad columns --markdown' between the marks"
    )


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_column_is_required_or_says_what_its_absence_costs(table: Table, column: Column) -> None:
    assert column.required != bool(column.if_missing), table.name
    assert not column.if_missing or column.if_missing.endswith(".")


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_row_of_the_page_says_what_a_value_may_be(table: Table, column: Column) -> None:
    (row,) = (row for row in rows_of(table) if row.name == column.name)
    assert all(word in row.values for word in column.one_of or ())
    assert column.unit in row.values or column.one_of


def test_the_command_prints_every_column_on_a_screen_and_for_programs(capfd: pytest.CaptureFixture[str]) -> None:
    assert sanad.run(["columns"]) == 0
    shown = capfd.readouterr().out
    assert sanad.run(["columns", "--json"]) == 0
    tables = json.loads(capfd.readouterr().out)
    for table in TABLES:
        assert [row["name"] for row in tables[table.name]] == [column.name for column in table.columns]
        assert all(column.name in shown for column in table.columns)
    assert tables["events"][2]["one_of"][:2] == ["impression", "view"] and tables["events"][2]["required"]
    assert sanad.run(["columns", "people"]) == 2
    assert "expected one of creators, items, users, events" in capfd.readouterr().err


def test_the_example_is_a_whole_dataset_from_which_an_artifact_is_trained(tmp_path: Path) -> None:
    data = shutil.copytree(ROOT / "docs" / "example", tmp_path / "data")
    checked = validate(data, at=AT)
    assert checked.ok and checked.counted == ()
    trained = run(data, tmp_path / "artifact", TrainParams(encoder=None), AT)
    assert trained.manifest.counts["items"] == 8 and trained.manifest.counts["people"] == 5
