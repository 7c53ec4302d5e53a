"""What an operator decides once binds every service on the same stores: kills, published rules, activated models."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
from fastapi.testclient import TestClient

import sanad
from recsys.clock import Millis, now
from recsys.errors import ConfigError
from recsys.experiments.files import load_experiments
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.stores.protocols import Stores
from serving import shared
from serving.rules import Rules
from serving.run import open_service as open_running
from serving.settings import Settings
from serving.stores.open import open_store, state_of
from serving.stores.sqlite.store import SqliteStore
from tests.servers.postgres import running
from tests.servers.redis import need_redis, redis_server
from tests.serving.conftest import NOON, StillClock
from tests.serving.process import ROOT, ask, free_port
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

Open = Callable[..., AbstractContextManager[TestClient]]
KEY = "local-boost-ma-2026-11"
POLICY = (ROOT / "policies" / "morocco.yaml").read_text("utf-8")
EXPERIMENT = (ROOT / "experiments" / f"{KEY}.yaml").read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Experiments of which one runs."""
    place = tmp_path / "experiments"
    place.mkdir()
    shutil.copy(ROOT / "experiments" / "registry.yaml", place)
    running = EXPERIMENT.replace("status: draft", "status: running")
    for before, after in (
        ("2026-11-23T08:00:00Z, coverage: 0.02", "2026-11-10T08:00:00Z, coverage: 0.5"),
        ("0.20", "0.6"),
    ):
        running = running.replace(before, after)
    (place / f"{KEY}.yaml").write_text(running, "utf-8")
    return place


@pytest.fixture
def other_policy(tmp_path: Path) -> Path:
    """The policy, but for one number."""
    path = tmp_path / "other.yaml"
    text = POLICY.replace("label_threshold: 0.8", "label_threshold: 0.9")
    path.write_text(re.sub(r"^version: .*$", "version: 2026-11-29.9", text, flags=re.MULTILINE), "utf-8")
    return path


def in_force(client: TestClient) -> Mapping[str, object]:
    (experiment,) = client.get("/v1/experiments").json()["experiments"]
    return {name: experiment[name] for name in ("key", "status", "is_live", "killed")}


def soon(is_so: Callable[[], bool], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


def test_a_kill_is_in_force_when_it_is_answered_and_after_a_restart(open_service: Open, folder: Path) -> None:
    with open_service(experiments=folder) as client:
        assert in_force(client) == {"key": KEY, "status": "running", "is_live": True, "killed": None}
        before = client.get("/v1/experiments").json()["version"]
        assert client.post(f"/v1/experiments/{KEY}/kill").status_code == 200
        killed = in_force(client)
        assert not killed["is_live"] and isinstance(killed["killed"], dict) and killed["killed"]["who"] == "local"
        after = client.get("/v1/experiments").json()["version"]
        assert after != before, "pages with and without it must be told apart"
        client.post(f"/v1/experiments/{KEY}/kill")
        assert in_force(client) == killed, "a second kill changes nothing"
        told = [row["what"]["action"] for row in client.get("/v1/audit").json()["entries"]]
        assert told == ["activation", "experiment_killed"]
    with open_service(experiments=folder) as client:
        assert in_force(client) == killed
        assert client.get("/v1/experiments").json()["version"] == after


def test_an_unknown_experiment_is_not_killed_by_a_slip(open_service: Open, folder: Path) -> None:
    with open_service(experiments=folder) as client:
        refused = client.post("/v1/experiments/local-bost/kill")
        assert refused.status_code == 404 and KEY in refused.json()["detail"]
        assert client.post("/v1/experiments/A%20B/kill").status_code == 422


def test_the_variant_of_a_person_is_that_of_their_page(open_service: Open, folder: Path) -> None:
    adult = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["ary"]}
    with open_service(experiments=folder) as client:
        found = {}
        for n in range(60):
            client.put(f"/v1/users/a{n}", json=adult)
            path = f"/v1/experiments/{KEY}/assignment?user_id=a{n}"
            found[n] = client.get(path).json()["variant"]
        assert {None, "control", "local-35"} <= set(found.values())
        for n, variant in found.items():
            page = client.post("/v1/feed", json={"user_id": f"a{n}", "size": 1, "dry_run": True}).json()
            assert page["experiments"].get(KEY) == variant
        client.post(f"/v1/experiments/{KEY}/kill")
        n = next(n for n, variant in found.items() if variant)
        assert client.get(f"/v1/experiments/{KEY}/assignment?user_id=a{n}").json()["variant"] is None
        assert client.get("/v1/experiments/other/assignment?user_id=a0").status_code == 404


