"""The table of docs/safety.md is true: every row of the policy's list has its tests where the table says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "safety.md").read_text("utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def test_the_table_has_every_row_once() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 25))
    assert all(len(row) == 5 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_table_has_a_test_of_its_number(row: list[str]) -> None:
    files = [ROOT / name for name in re.findall(r"`(tests/[^`]+)`", row[3])]
    assert files and all(path.is_file() for path in files)
    assert f"def test_attack_{int(row[0]):02d}_" in files[0].read_text("utf-8")
