"""
Killing the process at any moment loses nothing that was answered.

A kill is not a power cut: here the system still writes out what it holds. Against a power cut there is the flush of
every commit, and the disk's word that it flushed.
"""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from serving.stores.sqlite.store import SqliteStore

WRITER = """
import sys, threading
from pathlib import Path
from recsys.user.state import Delivery, Ledger, SafetyState, UserState
from recsys.stores.protocols import DecisionRecord, StoredAnswer
from recsys.types import Event
from serving.stores.sqlite.store import SqliteStore

store, run = SqliteStore(Path(sys.argv[1])), sys.argv[2]
lock = threading.Lock()

def acknowledge(line):
    with lock:
        sys.stdout.write(line + "\\n")
        sys.stdout.flush()

def write(thread):
    n = 0
    while True:
        n += 1
        user, request = f"{run}-{thread}", f"{run}-{thread}-{n}"
        state = UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))
        answer = StoredAnswer(
            request_id=request, user_id=user, at=n, body_hash="h", answer=b"a" * 500, decision=b"d" * 2000
        )
        deliveries = (Delivery(at=n, item_no=n, creator_no=n),)
        record = DecisionRecord(answer=answer, deliveries=deliveries)
        if store.users.write_if(user, state, store.users.read(user).version, record):
            acknowledge(f"page {user} {n}")
        store.events.append([Event(event_id=f"e{n}", user_id=user, kind="like", at=n)], n)
        acknowledge(f"event {user} {n}")

threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
for thread in threads:
    thread.start()
"""
N_KILLS = 12


def killed_run(path: Path, run: int, after_s: float) -> list[tuple[str, str, int]]:
    """Start a writer, kill it after a while, and return what it had been told was written."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), f"run{run}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    lines = (first + rest).split("\n")[:-1]  # the last one may be cut
    return [(kind, user, int(n)) for kind, user, n in (line.split() for line in lines)]


@pytest.mark.slow
def test_what_was_answered_before_a_kill_is_there_after(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    rng = np.random.default_rng(7)
    acknowledged: list[tuple[str, str, int]] = []
    for run in range(N_KILLS):
        acknowledged += killed_run(path, run, float(rng.uniform(0.0, 0.5)))
    assert len(acknowledged) > 100
    assert_nothing_lost(path, acknowledged)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def assert_nothing_lost(path: Path, acknowledged: list[tuple[str, str, int]]) -> None:
    """Every answered page with its state, delivery and answer, every answered event; and nothing by halves."""
    store = SqliteStore(path)
    for user in {user for _, user, _ in acknowledged}:
        pages = {n for kind, u, n in acknowledged if u == user and kind == "page"}
        events = {n for kind, u, n in acknowledged if u == user and kind == "event"}
        delivered = [d.item_no for d in store.users.deliveries(user, 0)]
        n_delivered = store.users.read(user).state.safety.ledger.n_delivered
        assert pages <= set(delivered)
        assert delivered == list(range(1, n_delivered + 1))
        assert all(store.users.read(user, f"{user}-{n}").answer for n in delivered)
        assert events <= {entry.event.at for entry in store.events.since(user, 0)}
    store.close()