def test_files_are_read_again_when_somebody_asks(open_service: Open, folder: Path) -> None:
    file = folder / f"{KEY}.yaml"
    with open_service(experiments=folder) as client:
        running = file.read_text("utf-8")
        file.write_text(running.replace("status: running", "status: paused"), "utf-8")
        assert client.post("/v1/experiments/reload").json()["experiments"][0]["status"] == "paused"
        file.write_text(running.replace("weight: 0.5", "weight: 0.7"), "utf-8")
        refused = client.post("/v1/experiments/reload")
        assert refused.status_code == 422 and "weight" in refused.json()["detail"]
        assert in_force(client)["status"] == "paused"


def test_only_a_person_at_the_command_line_revives(
    open_service: Open, settings: Settings, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "sanad", "experiment", *words, KEY, "--state", str(settings.state_file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.strip()

    with open_service(experiments=folder) as client:
        assert run("kill") == (0, f"{KEY}: killed")
        assert run("kill") == (0, f"{KEY}: was killed already")
        assert soon(lambda: not in_force(client)["is_live"])
        assert {client.delete(f"/v1/experiments/{KEY}/kill").status_code} == {405}
        assert run("revive") == (0, f"{KEY}: no longer killed")
        assert soon(lambda: bool(in_force(client)["is_live"]))
        assert run("revive") == (1, f"{KEY}: nobody killed it")


def test_a_key_that_no_experiment_can_have_is_not_killed_on_a_state(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    SqliteStore(settings.state_file).close()
    command = ["experiment", "kill", f"{KEY}.yaml", "--state", str(settings.state_file)]
    assert sanad.run(command) == 2
    assert KEY in capsys.readouterr().err


def test_killed_is_not_live_and_others_are(folder: Path, morocco: Market) -> None:
    experiments = load_experiments(folder, morocco)
    killed = experiments.without({KEY, "another"})
    assert [e.key for e in experiments.live] == [KEY] and killed.live == ()
    assert killed.version != experiments.version and killed.features(NOON) == {}
    assert experiments.without({"another"}) is experiments
    assert killed.without({KEY}) is killed


def test_a_kill_does_not_wait_for_a_model_that_is_loaded_and_binds_it(
    settings: Settings, clock: StillClock, folder: Path, artifact: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(artifact, models / "again")
    is_begun, may_end = Event(), Event()
    chosen = replace(settings, experiments=folder, models=models, clock_confirmed_at=clock.at)
    with open_running(chosen, clock=clock) as service:
        build, whole = service.models._build, service.engine

        def slow(place: Path, rules: Rules) -> object:
            is_begun.set()
            may_end.wait(30)
            return build(place, rules)

        service.models._build = slow
        loading = Thread(
            target=lambda: service.models._serve(service.models._built(whole.resources.model.version), NOON)
        )
        loading.start()
        assert is_begun.wait(30)
        service.models.kill(lambda: {KEY}, NOON)
        assert service.engine.resources.experiments.live == ()
        may_end.set()
        loading.join(60)
        assert service.engine.resources.model is not whole.resources.model, "the model was loaded"
        assert service.engine.resources.experiments.live == (), "and the kill binds it"


def test_an_older_answer_never_undoes_a_kill(settings: Settings, clock: StillClock, folder: Path) -> None:
    """Two requests kill at once; the first one read the store before the second one's kill, and is slow."""
    killed, is_read, may_go_on = {"another"}, Event(), Event()

    def slow_read() -> Set[str]:
        answer = frozenset(killed)
        is_read.set()
        may_go_on.wait(1)
        return answer

    def second() -> None:
        is_read.wait(30)
        killed.add(KEY)
        service.models.kill(lambda: frozenset(killed), NOON)

    chosen = replace(settings, experiments=folder, clock_confirmed_at=clock.at)
    with open_running(chosen, clock=clock, has_upkeep=False) as service:
        threads = [
            Thread(target=second, daemon=True),
            Thread(target=lambda: service.models.kill(slow_read, NOON), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert service.engine.resources.experiments.live == ()


def test_a_kill_does_not_wait_for_published_rules_that_are_warmed_up(
    settings: Settings, clock: StillClock, folder: Path, other_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_begun, may_end = Event(), Event()
    sharing = replace(settings, experiments=folder, has_shared_rules=True, clock_confirmed_at=clock.at)
    with open_running(sharing, clock=clock) as service:

        def slow(rules: Rules, at: Millis) -> None:
            is_begun.set()
            may_end.wait(30)

        monkeypatch.setattr(service.models, "renew", slow)
        stores = service.engine.stores
        shared.publish(stores, other_policy, folder, NOON, "ops")
        assert is_begun.wait(30)
        shared.kill(stores, KEY, NOON, "ops")
        is_killed = soon(lambda: service.engine.resources.experiments.live == (), 10)
        may_end.set()
        assert is_killed


def test_other_rules_bind_a_model_that_comes_later(
    settings: Settings, clock: StillClock, artifact: Path, tmp_path: Path, other_policy: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(artifact, models / "again")
    with open_running(replace(settings, models=models, clock_confirmed_at=clock.at), clock=clock) as service:
        other = load_market(other_policy)
        before = service.engine
        engine = service.models._built(before.resources.model.version)
        service.models.renew(Rules(other, before.resources.experiments), NOON)
        assert service.engine.resources.policy.market == other
        assert service.engine.locks is before.locks and service.engine.resources.model is before.resources.model
        service.models._serve(engine, NOON)
        assert service.engine.resources.policy.market == other
        assert service.engine.resources.model is not before.resources.model


def test_a_model_is_built_by_the_rules_of_now_so_that_nobodys_past_is_counted_anew(
    settings: Settings, clock: StillClock, artifact: Path, tmp_path: Path, other_policy: Path
) -> None:
    """To build it by the rules of the start would say that labels are read by other numbers, and then say so again."""
    models = tmp_path / "models"
    shutil.copytree(artifact, models / "again")
    with open_running(replace(settings, models=models, clock_confirmed_at=clock.at), clock=clock) as service:
        users = service.engine.stores.users
        service.models.renew(Rules(load_market(other_policy), service.engine.resources.experiments), NOON)
        revision = users.read("").revision
        service.models._serve(service.models._built(service.engine.resources.model.version), NOON)
        assert users.read("").revision == revision


def test_published_rules_are_those_of_the_next_start_and_refused_ones_change_nothing(
    settings: Settings, clock: StillClock, other_policy: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sharing = replace(settings, has_shared_rules=True, clock_confirmed_at=clock.at)
    with open_running(sharing, clock=clock) as service:
        stores, files = service.engine.stores, service.engine.resources.policy.market
        assert "nobody published rules yet" in caplog.text
        shared.publish(stores, other_policy, folder, NOON, "ops")
        wanted = load_market(other_policy)
        assert soon(lambda: service.engine.resources.policy.market == wanted)
        assert [e.key for e in service.engine.resources.experiments.live] == [KEY]
    with open_running(sharing, clock=clock) as service, open_running(settings, clock=clock) as by_files:
        assert service.engine.resources.policy.market == wanted
        assert by_files.engine.resources.policy.market == files, "who does not share serves by its files"
        _publish_what_no_version_knows(service.engine.stores, files.market)
        value = service.metrics.registry.get_sample_value
        assert soon(lambda: value("sanad_reload_failed", {"what": "rules"}) == 1)
        assert service.engine.resources.policy.market == wanted
        assert "published rules refused, those before stay in force: published policy.yaml:" in caplog.text
        assert "label_threshold" in caplog.text


def _publish_what_no_version_knows(stores: Stores, market: str) -> None:
    """As a later version of the program might."""
    text = POLICY.replace("label_threshold: 0.8", "label_threshold: much").encode()
    packed = msgspec.msgpack.encode(shared.Published(NOON, "ops", text, {}))
    controllers = stores.controllers
    assert controllers.replace(f"published rules of {market}", controllers.read(f"published rules of {market}"), packed)
    shared._stamp(controllers, f"stamp of the published rules of {market}")


def test_what_cannot_be_used_is_not_published(settings: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(POLICY.replace("label_threshold: 0.8", "label_threshold: 8"), "utf-8")
    store = SqliteStore(settings.state_file)
    try:
        with pytest.raises(ConfigError, match=r"broken\.yaml"):
            shared.publish(store.stores, broken, None, NOON, "ops")
        assert shared.read_published(store.controllers, "MA") is None
        assert store.audit.page(0, 0, 10) == ()
    finally:
        store.close()


@pytest.fixture(scope="session")
def second_tiny(tiny_folder: Path) -> Path:
    """Another model of the same data."""
    folder = tiny_folder.parent / "second"
    params = TrainParams(encoder=None, holdout_days=0, blend=BlendParams(ials=IALSParams(embedding_size=16)), seed=7)
    run(tiny_folder.parent / "data", folder, params, NOON)
    return folder


@pytest.fixture(params=["a file", "redis", "postgres"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What `--state` names."""
    if request.param == "a file":
        yield str(tmp_path / "state.db")
        return
    if request.param == "postgres":
        with running() as server:
            yield server.url(server.new_database())
        return
    need_redis()
    with redis_server(tmp_path / "redis") as server:
        yield server.address(tmp_path / "records")


@pytest.fixture
def three(tiny_folder: Path, tmp_path: Path, folder: Path, state: str) -> Iterator[tuple[tuple[int, ...], Path]]:
    """Three processes on one state that share rules and models; their ports, and the models."""
    models = tmp_path / "models"
    shutil.copytree(tiny_folder, models / "first")
    ports = tuple(free_port() for _ in range(3))
    with ExitStack() as stack:
        for port in ports:
            words = ("serve", models / "first", "--models", models, "--state", state, "--experiments", folder)
            options = ("--shared-rules", "--port", port, "--quiet")
            command = [sys.executable, "-m", "sanad", *map(str, (*words, *options))]
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            assert soon(lambda port=port: _answers(port), 60)
        yield ports, models


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/health/ready")[0] == 200
    except OSError:
        return False


def until_all(ports: tuple[int, ...], is_so: Callable[[int], bool]) -> float:
    """Seconds until it is so of every process."""
    began = time.monotonic()
    assert soon(lambda: all(is_so(port) for port in ports), 30)
    return time.monotonic() - began


@pytest.mark.slow
def test_three_processes_follow_a_kill_a_policy_a_model_and_a_takedown(
    three: tuple[tuple[int, ...], Path], state: str, other_policy: Path, folder: Path, second_tiny: Path
) -> None:
    """Within a second on a quiet machine, as it prints; here it is only asked that each comes by itself."""
    ports, models = three
    assert ask(ports[0], "POST", f"/v1/experiments/{KEY}/kill")[0] == 200
    took = {"kill": until_all(ports, lambda port: not of_experiment(port)["is_live"])}

    store = open_store(state_of(state))
    shared.publish(store.stores, other_policy, folder, now(), "ops")
    store.close()
    wanted = load_market(other_policy).version
    took["policy"] = until_all(ports, lambda port: ask(port, "GET", "/v1/policies")[1]["version"] == wanted)
    assert not any(of_experiment(port)["is_live"] for port in ports), "killed under other rules too"

    shutil.copytree(second_tiny, models / "second")
    version = load_artifact(models / "second").version
    assert ask(ports[2], "POST", f"/v1/models/{version}/activate")[0] == 200
    took["model"] = until_all(ports, lambda port: ask(port, "GET", "/v1/version")[1]["model_version"] == version)
    print({what: round(seconds, 2) for what, seconds in took.items()})

    status, page = ask(ports[0], "POST", "/v1/feed", {"user_id": "u", "size": 5, "dry_run": True})
    assert (status, page["model_version"], page["degraded"]) == (200, version, [])
    hidden = page["items"][0]["item_id"]
    assert ask(ports[1], "PATCH", f"/v1/items/{hidden}", {"is_hidden": True})[0] == 200
    for port in ports:
        page = ask(port, "POST", "/v1/feed", {"user_id": "u", "size": 5, "dry_run": True})[1]
        assert hidden not in [item["item_id"] for item in page["items"]] and not page["degraded"]


def of_experiment(port: int) -> Mapping[str, object]:
    (experiment,) = ask(port, "GET", "/v1/experiments")[1]["experiments"]
    return experiment
