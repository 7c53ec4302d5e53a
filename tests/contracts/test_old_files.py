"""
Files of a version before: each opens, or is refused with a sentence that says what to do.

`tests/fixtures/before` holds the policy and the experiments as they shipped before keys got other names.
"""

import shutil
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.experiments.files import load_experiments
from recsys.policy.checks import load_market
from recsys.policy.schema import Market

BEFORE = Path(__file__).parents[1] / "fixtures" / "before"
RENAMED = {"proven": "floor_eligible"}


def problems_of_policy(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        load_market(path)
    return raised.value.problems


def problems_of_experiments(folder: Path, market: Market) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        load_experiments(folder, market)
    return raised.value.problems


def test_an_old_policy_is_refused_with_the_new_name_of_each_key(tmp_path: Path) -> None:
    problems = problems_of_policy(BEFORE / "policy.yaml")
    assert len(problems) == len(RENAMED)
    for problem, (old, new) in zip(problems, RENAMED.items(), strict=True):
        assert f"unknown field {old}" in problem and f"expected its new name, {new}" in problem


def test_an_old_policy_opens_once_its_keys_have_the_names_of_the_sentences(tmp_path: Path) -> None:
    text = (BEFORE / "policy.yaml").read_text("utf-8")
    for old, new in RENAMED.items():
        text = text.replace(f"{old}:", f"{new}:")
    path = tmp_path / "policy.yaml"
    path.write_text(text, "utf-8")
    assert load_market(path).market == "MA"


def test_old_experiments_open(morocco: Market) -> None:
    (experiment,) = load_experiments(BEFORE / "experiments", morocco).experiments
    assert experiment.key == "local-boost-ma-2026-11"


@pytest.mark.parametrize("version", ["sanad.policy/v0", "sanad.policy/v2", "v1"])
def test_a_policy_of_another_version_is_refused_with_what_to_do(version: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text((BEFORE / "policy.yaml").read_text("utf-8").replace("sanad.policy/v1", version), "utf-8")
    (problem,) = [problem for problem in problems_of_policy(path) if "apiVersion" in problem]
    assert f"found '{version}', expected sanad.policy/v1; rewrite the file" in problem


@pytest.mark.parametrize("name", ["registry.yaml", "local-boost-ma-2026-11.yaml"])
def test_an_experiment_file_of_another_version_is_refused_with_what_to_do(
    name: str, tmp_path: Path, morocco: Market
) -> None:
    shutil.copytree(BEFORE / "experiments", tmp_path / "experiments")
    path = tmp_path / "experiments" / name
    path.write_text(path.read_text("utf-8").replace("sanad.experiments/v1", "sanad.experiments/v2"), "utf-8")
    (problem,) = problems_of_experiments(tmp_path / "experiments", morocco)
    assert name in problem and "expected sanad.experiments/v1; rewrite the file" in problem


def test_an_experiment_on_a_parameter_that_is_gone_is_refused_with_its_line(tmp_path: Path, morocco: Market) -> None:
    shutil.copytree(BEFORE / "experiments", tmp_path / "experiments")
    path = tmp_path / "experiments" / "local-boost-ma-2026-11.yaml"
    path.write_text(path.read_text("utf-8").replace("weights.local:", "weights.nearby:"), "utf-8")
    (problem,) = problems_of_experiments(tmp_path / "experiments", morocco)
    assert "local-boost-ma-2026-11.yaml:" in problem and "weights.nearby" in problem and "registry" in problem
