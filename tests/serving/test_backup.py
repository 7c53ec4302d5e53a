"""A copy of a running service comes back whole, without whoever was erased since, and never over a running one."""

import json
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import sanad
from recsys.clock import HOUR, MINUTE
from recsys.data.forgotten import read_forgotten, training_cutoffs
from recsys.errors import StoreError
from serving.run import open_service as open_running
from serving.settings import Settings
from serving.stores.sqlite.vault import vault_path
from tests.serving.conftest import StillClock

Open = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def copy(open_service: Open, settings: Settings, tmp_path: Path, clock: StillClock) -> Path:
    """A copy of a running service, made after pages of u0 and u1; u1 is erased after it, and u2 comes."""
    place = tmp_path / "elsewhere" / "copy.db"
    with open_service() as client:
        for user_id in ("u0", "u1"):
            client.get(f"/v1/feed/{user_id}?size=5")
        assert sanad.run(["backup", "--state", str(settings.state_file), "--out", str(place)]) == 0
        clock.at += MINUTE
        client.delete("/v1/users/u1")
        client.get("/v1/feed/u2?size=5")
    return place


def restore(copy: Path, settings: Settings) -> int:
    return sanad.run(["restore", str(copy), "--state", str(settings.state_file), "--json"])


def test_a_restored_state_has_what_the_copy_had_but_for_the_erased(
    copy: Path, open_service: Open, settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    capsys.readouterr()
    assert restore(copy, settings) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["erased_again"] == {"users": 1, "deliveries": 5, "decisions": 1, "events": 0}
    with open_service() as client:
        assert client.get("/v1/users/u0/exposure").json()["deliveries"] == 5
        assert client.get("/v1/users/u2/exposure").json()["deliveries"] == 0
        erased = client.get("/v1/users/u1/export").json()
        assert (erased["deliveries"], erased["answers"], erased["loop"]["level"]) == ([], [], 2)
    out = tmp_path / "forgotten.json"
    assert sanad.run(["export", "forgotten", "--state", str(settings.state_file), "--out", str(out)]) == 0
    assert training_cutoffs(read_forgotten(out), ["u0", "u1"])["u1"][1]
    assert settings.state_file.with_name("state.db.replaced").is_file()


def test_who_was_trained_on_and_never_served_before_the_copy_stays_erased(
    open_service: Open, settings: Settings, tmp_path: Path, clock: StillClock
) -> None:
    """u3 is in the model alone when the copy is made; u1 was erased before it and came back."""
    place = tmp_path / "copy.db"
    with open_service() as client:
        client.delete("/v1/users/u1")
        clock.at += MINUTE
        client.put("/v1/users/u1", json={"country": "FR"})
        client.get("/v1/feed/u0?size=5")
        assert sanad.run(["backup", "--state", str(settings.state_file), "--out", str(place)]) == 0
        clock.at += MINUTE
        client.delete("/v1/users/u3")
    assert restore(place, settings) == 0
    with open_service() as client:
        assert client.get("/v1/users/u3/export").json()["trained_on"] == []
        assert client.get("/v1/users/u1").json()["country"] == "FR"
        assert client.get("/v1/users/u0/export").json()["trained_on"]


@pytest.mark.parametrize("broken", ["serving.stores.sqlite.store.erase_again", "serving.stores.sqlite.backup.backup"])
def test_a_restore_that_fails_leaves_a_state_and_can_be_done_again(
    copy: Path, open_service: Open, settings: Settings, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(broken, fail)
        assert restore(copy, settings) == 3
    assert settings.state_file.is_file()
    if "erase_again" in broken:  # the copy is in place: opening it finishes the work
        with open_service() as client:
            assert client.get("/v1/users/u1/export").json()["trained_on"] == []
    else:
        assert restore(copy, settings) == 0


def test_what_a_lost_file_left_in_its_log_is_not_read_into_a_copy(
    copy: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.state_file.rename(settings.state_file.with_name("lost.db"))
    log = settings.state_file.with_name("state.db-wal")
    log.write_bytes(b"pages of before")
    assert restore(copy, settings) == 2
    assert "state.db-wal" in capsys.readouterr().err
    log.unlink()
    assert restore(copy, settings) == 0


def test_a_copy_of_another_installation_replaces_nothing(
    copy: Path, settings: Settings, artifact: Path, tmp_path: Path, clock: StillClock
) -> None:
    other = Settings(artifact=artifact, state=tmp_path / "other" / "state.db", clock_confirmed_at=clock.at)
    with open_running(other, clock=clock):
        pass
    before = other.state_file.read_bytes()
    assert restore(copy, other) == 2
    assert other.state_file.read_bytes() == before


def test_nothing_is_restored_over_a_running_service_or_without_its_keys(
    copy: Path, open_service: Open, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_service() as client:
        assert restore(copy, settings) == 3
        assert "stop the service" in capsys.readouterr().err
        assert client.get("/v1/feed/u2?size=5").status_code == 200
    assert restore(copy.with_name("missing"), settings) == 2
    other = copy.with_name("other.db")
    other.write_bytes(b"no database" * 100)
    assert restore(other, settings) == 2
    assert restore(settings.state_file, settings) == 2
    vault_path(settings.state_file).unlink()
    assert restore(copy, settings) == 2
    assert "restore them first" in capsys.readouterr().err


def test_a_copy_holds_no_key_and_is_never_written_over(copy: Path, settings: Settings) -> None:
    again = ["backup", "--state", str(settings.state_file), "--out"]
    assert sanad.run([*again, str(copy)]) == 2
    assert sanad.run([*again, str(copy.with_name("keys.db")), "--keys"]) == 0
    keys = copy.with_name("keys.db").read_bytes()
    assert b"CREATE TABLE keys" in keys
    assert b"CREATE TABLE keys" not in copy.read_bytes()


def test_a_service_on_a_restored_state_waits_for_the_clock_to_be_confirmed(
    copy: Path, start: Open, settings: Settings, clocks: object
) -> None:
    assert restore(copy, settings) == 0
    clocks.wall += 3 * HOUR
    with start() as client:
        assert client.get("/v1/feed/u0").json()["degraded"]
