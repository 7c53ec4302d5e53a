"""A service as a process of its own, from any checkout: its processor time, its memory, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import polars as pl

ROOT: Final = Path(__file__).resolve().parents[1]
SIZE: Final = 20
CORES: Final = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
"""The client stays on the first, services on the last, so that they do not take turns where there are two."""

_SERVICE: Final = """
import sys
from pathlib import Path
from serving.run import serve
from serving.settings import Settings

settings = Settings(artifact=Path(sys.argv[1]), state=Path(sys.argv[2]), experiments=None, port=0, allow_assumed=True)
try:
    from recsys.kernels import describe
    loops = describe()
except ImportError:
    loops = "Python"
serve(settings, on_ready=lambda url: print(url, loops, flush=True))
"""
_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Contender:
    """What is served, and by which code."""

    name: str
    checkout: Path
    artifact: Path

    @property
    def n_items(self) -> int:
        return int(pl.scan_parquet(self.artifact / "items.parquet").select(pl.len()).collect().item())

    @property
    def user_ids(self) -> list[str]:
        return pl.read_parquet(self.artifact / "user_ids.parquet")["user_id"].to_list()


@dataclass(frozen=True, slots=True)
class Memory:
    """MB of a process: what nobody else has, and everything that is resident, mapped files of the artifact too."""

    private: float
    resident: float


@dataclass(slots=True)
class Client:
    """One connection to a service."""

    url: str
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port)

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """The answer. Raises SystemExit when it is not one of success."""
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 202):
            raise SystemExit(f"found status {answer.status} of {path}: {content[:300]!r}")
        return content

    def feed(self, user_id: str, context: Mapping[str, Any] | None = None) -> bytes:
        """The answer of a page."""
        return self.post("/v1/feed", {"user_id": user_id, "size": SIZE, **({"context": context} if context else {})})


@dataclass(frozen=True, slots=True)
class Running:
    """
    A service that is ready. `start_s` is the processor time of its start, imports and warm-up too; `loops` says whether
    its inner loops are `compiled` or run in `Python`.
    """

    contender: Contender
    url: str
    pid: int
    start_s: float
    loops: str

    def cpu(self) -> float:
        """Seconds of processor so far."""
        return cpu_of(self.pid)

    def memory(self) -> Memory:
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        mb = {line.split(":")[0]: int(line.split()[1]) / 1_024 for line in lines}
        return Memory(round(mb["Private_Clean"] + mb["Private_Dirty"], 1), round(mb["Rss"], 1))


@contextmanager
def running(contender: Contender, folder: Path) -> Iterator[Running]:
    """The service over the state in `folder`, which is made if it is not there. Ends with its state file closed."""
    folder.mkdir(parents=True, exist_ok=True)
    python = contender.checkout / ".venv" / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-c", _SERVICE, str(contender.artifact)]
    log = folder.with_name(f"{folder.name}.log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, str(folder / "state.db")],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=contender.checkout,
            env={**os.environ, **_THREADS, "PYTHONPATH": str(contender.checkout)},
        )
        os.sched_setaffinity(process.pid, {CORES[-1]})
        try:
            assert process.stdout is not None
            url, _, loops = process.stdout.readline().strip().partition(" ")
            if not url:
                told = log.read_text().strip().splitlines() or ["it said nothing"]
                raise SystemExit(f"{contender.name} did not start: {told[-1]}")
            yield Running(contender, url, process.pid, cpu_of(process.pid), loops)
        finally:
            process.terminate()
            process.wait()


def cpu_of(pid: int) -> float:
    """Seconds of processor that a process has used, of all of its threads, to the nanosecond (Linux)."""
    return time.clock_gettime((~pid << 3) | 2)


def disk_bytes(folder: Path) -> int:
    """The bytes of every file of a state."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
