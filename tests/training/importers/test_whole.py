"""Laws of an import as a whole: a set that validation refuses is never left behind, and neither is a half of one."""

from pathlib import Path

import pytest

from recsys.clock import from_text
from recsys.errors import ConfigError, DataError
from training.importers.common import ImportReport
from training.importers.table import TableColumns, run
from training.importers.whole import import_whole

AT = from_text("2026-01-01T00:00:00Z")


def table(source: Path, folder: Path) -> ImportReport:
    return run(source, folder, TableColumns(user="u", item="i", at="t"))


def test_a_set_that_validation_refuses_ends_the_import_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("u,i,t\n1,a,2099-01-01\n2,b,2005-01-01\n")
    with pytest.raises(DataError, match=r"table items: 1 of 2 rows are unusable"):
        import_whole(table, tmp_path / "log.csv", tmp_path / "data", AT)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_folder_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("precious")
    with pytest.raises(ConfigError, match="in use"):
        import_whole(table, tmp_path / "nowhere", tmp_path / "data", AT)


def test_few_unusable_rows_are_named_in_a_notice(tmp_path: Path) -> None:
    rows = "".join(f"{n},a,2005-01-01\n" for n in range(400))
    (tmp_path / "log.csv").write_text(f"u,i,t\n{rows}9,a,2099-01-01\n")
    (tmp_path / "data").mkdir()  # an empty folder is as good as none
    done = import_whole(table, tmp_path / "log.csv", tmp_path / "data", AT)
    assert [notice for notice in done.notices if "unusable" in notice] == [
        "1 rows of events are unusable (at: expected an instant not after 2026-01-01T00:00:00.000Z), see "
        "'sanad validate'"
    ]
