import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recsys.clock import Millis, from_text
from recsys.experiments.files import load_experiments
from recsys.policy.checks import load_market
from recsys.policy.schema import Market

ROOT = Path(__file__).parents[3]
EXAMPLE = "local-boost-ma-2026-11.yaml"


@pytest.fixture(scope="session")
def market() -> Market:
    return load_market(ROOT / "policies" / "morocco.yaml")


def copy_running(to: Path) -> Path:
    """A copy of the repository's experiments in which the example runs; the repository ships it as a draft."""
    copy = Path(shutil.copytree(ROOT / "experiments", to / "experiments"))
    text = (copy / EXAMPLE).read_text("utf-8")
    assert text.count("status: draft #") == 1
    (copy / EXAMPLE).write_text(text.replace("status: draft #", "status: running #"), "utf-8")
    return copy


@pytest.fixture(scope="session")
def running_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed."""
    return copy_running(tmp_path_factory.mktemp("running"))


@pytest.fixture(scope="session")
def experiments(market, running_folder):
    """One experiment, running."""
    return load_experiments(running_folder, market)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return copy_running(tmp_path)


@pytest.fixture
def edit(folder: Path) -> Callable[..., Path]:
    """`edit(file, change)` reads a file as a tree, lets `change` alter it in place, and writes it under `to`."""

    def change_file(name: str, change: Callable[[Any], Any], to: str | None = None) -> Path:
        yaml = YAML(typ="rt")
        tree = yaml.load((folder / name).read_text("utf-8"))
        change(tree)
        with (folder / (to or name)).open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)
        return folder

    return change_file


@pytest.fixture
def another(edit: Callable[..., Path]) -> Callable[..., Path]:
    """`another(key, **values)` adds an experiment like the example, with top-level values replaced."""

    def add(key: str, **values: Any) -> Path:
        return edit(EXAMPLE, lambda tree: tree.update({"key": key, "holdout": None, **values}), to=f"{key}.yaml")

    return add


@pytest.fixture(scope="session")
def after_ramp() -> Millis:
    return from_text("2026-12-02T00:00:00Z")


@pytest.fixture(scope="session")
def adult() -> Mapping[str, Any]:
    return {
        "country": "MA",
        "region": "MA-06",
        "language": "ary",
        "effective_age_band": "18+",
        "loop_level": 0,
        "surface": "for_you",
    }
