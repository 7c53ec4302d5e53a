"""What favouring local items costs in what an artifact serves."""

from pathlib import Path

import numpy as np
import pytest

import sanad
from eval.offline.locality_benchmark import FLOORS, LOCALITY_WEIGHTS
from eval.offline.served_locality import FLOOR, WEIGHT, ServedLocality, measure_served


@pytest.fixture(scope="module")
def served(small) -> ServedLocality:
    return measure_served(small.folder, small.data, small.policy, k=10, n_people=40, seed=0)


def test_every_weight_and_every_floor_is_a_point(served: ServedLocality) -> None:
    assert [(p.method, p.weight) for p in served.points] == [
        *((WEIGHT, weight) for weight in LOCALITY_WEIGHTS), *((FLOOR, floor) for floor in FLOORS)
    ]  # fmt: skip
    assert all((p.watch is None) == (p.method == FLOOR) for p in served.points)
    assert all(0 <= value <= 1 for p in served.points for value in (p.recall, p.ndcg, p.local_share, p.unknown_share))


def test_more_weight_and_a_higher_floor_show_more_of_what_is_near(served: ServedLocality) -> None:
    floors = [p.local_share for p in served.points if p.method == FLOOR]
    weights = [p.local_share for p in served.points if p.method == WEIGHT]
    assert floors == sorted(floors) and weights[-1] > weights[0]


def test_equal_seeds_give_equal_points(small, served: ServedLocality) -> None:
    again = measure_served(small.folder, small.data, small.policy, k=10, n_people=40, seed=0)
    assert again == served


def test_the_served_weight_lies_between_its_neighbours(served: ServedLocality) -> None:
    """The page without a floor is that of the served weight, so its local share lies between those around it."""
    shares = {p.weight: p.local_share for p in served.points if p.method == WEIGHT}
    (unfloored,) = (p.local_share for p in served.points if (p.method, p.weight) == (FLOOR, 0.0))
    below = max(weight for weight in shares if weight <= served.served_weight)
    above = min(weight for weight in shares if weight >= served.served_weight)
    assert np.round(shares[below], 9) - 0.02 <= unfloored <= np.round(shares[above], 9) + 0.02


@pytest.mark.parametrize("named", [[], ["ARTIFACT"], ["--data", "DATA"], ["ARTIFACT", "--data", "DATA", "--train"]])
def test_a_part_of_what_is_needed_and_both_kinds_are_refused(
    small, named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    words = {
        "ARTIFACT": [str(small.folder)],
        "DATA": [str(small.data)],
        "--train": ["--train", str(tmp_path / "train.csv")],
    }
    told = [word for name in named for word in words.get(name, [name])]
    assert sanad.run(["bench", "locality", *told, "--quiet"]) == 2
    assert "expected an ARTIFACT with --data, or --train" in " ".join(capsys.readouterr().err.split())
