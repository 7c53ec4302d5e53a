"""`sanad ope` on a table of choices: what it prints, and a sentence for whatever cannot be judged."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import sanad

Ope = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ope(capfd: pytest.CaptureFixture[str]) -> Ope:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = sanad.run(["ope", *map(str, arguments), "--quiet"])
        out, err = capfd.readouterr()
        return code, out, " ".join(err.split())

    return run


def log(folder: Path, name: str = "log.csv", **columns: list[object]) -> Path:
    n = 40
    table = {
        "action": ["a", "b"] * (n // 2), "propensity": [0.5] * n, "reward": [1, 0] * (n // 2),
        "user_id": [f"u{i // 2}" for i in range(n)],
    } | columns  # fmt: skip
    frame = pl.DataFrame({name: values for name, values in table.items() if values}, strict=False)
    path = folder / name
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[path.suffix[1:]](path)
    return path


def policy(folder: Path, **chances: float) -> Path:
    path = folder / "policy.csv"
    pl.DataFrame({"action": list(chances), "probability": list(chances.values())}).write_csv(path)
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl"])
def test_a_table_and_a_policy_give_values_with_intervals(tmp_path: Path, ope: Ope, name: str) -> None:
    code, out, err = ope(log(tmp_path, name), "--policy", policy(tmp_path, a=0.8, b=0.2), "--json")
    report = json.loads(out)
    found = {value["estimator"]: value["value"] for value in report["values"]}
    assert (code, err) == (0, "")
    assert found["ips"] == pytest.approx(0.8) and found["snips"] == pytest.approx(0.8)
    assert {"direct", "doubly-robust", "switch", "clipped"} <= set(found)
    assert report["logged"]["value"] == 0.5 and report["diagnostics"]["n_people"] == 20
    assert "the mean reward of a choice" in report["estimand"]


def test_equal_seeds_give_equal_reports(tmp_path: Path, ope: Ope) -> None:
    arguments = (log(tmp_path), "--policy", "uniform", "--json")
    assert ope(*arguments) == ope(*arguments)


def test_a_column_may_be_called_otherwise(tmp_path: Path, ope: Ope) -> None:
    renamed = log(tmp_path, reward=[], click=[1, 0] * 20)
    code, out, _ = ope(renamed, "--policy", "uniform", "--column", "reward=click")
    assert code == 0 and "mean click of a choice" in out and "Overlap:" in out


def test_a_policy_may_stand_in_the_log_and_pages_get_their_estimators(tmp_path: Path, ope: Ope) -> None:
    pages = {"slate": [i // 2 for i in range(40)], "position": [1, 2] * 20, "target": [0.4, 0.6] * 20}
    code, out, _ = ope(log(tmp_path, **pages), "--policy", "target", "--json")
    found = {value["estimator"]: value for value in json.loads(out)["values"]}
    assert code == 0 and found["page-ips"]["value"] == pytest.approx(0.8 * 1.2)
    assert found["interaction"]["value"] == pytest.approx(0.8) and found["independent"]["unit"] == "page"
    code, out, _ = ope(log(tmp_path, **pages), "--policy", "uniform", "--json")
    assert "cascade-dr" in {value["estimator"] for value in json.loads(out)["values"]}


def test_a_policy_may_differ_by_context(tmp_path: Path, ope: Ope) -> None:
    path = tmp_path / "policy.csv"
    rows = [("x", "a", 1.0), ("y", "b", 1.0)]
    pl.DataFrame(rows, ["context", "action", "probability"], orient="row").write_csv(path)
    code, out, _ = ope(log(tmp_path, context=["x", "x", "y", "y"] * 10), "--policy", path, "--json")
    found = {value["estimator"]: value["value"] for value in json.loads(out)["values"]}
    assert code == 0 and found["ips"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"propensity": [0.0] * 40}, "column propensity: found only 0, expected a number above 0"),
        ({"propensity": [0.5] * 39 + [1.5]}, "found 1.5 in row 40 and no probability in 1 of 40 rows"),
        ({"propensity": [0.5, None] * 20}, "found nothing in row 2 and no probability in 20 of 40 rows"),
        ({"propensity": [None] * 40}, "column propensity: found no value"),
        ({"propensity": ["half"] * 40}, "column propensity: found 'half' in row 1, expected a number"),
        ({"propensity": []}, "and not propensity; name a column"),
        ({"reward": [1, None] * 20}, "column reward: found nothing in row 2"),
        ({"action": ["c", None] * 20}, "column action: found nothing in row 2"),
        ({"reward": [float("inf"), 1.0] * 20}, "column reward: found inf in row 1"),
        ({"slate": [1] * 40}, "found slate without position"),
        ({"slate": [1] * 40, "position": [1] * 40}, "found a page with two choices at one place"),
    ],
)
def test_a_log_that_cannot_be_used_gets_a_sentence(
    tmp_path: Path, ope: Ope, columns: dict[str, list[object]], sentence: str
) -> None:
    code, out, err = ope(log(tmp_path, **columns), "--policy", "uniform")
    assert (code, out) == (2, "") and sentence in err


def test_a_column_of_lists_gets_a_sentence(tmp_path: Path, ope: Ope) -> None:
    code, _, err = ope(log(tmp_path, "log.jsonl", action=[["a"], ["b"]] * 20), "--policy", "uniform")
    assert code == 2 and "column action: found List(String), expected texts or numbers" in err


def test_a_column_that_is_named_takes_the_place_of_one_with_our_name(tmp_path: Path, ope: Ope) -> None:
    both = log(tmp_path, reward=[0] * 40, click=[1] * 40)
    code, out, _ = ope(both, "--policy", "uniform", "--column", "reward=click", "--json")
    assert code == 0 and json.loads(out)["logged"]["value"] == 1


def test_an_action_that_stands_twice_in_a_policy_gets_a_sentence(tmp_path: Path, ope: Ope) -> None:
    path = tmp_path / "policy.csv"
    path.write_text("action,probability\na,0.5\na,0.5\n")
    code, _, err = ope(log(tmp_path), "--policy", path)
    assert code == 2 and "found the action a twice in one situation" in err


@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz"])
def test_a_compressed_table_is_read_too(tmp_path: Path, ope: Ope, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(log(tmp_path, name.removesuffix(".gz")).read_bytes()))
    assert ope(tmp_path / name, "--policy", "uniform", "--json")[0] == 0


def test_an_empty_log_gets_a_sentence(tmp_path: Path, ope: Ope) -> None:
    path = tmp_path / "log.csv"
    path.write_text("action,propensity,reward\n")
    code, _, err = ope(path, "--policy", "uniform")
    assert code == 2 and "found no row, expected logged choices" in err


@pytest.mark.parametrize(
    ("chances", "sentence"),
    [
        ({"x": 0.5, "y": 0.5}, "it is the log of another catalogue"),
        ({"a": 0.0, "b": 0.0, "c": 1.0}, "the policy never chooses what was logged"),
        ({"a": 0.5, "b": 0.1}, "add up to 0.6, expected 1"),
        ({"a": 1.5, "b": -0.5}, "column probability: found -0.5 to 1.5"),
    ],
)
def test_a_policy_that_cannot_be_judged_gets_a_sentence(
    tmp_path: Path, ope: Ope, chances: dict[str, float], sentence: str
) -> None:
    code, out, err = ope(log(tmp_path), "--policy", policy(tmp_path, **chances))
    assert (code, out) == (2, "") and sentence in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--policy", "nowhere"], "--policy: found 'nowhere', expected for a table"),
        (["--policy", "uniform", "--column", "reward"], "--column: found 'reward', expected a pair"),
        (["--policy", "uniform", "--column", "price=x"], "--column: found 'price', expected one of"),
        (["--policy", "uniform", "--column", "reward=x"], "and not x; name a column"),
    ],
)
def test_an_option_that_says_nothing_gets_a_sentence(
    tmp_path: Path, ope: Ope, arguments: list[str], sentence: str
) -> None:
    code, _, err = ope(log(tmp_path), *arguments)
    assert code == 2 and sentence in err


def test_a_log_that_cannot_tell_says_so_and_ends_with_1(tmp_path: Path, ope: Ope) -> None:
    n = 400
    few = {
        "action": ["a"] + ["b"] * (n - 1), "propensity": [0.0025] + [0.9975] * (n - 1), "reward": [1] * n,
        "user_id": [f"u{i}" for i in range(n)],
    }  # fmt: skip
    code, out, _ = ope(log(tmp_path, **few), "--policy", policy(tmp_path, a=0.9999, b=0.0001))
    assert code == 1 and "ips is refused" in out and "The log cannot tell what this policy is worth" in out
