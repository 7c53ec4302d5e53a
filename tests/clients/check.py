"""
Generates a Python and a TypeScript client from `/openapi.json` of a running service, and tries both against it.

    python -m tests.clients.check ARTIFACT

The generators stand apart from Sanad's own packages, in `.cache/clients`, with pins of their own. Needs Node.js and
npm.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from urllib.request import urlopen

from recsys.clock import now
from serving.deadline import MAX_DEADLINE_MS
from serving.run import run_in_thread
from serving.settings import Settings

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("SANAD_CACHE", ".cache")).resolve() / "clients"


def main(artifact: Path) -> None:
    """Raises CalledProcessError for the first step that fails."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        chosen = Settings(
            artifact=artifact, state=work / "state.db", port=0, clock_confirmed_at=now(), deadline_ms=MAX_DEADLINE_MS
        )
        with run_in_thread(chosen) as address:
            with urlopen(f"{address}/openapi.json") as answer:
                (work / "openapi.json").write_text(json.dumps(json.load(answer)), "utf-8")
            check_python(work, address)
            check_typescript(work, address)


def check_python(work: Path, address: str) -> None:
    """Generates with openapi-python-client: a warning is a failure, as a call without a function would be."""
    tools = CACHE / "python"
    if not _is_made(tools, "python-pins.txt"):
        venv.create(tools, clear=True, with_pip=True)
        _run(work, tools / "bin/pip", "install", "-q", "-r", HERE / "python-pins.txt")
        _note_made(tools, "python-pins.txt")
    path = f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}"
    _run(
        work, tools / "bin/openapi-python-client", "generate", "--path", "openapi.json", "--meta", "none",
        "--output-path", "sanad_client", "--config", HERE / "generator.yaml", "--fail-on-warning", PATH=path,
    )  # fmt: skip
    shutil.copy(HERE / "smoke.py", work)
    _run(work, tools / "bin/python", "smoke.py", address)


def check_typescript(work: Path, address: str) -> None:
    """Generates types with openapi-typescript, compiles strictly, and runs with Node.js."""
    tools = CACHE / "typescript"
    if not _is_made(tools, "package-lock.json"):
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, tools)
        _run(tools, "npm", "ci", "--no-audit", "--no-fund", "--silent")
        _note_made(tools, "package-lock.json")
    (work / "node_modules").symlink_to(tools / "node_modules")
    shutil.copy(HERE / "smoke.ts", work)
    programs = tools / "node_modules/.bin"
    _run(work, programs / "openapi-typescript", "openapi.json", "-o", "sanad.d.ts", "--default-non-nullable", "false")
    _run(
        work, programs / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom",
        "--preserveSymlinks", "smoke.ts",
    )  # fmt: skip
    _run(work, "node", "smoke.js", address)


def _is_made(tools: Path, pins: str) -> bool:
    noted = tools / f"made-of-{pins}"
    return noted.is_file() and noted.read_bytes() == (HERE / pins).read_bytes()


def _note_made(tools: Path, pins: str) -> None:
    shutil.copy(HERE / pins, tools / f"made-of-{pins}")


def _run(folder: Path, *command: str | Path, **environment: str) -> None:
    subprocess.run([str(part) for part in command], cwd=folder, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
