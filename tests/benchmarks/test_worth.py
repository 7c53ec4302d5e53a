"""The measure of pages against the truth, as it is run by hand, in a small world."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    sizes = ("--seeds", "7", "--items", "300", "--people", "60", "--events", "8000", "--encoder", "none")
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "worth.py"), *sizes, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small world that was judged, with the numbers in `numbers.json`."""
    folder = tmp_path_factory.mktemp("worlds")
    done = _run("--folder", str(folder), "--rules", "5", "--json", str(folder / "numbers.json"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_small_world_is_made_trained_on_and_judged(folder: Path) -> None:
    (found,) = json.loads((folder / "numbers.json").read_text("utf-8")).values()
    rows = found["rankings"]
    assert rows["random"]["worth"] < rows["engine"]["worth"] < rows["best"]["worth"]
    assert rows["best"]["gain"]["mean"] == 1.0
    assert rows["best"]["overlap"] < rows["popularity"]["overlap"]
    assert found["newcomers"]["popularity"]["overlap_across_regions"] == 20.0
    assert set(found["languages"]) == {"French first", "read Arabizi", "read Amazigh"}
    assert "caps and gaps" in found["costs"]


@pytest.mark.slow
def test_yardsticks_are_compared_with_the_true_worth_of_rankers(folder: Path) -> None:
    done = _run("--folder", str(folder), "--yardsticks")
    assert done.returncode == 0, done.stderr
    assert "Kendall's tau with true worth" in done.stdout
    assert all(f"\n{name}  " in done.stdout for name in ("random", "ials", "completion rate", "oracle of topics"))


@pytest.mark.slow
def test_data_of_another_seed_are_refused_with_a_sentence(folder: Path) -> None:
    (place,) = [path for path in folder.iterdir() if path.is_dir()]
    given = ("--artifact", str(place / "artifact-none"), "--data", str(place / "data"))
    done = _run(*given, "--seeds", "8")
    assert done.returncode == 1
    assert "expected the seed that made them" in done.stderr
    assert "name the other one too" in _run("--data", str(place / "data")).stderr
