"""The proof on real data, as it is run by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "proof.py"), *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_set_that_is_not_there_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    done = _run("--source", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped, there is no") == 2


@pytest.mark.slow
@pytest.mark.data
def test_the_engine_goes_the_whole_way_on_real_data() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}: the evaluation data is not beside the repository")
    done = _run("--people", "200")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("100 people asked, 100 full pages, 0 with a repeat, 0 degraded") == 2
