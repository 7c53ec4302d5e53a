"""An import as a whole: the folder appears when everything in it passes validation, or not at all."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from recsys.clock import Millis
from recsys.data.tables import check_unused
from recsys.errors import DataError
from training.importers.common import ImportReport
from training.validate import validate

_MAX_PROBLEMS = 5


def import_whole(run: Callable[[Path, Path], ImportReport], source: Path, folder: Path, at: Millis) -> ImportReport:
    """
    Runs an importer and moves what it wrote to `folder`, unless `sanad validate` would refuse it at the instant `at`.

    Raises:  ConfigError for a folder in use; DataError from the importer, or with what validation found.
    """
    check_unused(folder)
    half = folder.parent / f".{folder.name}.importing"
    shutil.rmtree(half, ignore_errors=True)
    try:
        done = run(source, half)
        checked = validate(half, at=at)
        if not checked.ok:
            examples = [problem.sentence() for problem in checked.problems[:_MAX_PROBLEMS]]
            raise DataError(*checked.failures, *examples)
        folder.parent.mkdir(parents=True, exist_ok=True)
        half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    unusable = [
        f"{kind.n_rows:,} rows of {kind.table} are unusable ({kind.column}: expected {kind.expected}), see "
        "'sanad validate'"
        for kind in checked.counted
    ]
    return replace(done, notices=(*done.notices, *unusable))
