"""What is changed while the service runs: keys at once, everything on SIGHUP; what is broken changes nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from recsys.clock import now
from recsys.errors import ConfigError, Conflict, StoreError
from recsys.policy.checks import load_market
from serving.auth.keys import change_keys, keyring_of, new_key
from serving.logs import read_level
from serving.metrics import Metrics
from serving.reload import Reloader, reloading, signature_of_rules
from serving.rules import Rules, read_rules
from serving.run import open_service
from serving.settings import Settings

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "policies" / "morocco.yaml").read_text("utf-8")


def add_key(file: Path, *scopes: Any) -> str:
    text, key = new_key("app", scopes or ["feed"], None, now())
    change_keys(file, lambda keys: (*keys, key))
    return text


@pytest.fixture
def renewed() -> list[Rules]:
    """The rules that an engine was to be served by."""
    return []


@pytest.fixture
def reloader(settings: Settings, tmp_path: Path, renewed: list[Rules]) -> Reloader:
    """Over a key file, a policy and a level that a test can break."""
    files = {name: tmp_path / name for name in ("keys.json", "policy.yaml", "level")}
    add_key(files["keys.json"])
    files["policy.yaml"].write_text(POLICY, "utf-8")
    files["level"].write_text("info\n")
    chosen = replace(settings, key_file=files["keys.json"], policy=files["policy.yaml"], log_level=str(files["level"]))
    ring = keyring_of((), chosen.key_file)
    return Reloader(settings=chosen, keys=ring, metrics=Metrics(), renew=renewed.append)


def failed(reloader: Reloader) -> dict[str, float]:
    value = reloader.metrics.registry.get_sample_value
    return {what: value("sanad_reload_failed", {"what": what}) or 0.0 for what in ("keys", "rules", "log_level")}


class Interrupted(Event):
    """A signal that comes right after somebody saw that there was none."""

    def is_set(self) -> bool:
        was_set = super().is_set()
        self.set()
        return was_set


def test_a_signal_between_two_looks_is_not_forgotten(reloader: Reloader, renewed: list[Rules]) -> None:
    reloader.asked = Interrupted()
    reloader.look()
    assert renewed == []
    reloader.look()
    assert len(renewed) == 1


def test_keys_follow_their_file_and_nothing_else_is_read(reloader: Reloader, renewed: list[Rules]) -> None:
    file = reloader.settings.key_file
    assert file is not None
    text = add_key(file)
    assert reloader.keys.find(text.encode()) is None
    reloader.look()
    found = reloader.keys.find(text.encode())
    assert found is not None
    change_keys(file, lambda keys: tuple(key for key in keys if key.id != found.id))
    reloader.look()
    assert reloader.keys.find(text.encode()) is None
    assert renewed == []


def test_a_key_that_is_revoked_while_a_service_starts_is_no_key_at_the_first_look(reloader: Reloader) -> None:
    file = reloader.settings.key_file
    assert file is not None
    text = add_key(file)
    ring = keyring_of((), file)
    change_keys(file, lambda keys: keys[:-1])
    started = Reloader(settings=reloader.settings, keys=ring, metrics=Metrics(), renew=reloader.renew)
    assert ring.find(text.encode()) is not None
    started.look_at_keys()
    assert ring.find(text.encode()) is None


def test_a_revoked_key_does_not_wait_for_an_engine_that_warms_up(reloader: Reloader) -> None:
    file, is_begun, may_end = reloader.settings.key_file, Event(), Event()
    assert file is not None
    text = add_key(file)

    def renew(rules: Rules) -> None:
        is_begun.set()
        may_end.wait(30)

    reloader.renew = renew
    reloader.asked.set()
    with reloading(reloader):
        assert is_begun.wait(30) and reloader.keys.find(text.encode()) is not None
        change_keys(file, lambda keys: ())
        until = time.monotonic() + 20
        while reloader.keys.find(text.encode()) is not None and time.monotonic() < until:
            time.sleep(0.05)
        is_revoked = reloader.keys.find(text.encode()) is None
        may_end.set()
    assert is_revoked


@pytest.mark.parametrize("what", ["keys", "rules", "log_level"])
def test_a_broken_file_keeps_the_last_good_one(what: str, reloader: Reloader, caplog: pytest.LogCaptureFixture) -> None:
    file = reloader.settings.key_file
    assert file is not None
    text = add_key(file)
    reloader.look()
    broken = {"keys": file, "rules": reloader.settings.policy, "log_level": Path(reloader.settings.log_level)}[what]
    good = broken.read_text("utf-8")
    broken.write_text("{ no", "utf-8")
    reloader.asked.set()
    reloader.look()
    assert failed(reloader) == {name: float(name == what) for name in ("keys", "rules", "log_level")}
    assert reloader.keys.find(text.encode()) is not None
    assert any(f"{what} not reloaded" in record.message for record in caplog.records)
    broken.write_text(good, "utf-8")
    reloader.asked.set()
    reloader.look()
    assert not any(failed(reloader).values())


def test_a_key_file_that_is_gone_keeps_the_keys(reloader: Reloader) -> None:
    file = reloader.settings.key_file
    assert file is not None
    text = add_key(file)
    reloader.look()
    file.unlink()
    reloader.look()
    assert reloader.keys.find(text.encode()) is not None and failed(reloader)["keys"] == 1


def look_twice(reloader: Reloader) -> None:
    """The second look finds the files as the first one did: somebody has finished writing."""
    reloader.look_at_rules()
    reloader.look_at_rules()


def test_rules_follow_their_files_once_these_rest(reloader: Reloader, renewed: list[Rules]) -> None:
    reloader.rules_read = signature_of_rules(reloader.settings)
    look_twice(reloader)
    assert renewed == [], "nothing has changed"
    policy = reloader.settings.policy
    policy.write_text(POLICY.replace("label_threshold: 0.8", "label_threshold: 0.9"), "utf-8")
    reloader.look_at_rules()
    assert renewed == [], "somebody may still be writing"
    reloader.look_at_rules()
    assert [rules.market.label_threshold for rules in renewed] == [0.9]
    look_twice(reloader)
    assert len(renewed) == 1, "once for each change"


def test_a_broken_policy_is_told_once_and_its_mending_is_seen(
    reloader: Reloader, renewed: list[Rules], caplog: pytest.LogCaptureFixture
) -> None:
    reloader.rules_read = signature_of_rules(reloader.settings)
    reloader.settings.policy.write_text("{ no", "utf-8")
    look_twice(reloader)
    look_twice(reloader)
    assert failed(reloader)["rules"] == 1 and renewed == []
    assert sum("rules not reloaded" in record.message for record in caplog.records) == 1
    reloader.settings.policy.write_text(POLICY, "utf-8")
    look_twice(reloader)
    assert failed(reloader)["rules"] == 0 and len(renewed) == 1


def test_files_that_change_while_they_are_read_are_not_served_by_halves(
    reloader: Reloader, renewed: list[Rules], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_slowly(chosen: Settings) -> Rules:
        rules = read_rules(chosen)
        chosen.policy.write_text(POLICY + "# more\n", "utf-8")
        return rules

    with monkeypatch.context() as patch:
        patch.setattr("serving.reload.read_rules", read_slowly)
        with pytest.raises(ConfigError, match="changed while they were read"):
            reloader.read_rules()
    assert renewed == []
    reloader.look_at_rules()
    reloader.look_at_rules()
    assert len(renewed) == 1, "they are read when they rest"


def test_a_good_policy_that_met_a_store_that_failed_is_read_again(reloader: Reloader, renewed: list[Rules]) -> None:
    def fail(rules: Rules) -> None:
        raise StoreError("gone")

    reloader.rules_read = signature_of_rules(reloader.settings)
    reloader.settings.policy.write_text(POLICY.replace("label_threshold: 0.8", "label_threshold: 0.9"), "utf-8")
    works, reloader.renew = reloader.renew, fail
    look_twice(reloader)
    assert failed(reloader)["rules"] == 1
    reloader.renew = works
    reloader.look_at_rules()
    assert [rules.market.label_threshold for rules in renewed] == [0.9] and failed(reloader)["rules"] == 0


def test_an_experiment_that_comes_or_goes_is_a_change(reloader: Reloader, renewed: list[Rules], tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    reloader.settings = replace(reloader.settings, experiments=folder)
    reloader.rules_read = signature_of_rules(reloader.settings)
    (draft,) = folder.glob("local-boost*.yaml")
    kept = draft.read_text("utf-8")
    draft.unlink()
    look_twice(reloader)
    draft.write_text(kept, "utf-8")
    look_twice(reloader)
    assert [len(rules.experiments.experiments) for rules in renewed] == [0, 1]


def test_files_of_a_service_that_shares_rules_change_nothing(reloader: Reloader, renewed: list[Rules]) -> None:
    reloader.settings = replace(reloader.settings, has_shared_rules=True)
    reloader.settings.policy.write_text(POLICY.replace("label_threshold: 0.8", "label_threshold: 0.9"), "utf-8")
    look_twice(reloader)
    with pytest.raises(Conflict, match="sanad policy publish"):
        reloader.read_rules()
    assert renewed == []


def test_an_engine_that_cannot_be_made_is_a_failure_and_not_the_end(reloader: Reloader) -> None:
    def fail(rules: Rules) -> None:
        raise RuntimeError

    reloader.renew = fail
    reloader.asked.set()
    reloader.look()
    assert failed(reloader) == {"keys": 0, "rules": 1, "log_level": 0}


@pytest.mark.parametrize("choice", ["loud", "/nowhere/at/all", ""])
def test_a_level_that_is_none_is_refused(choice: str) -> None:
    with pytest.raises(ConfigError, match="expected debug, info, warning, error"):
        read_level(choice)


def test_other_rules_serve_the_same_model_and_people(settings: Settings, tmp_path: Path, clock: Any) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("label_threshold: 0.8", "label_threshold: 0.9"), "utf-8")
    with open_service(settings, clock=clock) as service:
        models, before = service.models, service.engine
        rules = read_rules(replace(settings, policy=other))
        assert rules.market != load_market(settings.policy)
        models.renew(rules, clock())
        assert service.engine.resources.policy.market == rules.market
        assert service.engine.locks is before.locks
        entries = before.stores.audit.page(0, 0, 10)
    assert [json.loads(row.entry.what)["action"] for row in entries] == ["activation", "activation"]


@contextmanager
def process(*arguments: object, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`sanad serve` in a process of its own, and its address."""
    command = [sys.executable, "-m", "sanad", "serve", *map(str, arguments), "--port", "0", "--quiet"]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **variables}
    )
    try:
        assert running.stdout is not None
        line = next((line for line in running.stdout if line.startswith("Ready: ")), "")
        yield running, line.split()[1]
    finally:
        running.terminate()
        running.communicate(timeout=30)


