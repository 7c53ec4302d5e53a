"""What people asked to be forgotten is in no next model: events up to their cutoff, and erased profiles."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import SECOND, from_text
from recsys.data.forgotten import read_forgotten, training_cutoffs, write_forgotten
from recsys.data.tables import read_dataset
from recsys.errors import ConfigError
from recsys.models.artifact import load_artifact
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import Forgotten
from training.forget import leave_out
from training.params import TrainParams
from training.train import run

MIDNIGHT = from_text("2026-01-02T00:00:00Z")  # event n of the small dataset happens n seconds later
LATER = from_text("2026-02-01T00:00:00Z")


def asked(*resets: tuple[str, int], erased: tuple[tuple[str, int], ...] = ()) -> Forgotten:
    """The list of a service in which these people reset or erased."""
    store = MemoryStore()
    for user_id, at in resets:
        store.cutoffs.forget(user_id, at)
    for user_id, at in erased:
        store.users.erase(user_id, at, b"\x91\x01")
    return store.cutoffs.forgotten()


def ids(frame: Any) -> list[str]:
    return [str(value) for value in frame.collect().to_series().to_list()]


def test_a_reset_leaves_out_events_up_to_it_and_keeps_the_profile(write: Callable[..., Path]) -> None:
    data, left = leave_out(read_dataset(write()), [asked(("u1", MIDNIGHT + 2 * SECOND))])
    assert ids(data.events.select("event_id")) == ["e3", "e4", "e5"]
    assert ids(data.users.select("user_id")) == ["u1", "u2"]
    assert (left.n_people, left.n_events) == (1, 2)


def test_an_erasure_leaves_out_the_profile_too_and_the_id_as_a_guardian(write: Callable[..., Path]) -> None:
    users = [{"user_id": "u1", "guardian_id": "u2"}, {"user_id": "u2", "guardian_id": None}]
    data, left = leave_out(read_dataset(write(users=users)), [asked(erased=(("u2", LATER),))])
    assert data.users.collect().rows(named=True)[0]["guardian_id"] is None
    assert ids(data.users.select("user_id")) == ["u1"]
    assert ids(data.events.select("event_id")) == ["e1", "e2", "e3"]
    assert (left.n_people, left.n_events) == (1, 2)


def test_nobody_else_is_touched_and_columns_and_order_stay(write: Callable[..., Path]) -> None:
    before = read_dataset(write())
    data, left = leave_out(before, [asked(("a stranger", LATER), erased=(("another", LATER),))])
    assert data.events.collect().equals(before.events.collect())
    assert data.users.collect().equals(before.users.collect())
    assert (left.n_people, left.n_events) == (0, 0)
    assert leave_out(before, [])[0] is before


def test_of_several_lists_the_latest_cutoff_counts(write: Callable[..., Path]) -> None:
    lists = [asked(("u1", MIDNIGHT + SECOND)), asked(("u1", MIDNIGHT + 3 * SECOND)), asked(erased=(("u2", MIDNIGHT),))]
    data, left = leave_out(read_dataset(write()), lists)
    assert ids(data.events.select("event_id")) == ["e4", "e5"]
    assert ids(data.users.select("user_id")) == ["u1"]
    assert (left.n_people, left.n_events) == (2, 3)


def test_somebody_who_was_erased_and_came_back_has_a_profile_again() -> None:
    store = MemoryStore()
    store.users.erase("u", LATER, b"\x91\x01")
    assert store.cutoffs.forgotten().erased
    read = store.users.read("u")
    store.users.write_if("u", read.state, read.version)
    assert not store.cutoffs.forgotten().erased and list(store.cutoffs.forgotten().before.values()) == [LATER]


# The file


@given(
    key=st.binary(min_size=32, max_size=32),
    before=st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 2**41), max_size=5),
)
def test_a_list_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, key: bytes, before: Any) -> None:
    path = tmp_path_factory.mktemp("list") / "forgotten.json"
    forgotten = Forgotten(key=key, before=before, erased=frozenset(list(before)[:2]))
    write_forgotten(path, forgotten)
    assert read_forgotten(path) == forgotten


def test_a_list_names_nobody_and_is_its_owners_alone(tmp_path: Path) -> None:
    write_forgotten(tmp_path / "list.json", asked(("some-person", LATER)))
    assert "some-person" not in (tmp_path / "list.json").read_text()
    assert stat.S_IMODE((tmp_path / "list.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["list.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", '{"format": 2, "key": "00", "people": []}', '{"format": 1, "key": "zz", "people": []}',
     '{"format": 1, "key": "00", "people": [{"key": "00", "before": "x", "is_erased": false}]}',
     '{"format": 1, "key": "00", "people": [], "more": 1}'],
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_never_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(ConfigError, match="expected a file from 'sanad export forgotten'"):
        read_forgotten(tmp_path / "list.json")
    with pytest.raises(ConfigError):
        read_forgotten(tmp_path / "no such file")


def test_another_services_key_finds_nobody() -> None:
    mine = asked(("u1", LATER))
    assert training_cutoffs(mine, ["u1", "u2"]) == {"u1": (LATER, False)}
    assert training_cutoffs(replace(mine, key=b"another"), ["u1", "u2"]) == {}


# The whole run


def test_a_model_trained_with_a_list_knows_nothing_of_them(write: Callable[..., Path], tmp_path: Path) -> None:
    events = [
        {"event_id": f"e{n}", "user_id": f"u{n % 3}", "kind": "like", "item_id": "v1", "creator_id": None,
         "at": f"2026-01-02T00:00:{n:02d}Z"}
        for n in range(12)
    ]  # fmt: skip
    users = [{"user_id": f"u{n}", "country": "MA"} for n in range(3)]
    data = write(events=events, users=users)
    params = TrainParams(encoder=None, holdout_days=0)
    forget = [asked(("u0", MIDNIGHT + 4 * SECOND), erased=(("u1", LATER),))]
    trained = run(data, tmp_path / "artifact", params, LATER, forget=forget)
    artifact = load_artifact(tmp_path / "artifact")
    assert artifact.users["user_id"].to_list() == ["u0", "u2"]
    assert artifact.histories.get("u1") is None
    kept = artifact.histories["u0"]
    assert np.all(kept.at > MIDNIGHT + 4 * SECOND) and len(kept) == 2
    assert trained.manifest.counts["people_left_out"] == 2 and trained.manifest.counts["events_left_out"] == 6
    for path in (tmp_path / "artifact").rglob("*"):
        assert path.is_dir() or b"u1" not in path.read_bytes().split(b"\x00"), path
    assert forget[0].key.hex() not in json.dumps(trained.manifest.config, default=str)


def test_without_a_list_the_manifest_says_nothing_of_it(write: Callable[..., Path], tmp_path: Path) -> None:
    trained = run(write(), tmp_path / "artifact", TrainParams(encoder=None, holdout_days=0), LATER)
    assert "people_left_out" not in trained.manifest.counts
