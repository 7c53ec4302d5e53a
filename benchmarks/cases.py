"""
Small inputs that once failed, each with its expected answer: which of them are right now.

    python -m benchmarks.cases CASES [--only PREFIX] [--artifact var/artifact] [--service URL]

CASES is a folder of folders. `cases_expected.toml` says for each which commands run in a copy of it, and which answers
are right: an exit code, patterns that the output holds, and patterns that it does not. A folder whose `run.sh` asks
`$BASE` gets a service of its own with a fresh state file, or the one at URL. Exit code 1 when any answer is wrong.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
EXPECTED: Final = Path(__file__).with_name("cases_expected.toml")
TIMEOUT_S: Final = 300
_SHOWN: Final = 300  # characters of a wrong answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One right answer: its exit code, patterns that its output holds, and patterns that it must not hold."""

    exit: int = 0
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def holds(self, code: int, output: str) -> bool:
        """Whether an answer is this one."""
        return (
            code == self.exit
            and all(re.search(pattern, output, re.MULTILINE) for pattern in self.says)
            and not any(re.search(pattern, output, re.MULTILINE) for pattern in self.never)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One folder: commands for a shell, and answers of which one is expected."""

    name: str
    run: str
    right: tuple[Right, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a case answered."""

    code: int
    output: str
    is_right: bool


def main() -> None:
    """Runs the cases and prints a row for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("cases", type=Path, metavar="CASES")
    options.add_argument("--only", default="", metavar="PREFIX", help="the cases whose name begins so")
    options.add_argument("--artifact", type=Path, default=ROOT / "var" / "artifact", help="what services serve")
    options.add_argument("--service", metavar="URL", help="a service that is running already")
    asked = options.parse_args()
    folders = sorted(p for p in asked.cases.iterdir() if p.is_dir() and p.name.startswith(asked.only))
    cases = {case.name: case for case in read_cases(EXPECTED)}
    n_wrong = 0
    for folder in folders:
        if folder.name not in cases:
            print(f"{folder.name:<28}no expectation; add one to {EXPECTED.name}", flush=True)
            n_wrong += 1
            continue
        found = run_case(cases[folder.name], folder, asked.artifact.resolve(), asked.service)
        n_wrong += not found.is_right
        print(_row(cases[folder.name], folder, found), flush=True)
    print(f"{len(folders) - n_wrong} of {len(folders)} right")
    sys.exit(1 if n_wrong or not folders else 0)


def read_cases(path: Path) -> list[Case]:
    """The cases of a table, with the commands that the table names for several of them."""
    table = tomllib.loads(path.read_text("utf-8"))
    commands: Mapping[str, str] = table.pop("commands")
    return [
        Case(
            name=name,
            run=commands.get(case["run"], case["run"]),
            right=tuple(
                Right(exit=r.get("exit", 0), says=tuple(r.get("says", ())), never=tuple(r.get("never", ())))
                for r in case["right"]
            ),
        )
        for name, case in table.items()
    ]


def run_case(case: Case, folder: Path, artifact: Path, service: str | None) -> Found:
    """The answer of a case, which runs in a copy of its folder."""
    script = folder / "run.sh"
    needs_service = "$BASE" in case.run or (script.is_file() and "$BASE" in script.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / folder.name
        shutil.copytree(folder, work)
        env = _environment(artifact)
        if not needs_service:
            return _judge(case, work, env)
        if service is not None:
            return _judge(case, work, env | {"BASE": service})
        with _service(artifact, Path(temporary) / "state.db", env) as base:
            return _judge(case, work, env | {"BASE": base})


def _environment(artifact: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '/usr/bin:/bin')}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "ROOT": str(ROOT), "ARTIFACT": str(artifact)}


def _judge(case: Case, work: Path, env: Mapping[str, str]) -> Found:
    done = subprocess.run(
        ["bash", "-c", case.run], cwd=work, env=env, capture_output=True, text=True, errors="replace",
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    return Found(done.returncode, output, any(right.holds(done.returncode, output) for right in case.right))


@contextmanager
def _service(artifact: Path, state: Path, env: Mapping[str, str]) -> Iterator[str]:
    """The address of a service with a fresh state file."""
    command: Sequence[str] = [
        sys.executable, "-m", "sanad", "serve", str(artifact), "--policy", str(ROOT / "policies" / "morocco.yaml"),
        "--experiments", str(ROOT / "experiments"), "--state", str(state), "--port", "0",
    ]  # fmt: skip
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            lines = iter(server.stdout)
            address = next((m.group() for line in lines if (m := re.search(r"http://[\w.:]+", line))), None)
            if address is None:
                sys.exit(f"the service did not start with {artifact}; make one with 'sanad demo --prepare'")
            yield address
        finally:
            server.terminate()


def _row(case: Case, folder: Path, found: Found) -> str:
    readme = (folder / "README").read_text("utf-8").splitlines()
    about = {key: value for key, _, value in (line.partition(": ") for line in readme)}
    verdict = "right" if found.is_right else "WRONG"
    row = f"{verdict}  {case.name:<28}{about.get('kind', '')[:60]}"
    if found.is_right:
        return row
    shown = " | ".join(line.strip() for line in found.output.splitlines() if line.strip())
    shown = shown if len(shown) <= _SHOWN else f"...{shown[-_SHOWN:]}"
    return f"{row}\n       expected: {about.get('expected', '')}\n       found: exit {found.code}: {shown}"


if __name__ == "__main__":
    main()
