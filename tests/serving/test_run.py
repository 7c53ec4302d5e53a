"""The serving process as a whole: what it needs, what it loads, how it stops, and what survives it."""

import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from recsys.clock import now, to_text
from recsys.errors import ArtifactError, ConfigError, StoreError
from recsys.feed.answer import answer_of
from recsys.models.manifest import MANIFEST, read_manifest, sealed
from serving.run import open_engine, run_in_thread, serve
from serving.settings import Settings
from serving.stores.sqlite.store import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
PROCESS = """
import sys
from pathlib import Path
from serving.run import serve
from serving.settings import Settings

settings = Settings(artifact=Path(sys.argv[1]), state=Path(sys.argv[2]), port=0)
serve(settings, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""
N_KILLS = 5


@contextmanager
def process(settings: Settings, code: str = PROCESS) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as a process of its own, and its base URL."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(settings.artifact), str(settings.state_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    ) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_the_service_runs_beside_and_stops(settings: Settings, clock: Any) -> None:
    with run_in_thread(settings, clock=clock) as url:
        answer = httpx.post(f"{url}/v1/feed", json={"user_id": "u0", "size": 5})
        assert len(answer.json()["items"]) == 5
        assert answer.json()["served_at"] == "2026-11-20T12:00:00.000Z"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/live")


def test_a_port_in_use_is_said_before_anything_is_loaded(settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"{port} not free.*--port"):
            serve(replace(settings, port=port, artifact=tmp_path / "nothing here"))


def test_a_host_that_is_nowhere_is_said(settings: Settings) -> None:
    keyed = replace(settings, host="no.such.host.invalid", keys=("0" * 64,))
    with pytest.raises(ConfigError, match="no address"):
        serve(keyed)


def test_an_artifact_with_one_byte_changed_is_refused(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in settings.artifact.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    raw = bytearray((copy / "popularity.npy").read_bytes())
    raw[-1] ^= 1
    (copy / "popularity.npy").write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"popularity\.npy"):
        serve(replace(settings, artifact=copy))


def test_made_up_tiers_are_served_only_when_asked_for(settings: Settings, clock: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in settings.artifact.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest, _ = read_manifest(copy)
    (copy / MANIFEST).write_bytes(sealed(msgspec.structs.replace(manifest, risk_source="assumed")))
    assumed = replace(settings, artifact=copy)
    with pytest.raises(ArtifactError, match="--allow-assumed"):
        serve(assumed)
    with open_engine(replace(assumed, allow_assumed=True), clock=clock) as engine:
        assert engine.resources.model.version


def test_a_state_file_that_is_none_is_refused(settings: Settings) -> None:
    settings.state_file.write_text("this is somebody's letter, and longer than a header of a database would be\n" * 9)
    with pytest.raises(StoreError, match=r"state\.db"):
        serve(settings)
    assert settings.state_file.read_text().startswith("this is somebody's letter")


def test_a_policy_that_is_not_there_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        serve(replace(settings, policy=tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_closes_its_file_and_ends_well(settings: Settings, how: signal.Signals) -> None:
    with process(settings) as (child, url):
        assert httpx.post(f"{url}/v1/feed", json={"user_id": "u0"}).status_code == 200
        child.send_signal(how)
        assert child.stdout is not None
        assert child.stdout.read() == "stopped\n"
        assert child.wait() == 0
    left = {path.name for path in settings.state_file.parent.glob("state.db*")}
    of_state = {"state.db", "state.db.catalogue", "state.db.key", "state.db.people-keys"}
    assert left == of_state  # a closed file has no log beside it


def test_training_libraries_are_never_loaded_to_serve(settings: Settings) -> None:
    code = """
import sys, httpx
from pathlib import Path
from serving.run import run_in_thread
from serving.settings import Settings

with run_in_thread(Settings(artifact=Path(sys.argv[1]), state=Path(sys.argv[2]), port=0)) as url:
    assert httpx.post(f"{url}/v1/feed", json={"user_id": "u0"}).status_code == 200
    assert httpx.get(f"{url}/openapi.json").status_code == 200
print(" ".join(sorted(name for name in sys.modules if "." not in name or name == "scipy.stats")), flush=True)
"""
    with process(settings, code) as (_, line):
        loaded = set(line.split())
    assert {"serving", "recsys", "numpy", "fastapi"} <= loaded
    forbidden = {
        "torch",
        "implicit",
        "sentence_transformers",
        "transformers",
        "sklearn",
        "matplotlib",
        "training",
        "eval",
        "scipy.stats",  # took a third of the imports
    }
    assert not loaded & forbidden


def acknowledged(url: str, life: int, on_first: Callable[[], None]) -> tuple[list[str], dict[str, list[str]]]:
    """Ask until nobody answers any more; the events and pages that were answered. Calls `on_first` after the first."""
    events: list[str] = []
    pages: dict[str, list[str]] = {}
    with httpx.Client(base_url=url) as client:
        for number in itertools.count():
            event_id, request_id = f"e{life}-{number}", f"r{life}-{number}"
            event = {"event_id": event_id, "user_id": "u0", "kind": "like", "item_id": "v1", "at": to_text(now())}
            try:
                assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
                events.append(event_id)
                page = client.post("/v1/feed", json={"user_id": "u1", "size": 1, "request_id": request_id}).json()
                pages[request_id] = [item["item_id"] for item in page["items"]]
                if number == 0:
                    on_first()
            except httpx.TransportError:
                return events, pages


@pytest.mark.slow
def test_a_kill_loses_no_accepted_event_and_no_answered_page(settings: Settings) -> None:
    """Killed while it works, so what was being written may be there or not; what was answered is."""
    rng = np.random.default_rng(11)
    events: list[str] = []
    pages: dict[str, list[str]] = {}
    for life in range(N_KILLS):
        with process(settings) as (child, url):
            # The time runs from the first answer: on a busy machine that one may come after any time we choose.
            killer = Timer(float(rng.uniform(0.0, 0.5)), child.kill)
            told = acknowledged(url, life, killer.start)
            assert child.wait() == -signal.SIGKILL
        events += told[0]
        pages |= told[1]
    assert len(events) >= N_KILLS
    store = SqliteStore(settings.state_file)
    logged = {entry.event.event_id for entry in store.events.since("u0", 0)}
    delivered = len(store.users.deliveries("u1", 0))
    stored = {name: store.users.read("u1", name).answer for name in pages}
    store.close()
    assert set(events) <= logged
    assert len(logged) <= len(events) + N_KILLS
    for name, item_ids in pages.items():
        answer = stored[name]
        assert answer is not None
        assert [item.item_id for item in answer_of(answer, b"a key").items] == item_ids
    n_served = sum(map(len, pages.values()))
    assert n_served <= delivered <= n_served + N_KILLS
    with sqlite3.connect(settings.state_file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
