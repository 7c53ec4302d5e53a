"""Trees say the same after the check, and no damage to their text ends the process."""

import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from recsys.models.trees import open_booster

FUZZ = """
import sys
import numpy as np
from recsys.models.trees import open_booster
text, rng = sys.stdin.read(), np.random.default_rng(int(sys.argv[1]))
table = np.random.default_rng(0).standard_normal((20, 4))
lines = text.split("\\n")
for _ in range(int(sys.argv[2])):
    damaged = list(lines)
    for _ in range(int(rng.integers(1, 4))):
        n = int(rng.integers(len(damaged)))
        how, words = int(rng.integers(5)), damaged[n].split(" ")
        if how == 0:
            del damaged[n]
        elif how == 1:
            damaged[n] = damaged[int(rng.integers(len(damaged)))]
        elif how == 2:
            words[int(rng.integers(len(words)))] = str(int(rng.integers(-99, 99)))
            damaged[n] = " ".join(words)
        elif how == 3:
            name, _, value = damaged[n].partition("=")
            parts = value.split(" ")
            parts[int(rng.integers(len(parts)))] = str(int(rng.integers(-2_000_000_000, 2_000_000_000)))
            damaged[n] = name + "=" + " ".join(parts)
        else:
            damaged[n] = damaged[n][: int(rng.integers(len(damaged[n]) + 1))]
    try:
        booster = open_booster("\\n".join(damaged))
        booster.predict(table, raw_score=True, num_threads=1, predict_disable_shape_check=True)
    except ValueError:
        pass
print("alive")
"""


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((500, 4))
    target = (table[:, 0] + table[:, 1] ** 2 + rng.standard_normal(500) > 1).astype(float)
    params = {"objective": "binary", "num_leaves": 8, "verbosity": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(params, lightgbm.Dataset(table, target), 12), table


def test_checked_trees_say_exactly_what_they_said(trained):
    booster, table = trained
    checked = open_booster(booster.model_to_string())
    assert np.array_equal(checked.predict(table, raw_score=True), booster.predict(table, raw_score=True))
    assert (checked.num_trees(), checked.num_feature()) == (12, 4)
    again = open_booster(checked.model_to_string())
    assert np.array_equal(again.predict(table, raw_score=True), booster.predict(table, raw_score=True))


def test_a_tree_of_one_leaf_is_a_tree():
    params = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 1_000}
    data = lightgbm.Dataset(np.zeros((50, 2)), np.arange(50) % 2.0)
    booster = lightgbm.train(params, data, 2)
    checked = open_booster(booster.model_to_string())
    assert checked.predict(np.zeros((3, 2)), raw_score=True).tolist() == pytest.approx([0.0] * 3, abs=1e-9)


@pytest.mark.parametrize(
    ("before", "after"),
    [("left_child=", "left_child=0 "), ("split_feature=", "split_feature=9 "), ("num_leaves=8", "num_leaves=900000")],
)
def test_damage_is_named(trained, before, after):
    text = trained[0].model_to_string()
    with pytest.raises(ValueError, match="found damaged trees"):
        open_booster(text.replace(before, after, 1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_damage_ends_or_stops_the_process(trained, seed):
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(seed), "400"], input=trained[0].model_to_string(), text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == "alive\n", done.stderr[-500:]
