"""
What people get while something fails, with the real thing: a locked file, a file that is gone, a full disk, a file that
may not be written, no memory. Each time the service says it, keeps every cap, and is back without a restart.
"""

import ctypes
import http.client
import itertools
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.stores.sqlite.store import SqliteStore
from serving.stores.sqlite.vault import vault_path
from tests.serving.process import ROOT, ask, free_port, life

pytestmark = pytest.mark.slow
_NAMES = itertools.count()


class Service:
    """A running service and the requests of these tests."""

    def __init__(self, pid: int, port: int, state: Path) -> None:
        self.pid, self.port, self.state = pid, port, state
        self.accepted: list[str] = []

    def page(self, user_id: str = "u") -> tuple[int, Any]:
        return ask(self.port, "POST", "/v1/feed", {"user_id": user_id, "size": 5})

    def event(self) -> tuple[int, Any]:
        event_id = f"e{next(_NAMES)}"
        event = {"event_id": event_id, "user_id": "u", "kind": "follow", "creator_id": "c1"}
        status, answer = ask(self.port, "POST", "/v1/events", {"events": [event]})
        if status == 200:
            assert answer["accepted"] == 1
            self.accepted.append(event_id)
        return status, answer

    def store(self) -> str:
        """What `/health/ready` says of the store ten times a second; with 200, because the safe feed is there."""
        time.sleep(0.15)
        status, answer = ask(self.port, "GET", "/health/ready")
        assert status == 200
        return str(answer["store"])

    def is_whole(self) -> bool:
        status, page = self.page()
        return status == 200 and not page["degraded"] and self.event()[0] == 200 and self.store() == "reachable"

    def check_safe(self, n_pages: int = 8) -> None:
        """Pages are safe ones: 200, degraded, in time, of R0 only, with nothing that counts."""
        for n in range(n_pages):
            began = time.monotonic()
            status, page = self.page(f"u{n}")
            assert (status, page["degraded"]) == (200, ["ledger"])
            assert page["items"] and {item["tier"] for item in page["items"]} == {"R0"}
            assert time.monotonic() - began < 3

    def check_new_are_safe(self) -> None:
        """People whom nobody has seen get a safe page."""
        for _ in range(2):
            status, page = self.page(f"new {next(_NAMES)}")
            assert (status, page["degraded"]) == (200, ["ledger"])


@pytest.fixture(scope="module")
def service(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all faults, so that each shows that the one before left nothing behind."""
    state, port = tmp_path_factory.mktemp("faults") / "state.db", free_port()
    with life(tiny_folder, state, port) as alive:
        running = Service(alive.process.pid, port, state)
        assert running.is_whole()
        yield running
        assert running.is_whole()
    assert {event.event_id for event in events_of(state)} == set(running.accepted)


def events_of(state: Path) -> list[Any]:
    store = SqliteStore(state)
    logged = [entry.event for entry in store.events.since("u", 0)]
    store.close()
    return logged


def test_while_another_process_holds_the_file_pages_are_safe_and_come_in_time(service: Service) -> None:
    with closing(sqlite3.connect(service.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: service.page(f"at once {n}"), range(16)))
        # Each waits for the file nearly as long as it may, so what stands behind four others may be told to come again.
        served = [page["degraded"] for status, page in answers if status == 200]
        refused = [problem["type"] for status, problem in answers if status != 200]
        assert len(served) >= 4 and all(degraded == ["ledger"] for degraded in served)
        assert set(refused) <= {"urn:sanad:problem:unavailable"}
        service.check_safe()
        assert service.store().startswith("unreachable, safe feed armed: ")
        status, problem = service.event()
        assert (status, problem["type"]) == (503, "urn:sanad:problem:unavailable")
        other.execute("ROLLBACK")
    assert service.is_whole()


def test_a_file_that_is_gone_is_not_written_into_nowhere(service: Service) -> None:
    """An open file can be written after its name is gone; what is answered then would be lost with the process."""
    away = service.state.with_name("away.db")
    service.state.rename(away)
    service.check_safe()
    assert service.event()[0] == 503
    assert service.store().endswith("the file is gone or another one stands there; put it back, or restart")
    assert not service.state.exists(), "a new, empty file would begin an empty past"
    away.rename(service.state)
    assert service.is_whole()


def test_readiness_tells_of_the_file_of_keys_too(service: Service) -> None:
    """Whoever is new gets the safe feed without it, and so may everybody."""
    keys = vault_path(service.state)
    away = keys.with_name("away.keys")
    keys.rename(away)
    service.check_new_are_safe()
    assert service.store().endswith("the file is gone or another one stands there; put it back, or restart")
    away.rename(keys)
    assert service.is_whole()
    with closing(sqlite3.connect(keys, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        service.check_new_are_safe()
        assert service.store().startswith("unreachable, safe feed armed: ")
        other.execute("ROLLBACK")
    assert service.is_whole()


@contextmanager
def limited(pid: int, which: int, most: int) -> Iterator[None]:
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, which, before)


def test_a_full_disk_is_seen_and_loses_nothing(service: Service) -> None:
    """No file may grow, or be written beyond its first page: for SQLite the same as no room."""
    with limited(service.pid, resource.RLIMIT_FSIZE, 4_096):
        service.check_safe()
        assert service.event()[0] == 503
        assert "disk" in service.store()
    assert service.is_whole()


def test_without_memory_requests_are_refused_and_the_process_lives_on(service: Service) -> None:
    """The process may take nothing more: small requests live on what was freed, many large ones cannot."""
    pages = Path(f"/proc/{service.pid}/statm").read_text().split()[0]
    used = int(pages) * os.sysconf("SC_PAGE_SIZE")
    with limited(service.pid, resource.RLIMIT_AS, used // 2):
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda n: service.page(f"hungry {n}"), range(40)))
            large = list(pool.map(lambda n: outcome_of_bulk(service.port), range(8)))
        assert {status for status, _ in told} <= {200, 503}
        assert set(large) <= {200, 503, None}
        assert set(large) != {200}, "there was memory enough, so nothing was tested"
        assert ask(service.port, "GET", "/health/live")[0] == 200
    assert service.is_whole()
    assert outcome_of_bulk(service.port) == 200


def outcome_of_bulk(port: int) -> int | None:
    """The status of ten megabytes of events that are none; None where the service ended the connection."""
    body = b'{"event_id": "x"}' + b" " * (10 * 2**20 - 20)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        try:
            connection.request("POST", "/v1/bulk/events", body, {"Content-Type": "application/x-ndjson"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


def without_rights_of_root() -> None:
    """In a child of root: from its `exec` on, the rights of files bind it as they bind everybody."""
    drop_capability, dac_override = 24, 1
    ctypes.CDLL(None).prctl(drop_capability, dac_override, 0, 0, 0)


def test_a_file_that_may_not_be_written_is_told_at_the_start(tiny_folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    SqliteStore(state).close()
    (tmp_path / "state.db.key").write_text("k" * 64)
    for path in tmp_path.iterdir():
        path.chmod(0o400)
    told = subprocess.run(
        [sys.executable, "-m", "sanad", "serve", str(tiny_folder), "--state", str(state), "--port", "0", "--quiet"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=without_rights_of_root if os.geteuid() == 0 else None,
    )  # fmt: skip
    assert told.returncode == 3
    assert "give this user the right" in told.stderr
