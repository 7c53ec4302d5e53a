"""The plan of the engine's house, read from the sources: a package imports only the packages below it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FLOORS: Final = (
    ("kernels",),  # compiled loops, which know nothing of what calls them
    ("ground",),  # the modules that stand in `recsys` itself
    ("text", "user", "metrics"),
    ("policy", "stores", "models"),
    ("catalogue", "experiments", "data"),
    ("safety", "exposure"),
    ("feed",),
    ("services",),
)
"""From the ground up. Packages of one floor do not import each other."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the engine with its file."""
    for path in sorted((ROOT / "recsys").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES: Final = dict(modules())


def imported(path: Path) -> Iterator[str]:
    """The engine's modules that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "recsys":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "recsys")


def package(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "recsys" / parts[1]).is_dir() else "ground"


FLOOR: Final = {name: number for number, names in enumerate(FLOORS) for name in names}


def test_every_package_has_its_floor() -> None:
    assert {package(module) for module in MODULES} == set(FLOOR)
    assert len(FLOORS) <= 9


@pytest.mark.parametrize("module", [module for module in MODULES if module != "recsys"])
def test_a_package_imports_only_packages_below_it(module: str) -> None:
    own = package(module)
    wrong = [name for name in imported(MODULES[module]) if package(name) != own and FLOOR[package(name)] >= FLOOR[own]]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Also not by an import inside a function, which hides a circle and does not end it."""
    graph = {module: set(imported(path)) - {module} for module, path in MODULES.items() if path.name != "__init__.py"}
    TopologicalSorter(graph).prepare()  # raises CycleError
