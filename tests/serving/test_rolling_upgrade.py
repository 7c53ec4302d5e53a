"""
Two versions of the program work on one state at once, as while a platform replaces one process after the other; and
the version before goes on alone, as after a rollback.

The version before is a frozen commit of this repository, run as it was: its own code, and an artifact that it trained.
`BEFORE` moves on with each release.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serving.stores.sqlite.store import SqliteStore
from tests.serving.process import ROOT, ask, free_port, life

pytestmark = pytest.mark.slow
BEFORE = "6aa77f6b762c"
N_TURNS = 8
SIZE = 10
ADULT = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["ary", "fr"]}


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True)


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the version before."""
    if git("cat-file", "-e", f"{BEFORE}^{{commit}}").returncode:
        pytest.skip(f"found no commit {BEFORE}, expected a clone with its history; fetch it whole")
    folder = tmp_path_factory.mktemp("before")
    packed = git("archive", BEFORE).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    where = subprocess.run(
        [sys.executable, "-c", "import recsys; print(recsys.__file__)"], cwd=folder, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(folder), "else the version of now is tried against itself"
    return folder


@pytest.fixture(scope="session")
def artifact_before(before: Path, tiny_folder: Path) -> Path:
    """An artifact that the version before trained."""
    data, out = tiny_folder.parent / "data", tiny_folder.parent / "trained-before"
    command = [sys.executable, "-m", "sanad", "train", str(data), "--out", str(out), "--encoder", "none", "--quiet"]
    done = subprocess.run(command, cwd=before, capture_output=True, text=True, env={**os.environ, "SANAD_CACHE": ""})
    assert done.returncode == 0, done.stderr
    return out


class Pages:
    """What people were shown, whichever version did it."""

    def __init__(self) -> None:
        self.items: dict[str, list[str]] = {}

    def turn(self, port: int, user_id: str, name: str) -> Any:
        """A page, and the person's answer to its first video."""
        body = {"user_id": user_id, "size": SIZE, "request_id": name}
        status, page = ask(port, "POST", "/v1/feed", body)
        assert (status, page["degraded"], page["replayed"]) == (200, [], False)
        shown = [item["item_id"] for item in page["items"]]
        assert shown
        self.items.setdefault(user_id, []).extend(shown)
        event = {"event_id": name, "user_id": user_id, "kind": "complete", "item_id": shown[0]}
        assert ask(port, "POST", "/v1/events", {"events": [event]})[1]["accepted"] == 1
        return page


@pytest.fixture
def two(before: Path, artifact_before: Path, tmp_path: Path) -> Iterator[tuple[int, int, Path]]:
    """The ports of the version before and of the one of now, and their state."""
    state, ports = tmp_path / "state.db", (free_port(), free_port())
    with ExitStack() as stack:
        for root, port in zip((before, ROOT), ports, strict=True):
            stack.enter_context(life(artifact_before, state, port, root=root))
        yield *ports, state


def test_two_versions_on_one_state_serve_as_one(two: tuple[int, int, Path]) -> None:
    old, new, state = two
    pages, people = Pages(), [f"p{n}" for n in range(3)]
    for user_id in people:
        assert ask(old, "PUT", f"/v1/users/{user_id}", ADULT)[0] == 200
    for n in range(N_TURNS):
        for user_id in people:
            pages.turn((old, new)[n % 2], user_id, f"{user_id}-{n}")
    for user_id, items in pages.items.items():
        assert len(items) == len(set(items)), "what one version showed, the other one knows"
        by_old, by_new = (ask(port, "GET", f"/v1/users/{user_id}/exposure")[1] for port in (old, new))
        assert by_old == by_new | {name: by_old[name] for name in ("request_id", "at")}
    for n in range(2):  # each reads, replays and repeats what the other one wrote
        name, other = f"p0-{n}", (new, old)[n]
        assert ask(other, "POST", f"/v1/requests/{name}/replay", {})[1]["identical"]
        body = {"user_id": "p0", "size": SIZE, "request_id": name}
        assert ask(other, "POST", "/v1/feed", body)[1]["replayed"]
    store = SqliteStore(state)
    for user_id, items in pages.items.items():
        assert store.users.read(user_id).state.safety.ledger.n_delivered == len(items)
        assert len(store.events.since(user_id, 0)) == N_TURNS
    store.close()


def test_a_takedown_in_one_version_binds_the_next_page_of_the_other(two: tuple[int, int, Path]) -> None:
    old, new, _ = two
    for n, (here, there) in enumerate(((old, new), (new, old))):
        user_id = f"t{n}"
        assert ask(here, "PUT", f"/v1/users/{user_id}", ADULT)[0] == 200
        status, page = ask(here, "POST", "/v1/feed", {"user_id": user_id, "size": SIZE, "dry_run": True})
        assert status == 200
        hidden = page["items"][0]["item_id"]
        assert ask(there, "PATCH", f"/v1/items/{hidden}", {"is_hidden": True})[0] == 200
        page = ask(here, "POST", "/v1/feed", {"user_id": user_id, "size": SIZE})[1]
        assert hidden not in [item["item_id"] for item in page["items"]]


def test_the_version_before_goes_on_alone(before: Path, artifact_before: Path, tmp_path: Path) -> None:
    """And an erasure of now binds it."""
    state, pages = tmp_path / "state.db", Pages()
    for n, root in enumerate((before, ROOT, before)):
        port = free_port()
        with life(artifact_before, state, port, root=root):
            for user_id in ("stays", "goes"):
                assert ask(port, "PUT", f"/v1/users/{user_id}", ADULT)[0] == 200
            pages.turn(port, "stays", f"stays-{n}")
            if n == 1:
                pages.turn(port, "goes", "goes-1")
                assert ask(port, "DELETE", "/v1/users/goes")[0] == 200
            if n == 2:
                assert ask(port, "GET", "/v1/requests/goes-1?user_id=goes")[0] == 404
                assert ask(port, "GET", "/v1/requests/stays-1?user_id=stays")[0] == 200
    assert len(set(pages.items["stays"])) == 3 * SIZE