def status(url: str, path: str, key: str) -> int:
    try:
        with urlopen(Request(url + path, headers={"X-API-Key": key}), timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def text_of(url: str, path: str, key: str) -> str:
    with urlopen(Request(url + path, headers={"X-API-Key": key}), timeout=20) as answer:
        body: bytes = answer.read()
        return body.decode()


def soon(is_so: Callable[[], bool]) -> bool:
    """Whether something becomes so within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_running_service_takes_new_keys_and_rules_without_a_restart(tiny_folder: Path, tmp_path: Path) -> None:
    policy, keys = tmp_path / "policy.yaml", tmp_path / "keys.json"
    policy.write_text(POLICY, "utf-8")
    artifact = shutil.copytree(tiny_folder, tmp_path / "artifact")
    old = add_key(keys, "audit")
    arguments = (artifact, "--policy", policy, "--state", tmp_path / "s.db", "--key-file", keys)
    with process(*arguments, SANAD_LOG_LEVEL="info") as (running, url):
        assert status(url, "/v1/policies", old) == 200
        new = add_key(keys, "audit")
        assert soon(lambda: status(url, "/v1/policies", new) == 200)
        assert status(url, "/v1/policies", old) == 200  # both are valid meanwhile
        change_keys(keys, lambda found: found[1:])
        assert soon(lambda: status(url, "/v1/policies", old) == 401)

        version = json.loads(text_of(url, "/v1/policies", new))["version"]
        policy.write_text(POLICY.replace("slots: 1", "slots: 99"), "utf-8")
        running.send_signal(signal.SIGHUP)
        assert soon(lambda: 'sanad_reload_failed{what="rules"} 1.0' in text_of(url, "/metrics", new))
        assert json.loads(text_of(url, "/v1/policies", new))["version"] == version

        policy.write_text(POLICY.replace('version: "2026-11-1"', 'version: "2026-11-2"'), "utf-8")
        running.send_signal(signal.SIGHUP)
        assert soon(lambda: json.loads(text_of(url, "/v1/policies", new))["version"] != version)
        assert soon(lambda: 'sanad_reload_failed{what="rules"} 0.0' in text_of(url, "/metrics", new))
