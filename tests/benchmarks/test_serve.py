"""The benchmark of serving: larger artifacts, ratios of pairs, and one small run against itself."""

import json
import subprocess
import sys
from pathlib import Path

import enlarge
import numpy as np
import pytest
import serve
import serve_measure
from scipy import sparse

from recsys.models.artifact import load_artifact

ROOT = Path(__file__).resolve().parents[2]


def test_items_stand_in_whole_copies_and_a_random_rest() -> None:
    layout = enlarge.layout_of(3, 8, np.random.default_rng(0))
    assert layout.copies.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert layout.sources[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(layout.sources[6:].tolist())) == 2
    missing = ({0, 1, 2} - set(layout.sources[6:].tolist())).pop()
    assert layout.rows_of(2)[missing] == -1


def test_copies_are_other_items_near_the_real_ones(tiny_folder: Path, tmp_path: Path) -> None:
    real = load_artifact(tiny_folder)
    enlarge.write_enlarged(tiny_folder, tmp_path / "larger", 750)
    larger = load_artifact(tmp_path / "larger")
    n = len(real.items)
    assert larger.items["item_id"].n_unique() == 750
    assert larger.items["item_id"][:n].to_list() == real.items["item_id"].to_list()
    assert not set(larger.items["creator_id"][n : 2 * n]) & set(real.creators["creator_id"])
    assert set(larger.items["creator_id"]) <= set(larger.creators["creator_id"])
    for name in ("text_id", "perceptual_hash"):
        first, second = (set(larger.items[name][start : start + n].drop_nulls()) for start in (0, n))
        assert len(first) == len(second)
        assert not first & second
    for name, space in real.spaces.items():
        near = np.asarray(larger.spaces[name].item_vectors)
        vectors = np.asarray(space.item_vectors)
        assert np.array_equal(near[:n], vectors)
        lengths = np.linalg.norm(vectors, axis=1)
        assert np.allclose(np.linalg.norm(near[n : 2 * n], axis=1), lengths, atol=1e-4)
        is_there = lengths > 0
        assert not np.array_equal(near[n : 2 * n][is_there], vectors[is_there])
    origins = [item_id.split("-")[0] for item_id in larger.items["item_id"]]
    for user_id, history in real.histories.items():
        spread = larger.histories[user_id]
        assert [origins[row] for row in spread.items.tolist()] == real.items["item_id"][history.items].to_list()
        assert np.array_equal(spread.weights, history.weights)


def test_a_smaller_artifact_keeps_the_histories_of_its_items(tiny_folder: Path, tmp_path: Path) -> None:
    real = load_artifact(tiny_folder)
    enlarge.write_enlarged(tiny_folder, tmp_path / "smaller", 100)
    smaller = load_artifact(tmp_path / "smaller")
    kept = set(smaller.items["item_id"])
    real_ids, ids = (artifact.items["item_id"].to_list() for artifact in (real, smaller))
    assert len(kept) == 100
    for user_id, history in real.histories.items():
        expected = [real_ids[row] for row in history.items.tolist() if real_ids[row] in kept]
        assert [ids[row] for row in smaller.histories[user_id].items.tolist()] == expected


def test_neighbours_of_a_copy_are_copies_of_the_same_number() -> None:
    layout = enlarge.layout_of(2, 3, np.random.default_rng(1))  # one of both has a second copy
    weights = sparse.csr_matrix(np.array([[0, 0.5], [0.25, 0]], np.float32))
    assert enlarge._within_copies(weights, layout).toarray().tolist() == [[0, 0.5, 0], [0.25, 0, 0], [0, 0, 0]]


def test_a_ratio_is_the_median_over_pairs_and_not_of_totals() -> None:
    ratio = serve_measure.ratio_of_pairs([1.0, 10.0, 100.0], [0.5, 5.0, 300.0])
    assert ratio["median"] == 0.5
    assert ratio["low"] == 0.5
    assert ratio["high"] == 3.0


def test_the_floor_is_told_by_the_earlier_commit_alone() -> None:
    pair = {"services": [{"name": "6782c16 20,000", "n_items": 20_000}, {}], "ratio": {"again": {"median": 0.5}}}
    times = serve.times_floor(pair)
    assert times == pytest.approx((22.5 / 2.1, 22.5 / 4.2))
    pair["services"][0]["name"] = "abcdef0 20,000"
    assert serve.times_floor(pair) is None


def test_kinds_of_people_are_as_many_as_are_asked_for() -> None:
    contexts = [json.dumps(context) for _, context in serve_measure.many_kinds(300, 120, ["a", "b"])]
    assert len(set(contexts)) == 120


@pytest.mark.slow
def test_a_small_run_against_itself(tiny_folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "benchmarks" / "serve.py"), str(tiny_folder), "--against", str(ROOT),
            "--against-artifact", str(tiny_folder), "--growth", "400", "--folder", str(tmp_path), "--people", "4",
            "--feeds", "20", "--kinds", "5", "--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "r.svg"),
        ],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "r.json").read_text())
    assert [len(results["pairs"]), len(results["alone"])] == [2, 3]
    assert 0.5 < results["pairs"][0]["ratio"]["all"]["median"] < 2
    assert all(row["bytes_a_page"] > 0 and row["memory_mb"][-1]["feeds"] == 20 for row in results["alone"])
    assert (tmp_path / "r.svg").stat().st_size
