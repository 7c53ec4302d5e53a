"""`sanad serve` as users start it, a process of its own, and requests to it: for tests that kill or starve it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.stores.open import Address, State

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the service: its process, and what its start took."""

    process: subprocess.Popen[bytes]
    cpu_s: float
    clock_s: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ask(port: int, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Status and answer. Raises OSError or HTTPException when no whole answer comes."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def is_ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/health/ready")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def life(artifact: Path, state: State, port: int, root: Path = ROOT) -> Iterator[Life]:
    """`sanad serve` of the sources in `root`, ready; killed at the end."""
    options = ["--state", state.url if isinstance(state, Address) else str(state), "--port", str(port), "--quiet"]
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "sanad", "serve", str(artifact), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            while not is_ready(port):
                assert process.poll() is None and time.monotonic() - began < 60, "the service does not come up"
                time.sleep(0.02)
            yield Life(process, cpu_of(process.pid), time.monotonic() - began)
        finally:
            process.kill()


def cpu_of(pid: int) -> float:
    """Seconds of processor of a process and of its threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
