"""Models are swapped while the service serves; and what is served becomes what the next model learns from."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Event

import httpx
import polars as pl
import pytest
from fastapi.testclient import TestClient

import sanad
from recsys.clock import DAY, HOUR, to_text
from recsys.data.tables import read_dataset, write_dataset
from recsys.models.artifact import load_artifact
from recsys.services.rights import erase, export
from recsys.types import Fields
from serving.run import open_service as open_running
from serving.run import run_in_thread
from serving.settings import Settings
from serving.stores.sqlite.store import SqliteStore
from tests.serving.conftest import NOON, StillClock
from training.params import TrainParams
from training.train import run

Open = Callable[..., AbstractContextManager[TestClient]]
ROOT = Path(__file__).parents[2]
NOTHING = "0" * 12


@pytest.fixture(scope="session")
def second(artifact: Path) -> Path:
    """Another model of the small market."""
    folder = artifact.parent / "second"
    run(artifact.parent / "data", folder, TrainParams(holdout_days=0, encoder=None, seed=7), NOON + HOUR)
    return folder


@pytest.fixture
def folder(artifact: Path, second: Path, tmp_path: Path) -> Path:
    """A folder of the two models."""
    for place in (artifact, second):
        shutil.copytree(place, tmp_path / "models" / place.name)
    return tmp_path / "models"


def version_of(client: TestClient) -> str:
    return client.get("/v1/version").json()["model_version"]


def test_a_model_is_activated_and_rolled_back_without_a_restart(
    open_service: Open, folder: Path, artifact: Path, second: Path
) -> None:
    old, new = load_artifact(artifact).version, load_artifact(second).version
    with open_service(models=folder) as client:
        listed = client.get("/v1/models").json()
        assert (listed["active"], listed["previous"]) == (old, None)
        assert [model["version"] for model in listed["models"]] == [new, old]
        assert client.post("/v1/models/rollback").status_code == 409
        answer = client.post(f"/v1/models/{new}/activate").json()
        assert (answer["active"], answer["previous"]) == (new, old)
        assert version_of(client) == client.get("/v1/feed/u0").json()["model_version"] == new
        assert client.post("/v1/models/rollback").json()["active"] == version_of(client) == old
        audited = [row["what"] for row in client.get("/v1/audit").json()["entries"]]
        assert [what["model"] for what in audited if what["action"] == "activation"] == [old, new, old]


def test_a_restart_and_another_process_serve_what_was_activated(
    open_service: Open, settings: Settings, clock: StillClock, folder: Path, second: Path
) -> None:
    new = load_artifact(second).version
    with (
        open_service(models=folder) as client,
        open_running(replace(settings, models=folder), clock=clock) as other,
    ):
        client.post(f"/v1/models/{new}/activate")
        assert other.models.version != new
        other.models.follow(clock())
        assert other.models.version == new
    with open_service(models=folder) as client:
        assert version_of(client) == new
    with open_service() as client:
        assert version_of(client) != new  # without a folder the named artifact is served


def test_a_damaged_model_is_refused_and_the_old_one_serves_on(
    open_service: Open, folder: Path, artifact: Path, second: Path
) -> None:
    old, new = load_artifact(artifact).version, load_artifact(second).version
    popularity = folder / "second" / "popularity.npy"
    popularity.write_bytes(popularity.read_bytes()[:-1] + b"x")
    (folder / "not-a-model").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    with open_service(models=folder) as client:
        refused = client.post(f"/v1/models/{new}/activate")
        assert refused.status_code == 422
        assert "popularity.npy" in refused.json()["detail"]
        assert version_of(client) == old
        assert client.get("/v1/models").json()["previous"] is None
        assert client.post(f"/v1/models/{NOTHING}/activate").status_code == 404
        assert client.post("/v1/models/latest/activate").status_code == 422
    with open_service() as client:
        assert "--models DIR" in client.post(f"/v1/models/{new}/activate").json()["detail"]


def test_no_request_fails_and_no_item_comes_twice_while_models_are_swapped(
    settings: Settings, clock: StillClock, folder: Path, artifact: Path, second: Path
) -> None:
    """Three people ask all the time, through two activations and two rollbacks: each page is of one of the models."""
    old, new = load_artifact(artifact).version, load_artifact(second).version
    chosen, over = replace(settings, models=folder, clock_confirmed_at=clock.at), Event()

    def ask_on(url: str, user_id: str) -> list[Fields]:
        pages = []
        with httpx.Client(base_url=url, timeout=30) as client:
            while not over.is_set() or not pages:
                answer = client.post("/v1/feed", json={"user_id": user_id, "size": 2})
                assert answer.status_code == 200, answer.text
                pages.append(answer.json())
        return pages

    with run_in_thread(chosen, clock=clock) as url, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask_on, url, user_id) for user_id in ("u0", "u1", "quiet")]
        for _ in range(2):
            httpx.post(f"{url}/v1/models/{new}/activate", timeout=60).raise_for_status()
            httpx.post(f"{url}/v1/models/rollback", timeout=60).raise_for_status()
        over.set()
        pages = [answer.result() for answer in asked]
    for of_one in pages:
        assert {page["model_version"] for page in of_one} <= {old, new}
        assert not any(page["degraded"] for page in of_one)
        items = [item["item_id"] for page in of_one for item in page["items"]]
        assert len(items) == len(set(items))
    assert {page["model_version"] for of_one in pages for page in of_one} == {old, new}


def test_an_erased_person_stays_erased_when_a_model_of_before_comes_back(
    open_service: Open, settings: Settings, folder: Path, second: Path, clock: StillClock
) -> None:
    """The model in service does not know u1; nine days later the one of before, which does, is served again."""
    without = folder / "second"
    shutil.rmtree(without)
    users = read_dataset(second.parent / "data").users.collect().filter(pl.col("user_id") != "u1")
    base = read_dataset(second.parent / "data")
    write_dataset(
        folder.parent / "less", creators=base.creators, items=base.items, users=users,
        events=base.events.filter(pl.col("user_id") != "u1"),
    )  # fmt: skip
    run(folder.parent / "less", without, TrainParams(holdout_days=0, encoder=None), NOON + HOUR)
    chosen = replace(settings, models=folder, clock_confirmed_at=clock.at)
    with open_running(chosen, clock=clock) as service:
        erase(service.engine, "u1", clock.at)
        assert service.models.activate(load_artifact(without).version, clock.at, "local")
        clock.at += 9 * DAY
        store = SqliteStore(settings.state_file)
        store.prune(clock.at, service.models.people())
        store.close()
        service.models.rollback(clock.at, "local")
        assert export(service.engine, "u1", clock.at)["trained_on"] == []


def test_what_was_activated_elsewhere_can_be_undone_here(
    settings: Settings, clock: StillClock, folder: Path, artifact: Path, second: Path
) -> None:
    """The other process has not followed yet: to activate its own model there is a decision all the same."""
    old, new = load_artifact(artifact).version, load_artifact(second).version
    chosen = replace(settings, models=folder, clock_confirmed_at=clock.at)
    with open_running(chosen, clock=clock) as here, open_running(chosen, clock=clock) as there:
        assert here.models.activate(new, clock.at, "local")
        assert there.models.activate(old, clock.at, "local")
        here.models.follow(clock())
        assert (here.models.version, there.models.version) == (old, old)


def test_what_is_served_is_learned_from_and_the_next_page_knows_it(
    open_service: Open, settings: Settings, artifact: Path, tmp_path: Path, clock: StillClock
) -> None:
    """Forty new people are served, and all like one video that nobody liked before: the next model ranks it first."""
    data, models, liked = tmp_path / "data", tmp_path / "models", "v100"
    with open_service(models=models) as client:
        assert liked not in trending(client)
        profile = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["fr"]}
        for n in range(40):
            client.put(f"/v1/users/p{n}", json=profile)
            page = client.get(f"/v1/feed/p{n}?size=10").json()
            told = [{"event_id": "e", "user_id": f"p{n}", "kind": "complete", "item_id": liked}]
            told += [
                {"event_id": f"i{place}", "user_id": f"p{n}", "kind": "view", "watch_fraction": 0.2,
                 "item_id": item["item_id"], "tracking_token": item["tracking_token"]}
                for place, item in enumerate(page["items"])
            ]  # fmt: skip
            assert client.post("/v1/events", json={"events": told}).json()["accepted"] == 11
        client.delete("/v1/users/p39")
        clock.at += HOUR
        export = ["export", "dataset", "--state", str(settings.state_file), "--out", str(data)]
        assert sanad.run([*export, "--base", str(artifact.parent / "data"), "--quiet"]) == 0
        assert sanad.run(["validate", str(data), "--at", to_text(clock.at), "--quiet"]) == 0
        train = ["train", str(data), "--out", str(models / "next"), "--encoder", "none", "--holdout-days", "0"]
        assert sanad.run([*train, "--at", to_text(clock.at), "--quiet"]) == 0
        assert client.post(f"/v1/models/{load_artifact(models / 'next').version}/activate").status_code == 200
        assert trending(client)[0] == liked
        assert liked in [item["item_id"] for item in client.get("/v1/feed/quiet?size=20").json()["items"]]
    check_tables(data, artifact)


def test_a_night_brings_a_new_model_into_service_and_keeps_one_dataset(
    artifact: Path, settings: Settings, clock: StillClock, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(artifact.parent / "data", data / "first")
    (data / "latest").symlink_to("first")
    chosen = replace(settings, models=tmp_path / "models", clock_confirmed_at=clock.at)
    with run_in_thread(chosen, clock=clock) as url:
        httpx.get(f"{url}/v1/feed/u0").raise_for_status()
        before = httpx.get(f"{url}/v1/version").json()["model_version"]
        for _ in range(2):
            night = subprocess.run(
                [ROOT / "scripts" / "nightly"], capture_output=True, text=True,
                env={
                    **os.environ, "DATA": str(data), "MODELS": str(chosen.models), "STATE": str(chosen.state_file),
                    "URL": url, "SANAD": f"{sys.executable} -m sanad", "PYTHONPATH": str(ROOT),
                    "OPTIONS": "--encoder none --quiet",
                },
            )  # fmt: skip
            assert night.returncode == 0, night.stderr
            after = httpx.get(f"{url}/v1/version").json()["model_version"]
            assert after != before
            assert f"version {after}" in night.stdout
            before = after
            time.sleep(1)  # names are seconds
    assert all(load_artifact(made).manifest.cutoff is None for made in chosen.models.glob("2*Z"))  # nothing held out
    newest = str((data / "latest").readlink())
    assert sorted(path.name for path in data.iterdir()) == [newest, "first", "latest"]
    assert "impression" in read_dataset(data / "latest").events.collect()["kind"].to_list()


def trending(client: TestClient) -> list[str]:
    return [item["item_id"] for item in client.get("/v1/trending?country=MA&size=10").json()["items"]]


def check_tables(data: Path, artifact: Path) -> None:
    """39 people stay of 40, with ten impressions and eleven reports each, and everything of the base."""
    new, base = read_dataset(data), read_dataset(artifact.parent / "data")
    people = {f"p{n}" for n in range(39)}
    assert set(new.users.collect()["user_id"]) == people | set(base.users.collect()["user_id"])
    events = new.events.collect()
    assert len(events) == 39 * 21 + len(base.events.collect())
    assert events["event_id"].is_unique().all()
    served = events.filter(kind="impression")
    assert served.group_by("user_id").len()["len"].to_list() == [10] * 39
    assert served["propensity"].is_between(0, 1, closed="right").all()
    views = events.filter(kind="view")
    places = served.select("user_id", "request_id", "position", "item_id", "propensity", "surface")
    assert len(views.join(places, on=places.columns)) == len(views) == 390
    assert len(list((data / "events").glob("date=*/part.parquet"))) == (events["at"] // DAY).n_unique()
